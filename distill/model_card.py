"""The student's card: every figure comes from the report, none is written by hand."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from distill.arm_names import ARMS
from limbeck import models
from limbeck.models.spec import ModelSpec
from limbeck.stage import models_of

if TYPE_CHECKING:
    from distill.work import Work

TEMPLATES = Path(__file__).resolve().parent / "templates"
TEACHER = "teacher"
"""The setting that names a student's teacher."""


def card(work: Work, report: dict[str, Any], folder: Path) -> str:
    """The card's Markdown.

    Args:
        work: recipe, rows and cache.
        report: what `report.json` holds.
        folder: of the card; pictures of the student's own sections go there.
    """
    recipe, main = work.recipe, work.student.metrics[0]
    comparison, files = report["comparison"], report["formats"]
    named = _models(work)
    main_figures = comparison["metrics"].get(main.name, {}) if comparison else {}
    return (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            r=recipe,
            report=report,
            front=_front(work),
            title=recipe.distill.title or recipe.distill.name,
            models=named,
            licenses={setting: _license(setting, work) for setting in named},
            teacher_id=named.get(TEACHER, "") if ARMS[recipe.arm].taught else "",
            parts=[model for setting, model in named.items() if setting != TEACHER],
            about=(type(work.student).__doc__ or "").strip().partition("\n")[0],
            parameters=files["safetensors"].get("parameters"),
            teacher_parameters=report["teacher_facts"].get("parameters"),
            sections=work.student.card_sections(report, folder, work),
            baselines=list(report["baselines"]),
            macs=files["safetensors"].get("macs"),
            usage=work.student.usage(work),
            costs=_costs(files["safetensors"], report["teacher_facts"]),
            compared=report["teacher"] is not None,
            judge="the rows' own truth" if report["judge"] == "truth" else f"a judge of the family {report['judge']}",
            figures=_figures(work, report),
            comparison=comparison,
            main=main,
            budget=_budget(work),
            arms=_arms(main_figures),
            verdict=main_figures.get("verdict", ""),
            gap="" if comparison and comparison["descriptive"] else _gap(main_figures),
            files=_files(main.name, files),
            machine=f"{platform.system()} {platform.machine()}",
            device=files["safetensors"]["device"],
            lineage=work.dataset.lineage,
            fingerprint=work.cache.fingerprint["weights"] if work.cache and not _is_method(work) else "",
        )
    )


def _front(work: Work) -> str:
    table = work.recipe.distill
    front = {
        "license": table.license,
        "library_name": work.student.library,
        **({"pipeline_tag": work.student.task} if work.student.task else {}),
        "tags": ["limbeck", "distillation", *table.tags],
        **({"datasets": [work.dataset.lineage.name]} if work.dataset.lineage.hub else {}),
    }
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)


def _models(work: Work) -> dict[str, str]:
    """The models that a student uses, by setting; a teacher that is no model of the recipe, by its own name."""
    student, specs = work.student, work.recipe.models
    found = {s: specs[name].called for s, (name, _) in models_of(student).items()}
    heard = any(term.signal != "label" for term in student.terms.values())
    if heard and work.cache is not None and TEACHER not in found:
        found = {TEACHER: str(getattr(student, TEACHER, None) or work.cache.name), **found}
    return found


def _is_method(work: Work) -> bool:
    """Whether the teacher has no weights."""
    return work.cache is not None and work.cache.fingerprint["weights"] == "none"


def _license(setting: str, work: Work) -> str:
    """Of a model of `_models`: what its own folder states, or who has to be asked."""
    from limbeck.tally import model_license

    named = models_of(work.student).get(setting)
    if named is None and _is_method(work):
        return "none needed: a method without weights"
    spec = ModelSpec(id=_models(work)[setting]) if named is None else work.recipe.models[named[0]]
    if spec.is_mini:
        return "cc0-1.0"
    place = None if spec.is_endpoint else Path(models.located(spec, work.recipe.folder))
    if place is None or not place.is_dir():
        return "see its own card"
    return model_license(place) or "not stated"


def _figures(work: Work, report: dict[str, Any]) -> list[dict[str, str]]:
    comparison, values = report["comparison"], report["formats"]["safetensors"]["values"]
    teacher = (report["teacher"] or {}).get("values", {})
    rows = []
    for metric in work.student.metrics:
        if metric.name not in values:
            continue
        found = comparison["metrics"].get(metric.name, {}) if comparison else {}
        own = found.get("arms", {}).get(work.recipe.arm)
        theirs = None if metric.to_teacher else teacher.get(metric.name)
        kept = found.get("retained")
        plain = f"{values[metric.name] / theirs:.1%}" if theirs and metric.better == "higher" else ""
        rows.append(
            {
                "about": metric.about or metric.name,
                "student": shown(own) if own else f"{values[metric.name]:.4f}",
                "teacher": "" if theirs is None else f"{theirs:.4f}",
                "retained": shown(kept, percent=True) if kept else plain,
                "baselines": [_number(b["values"].get(metric.name)) for b in report["baselines"].values()],
            }
        )
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _costs(own: dict[str, Any], teacher: dict[str, Any]) -> list[dict[str, str]]:
    """What one row costs with student and teacher, in torch: figures that both have."""
    rows = []
    names = {"parameters": "parameters", "macs": "multiply-adds", "p50_ms": "ms, p50", "p95_ms": "ms, p95"}
    for key, name in names.items():
        if own.get(key) and teacher.get(key):
            mine, theirs = (f"{each[key]:,.2f}" if "ms" in key else f"{each[key]:,}" for each in (own, teacher))
            rows.append({"name": name, "student": mine, "teacher": theirs, "ratio": f"{own[key] / teacher[key]:.1%}"})
    return rows


def _arms(found: dict[str, Any]) -> list[dict[str, str]]:
    gains = found.get("gains", {})
    return [
        {"about": ARMS[name].about, "value": shown(arm), "gain": shown(gains[name], sign=True) if name in gains else ""}
        for name, arm in found.get("arms", {}).items()
    ]


def _gap(found: dict[str, Any]) -> str:
    if "gap_closed" in found:
        return (
            f" Of the gap between labels alone and the teacher, {shown(found['gap_closed'], percent=True)} is closed."
        )
    if "lead" in found:
        return " The teacher's own lead over labels alone is within chance, so that no share of it is stated."
    return ""


def _budget(work: Work) -> str:
    table = work.recipe.budget
    labelled = "all rows" if table.labelled is None else f"{table.labelled:,} rows"
    further = "all further rows" if table.unlabelled is None else f"{table.unlabelled:,} further rows"
    return f"Labels of {labelled} may be seen; the teacher speaks of these and of {further}."


def _files(name: str, formats: dict[str, Any]) -> list[dict[str, str]]:
    rows = []
    for format, entry in formats.items():
        timed = f"{entry['p50_ms']:.2f} / {entry['p95_ms']:.2f} ms" if "p50_ms" in entry else ""
        lost = f"refused: {entry['refused']}" if "refused" in entry else f"{entry['loss']:.2%}"
        size, value = f"{entry['bytes'] / 1e6:.2f} MB", _number(entry["values"].get(name))
        rows.append({"format": format, "size": size, "value": value, "lost": lost, "latency": timed})
    return rows


def shown(interval: dict[str, Any], *, percent: bool = False, sign: bool = False) -> str:
    """A figure and its interval; without one where that has no width, as with one seed and no rows to resample.

    >>> shown({"value": 0.9123, "low": 0.9, "high": 0.92})
    '0.9123 [0.9000, 0.9200]'
    >>> shown({"value": 0.9123, "low": 0.9, "high": 0.92}, percent=True)
    '91.2% [90.0%, 92.0%]'
    """
    form = ("+" if sign else "") + (".1%" if percent else ".4f")
    value, low, high = (format(interval[key], form) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]" if interval["low"] < interval["high"] else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "line": lambda text: " ".join(str(text).split()),
        "cell": lambda text: " ".join(str(text).split()).replace("|", "\\|"),
    }
    return environment
