"""Counts a build: fills a `Summary` from its recipe, its outcome and its folder. No picture is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from limbeck import models
from limbeck.decisions import ERROR
from limbeck.describe import describe
from limbeck.outcome import Level, Outcome
from limbeck.recipe import Recipe
from limbeck.records import is_image
from limbeck.schema import StageTable
from limbeck.sources import stated_license
from limbeck.stage import decision_settings, models_of, settings_of
from limbeck.summary import NOT_STATED, Cost, GroupYield, ModelUse, StageCount, Summary, Threshold, yields

if TYPE_CHECKING:
    from limbeck.built import Build


def tally(build: Build) -> Summary:
    """The numbers of a build."""
    recipe, outcome, lock = build.recipe, build.outcome, build.lock
    stages = stage_counts(build)
    last = outcome.last
    entered = last.verdicts.alive | (last.verdicts.ended_by >= 0)
    judged, kept = int(entered.sum()), int(last.verdicts.alive.sum())
    columns, splits, size = published(build.path)
    return Summary(
        name=recipe.dataset.name,
        title=recipe.dataset.title or recipe.dataset.name.replace("-", " ").replace("_", " ").capitalize(),
        record=recipe.dataset.record,
        license=recipe.dataset.license,
        license_name=recipe.dataset.license_name or "",
        license_link=recipe.dataset.license_link or "",
        seed=recipe.dataset.seed,
        digest=recipe.digest(),
        stages=stages,
        rows_in=stages[0].rows_in,
        judged=judged,
        kept=kept,
        dropped=judged - kept - int((last.verdicts.failed & entered).sum()),
        failed=sum(stage.failed for stage in stages),
        by_type=by_type(outcome),
        by_language=by_type(outcome, ("language",)),
        splits=splits,
        columns=columns,
        models=tuple(model_uses(recipe, lock)),
        thresholds=tuple(thresholds(recipe)),
        cost=cost(build),
        description=recipe.dataset.description,
        languages=recipe.dataset.languages,
        tags=recipe.dataset.tags,
        licenses=_licenses(recipe, outcome),
        sources=_values(outcome, "source") or {recipe.source.kind: stages[0].rows_out},
        versions={"limbeck": lock.get("limbeck", ""), "python": lock.get("python", ""), **lock.get("packages", {})},
        devices=tuple(_devices(lock)),
        recipe=recipe.toml(),
        bytes=size,
        partial=build.partial,
    )


def stage_counts(build: Build) -> tuple[StageCount, ...]:
    """The funnel, with each stage's time and counters."""
    counters, found = build.counters(), []
    for index, count in enumerate(build.outcome.funnel()):
        work = dict(counters.get(count.stage, {}))
        if index == 0:
            use, about, kind = build.recipe.source.kind, "", "source"
        else:
            table = build.recipe.stage(count.stage)
            use, kind = table.use, "filter" if table.is_filter else "generator"
            about = describe(type(table.stage)).summary
        found.append(
            StageCount(
                id=count.stage,
                use=use,
                kind=kind,
                rows_in=count.rows,
                rows_out=count.kept,
                dropped=count.dropped,
                failed=count.failed,
                reasons={r: n for r, n in count.reasons.items() if not r.startswith(ERROR)},
                about=about,
                seconds=work.pop("seconds", None),
                counters=work,
            )
        )
    return tuple(found)


def by_type(outcome: Outcome, columns: tuple[str, ...] = ("edit_type", "question_type")) -> tuple[GroupYield, ...]:
    """What became of the rows of each kind of edit or of question; nothing where rows have no such column.

    Args:
        outcome: of the build.
        columns: the first of these that there is tells the kinds apart.
    """
    level = outcome.last
    name = next((name for name in columns if level.frame.field(name) is not None), None)
    if name is None:
        return ()
    verdicts = level.verdicts
    where = np.flatnonzero(verdicts.alive | (verdicts.ended_by >= 0))
    kinds = level.frame.column(name).take(where).fill_null("unknown").combine_chunks().dictionary_encode()
    reasons = {reason: mask[where] for reason, mask in verdicts.reasons.items() if not reason.startswith(ERROR)}
    return yields(
        kinds.dictionary.to_pylist(), kinds.indices.to_numpy(), verdicts.alive[where], verdicts.failed[where], reasons
    )


def reasons_of(level: Level, where: np.ndarray) -> list[tuple[str, ...]]:
    """Why rows at these positions were dropped; nothing for those kept."""
    masks = [(reason, mask[where]) for reason, mask in level.verdicts.reasons.items()]
    return [tuple(reason for reason, mask in masks if mask[i]) for i in range(len(where))]


def model_uses(recipe: Recipe, lock: Mapping[str, Any]) -> Iterator[ModelUse]:
    """The recipe's models, what used them and, where their own folder says so, their licence."""
    used: dict[str, list[tuple[str, str]]] = {}
    for table in recipe.stages:
        for name, role in models_of(table.stage).values():
            used.setdefault(name, []).append((table.id, role))
    for name, spec in recipe.models.items():
        if name not in used:
            continue
        yield ModelUse(
            name=name,
            id=f"{spec.model} at {spec.base_url}" if spec.is_endpoint else spec.id,
            roles=tuple(dict.fromkeys(role for _, role in used[name])),
            stages=tuple(dict.fromkeys(stage for stage, _ in used[name])),
            revision=spec.revision or "",
            fingerprint=lock.get("models", {}).get(name, {}).get("fingerprint", ""),
            license="" if spec.is_endpoint else model_license(Path(models.located(spec, recipe.folder))),
        )


def model_license(folder: Path) -> str:
    """The licence that the card in a model's own folder states; nothing is guessed."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
        front = yaml.safe_load(text.split("---\n", 2)[1]) if text.startswith("---\n") else {}
    except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError):
        return ""
    return str(front.get("license", "")) if isinstance(front, dict) else ""


def thresholds(recipe: Recipe) -> Iterator[Threshold]:
    """Every setting that decides, with what differs by a column's value."""
    for table in recipe.stages:
        own = settings_of(table.stage)
        about = {setting.name: setting.doc for setting in describe(type(table.stage)).settings}
        for setting in decision_settings(table.stage):
            if own[setting] is not None:
                yield Threshold(
                    table.id, setting, own[setting], tuple(_overrides(table, setting, own)), about.get(setting, "")
                )


def _overrides(table: StageTable, setting: str, own: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for column, values in table.by.items():
        for value, stage in values.items():
            if (other := settings_of(stage)[setting]) != own[setting]:
                yield column, value, other


def cost(build: Build) -> Cost:
    """What all paid answers of a build cost, however many runs it took."""
    spent = list(build.spent().values())
    amounts = [each.cost for each in spent]
    return Cost(
        amount=None if None in amounts else sum(amounts),
        currency=build.recipe.dataset.currency,
        requests=sum(each.answers for each in spent),
        prompt_tokens=sum(each.prompt_tokens for each in spent),
        completion_tokens=sum(each.completion_tokens for each in spent),
    )


def published(out: Path) -> tuple[tuple[tuple[str, str], ...], dict[str, int], int]:
    """Columns of the files in data/ with their types, rows by split, and bytes."""
    columns: tuple[tuple[str, str], ...] = ()
    splits: Counter[str] = Counter()
    size = 0
    for path in sorted((out / "data").glob("*.parquet"), key=lambda p: (not p.name.startswith("train-"), p.name)):
        file = pq.ParquetFile(path)
        splits[path.name.partition("-")[0]] += file.metadata.num_rows
        size += path.stat().st_size
        columns = tuple((f.name, "image" if is_image(f) else str(f.type)) for f in file.schema_arrow)
    return columns, dict(splits), size


def _values(outcome: Outcome, column: str) -> dict[str, int]:
    source = outcome.levels[0].frame
    if source.field(column) is None:
        return {}
    counts = source.column(column).drop_null().value_counts().to_pylist()
    return {
        each["values"]: each["counts"] for each in sorted(counts, key=lambda each: (-each["counts"], each["values"]))
    }


def _licenses(recipe: Recipe, outcome: Outcome) -> dict[str, int]:
    """Licences of the source rows; nothing where no row states one."""
    found = _values(outcome, "license")
    lacking = len(outcome.levels[0].frame) - sum(found.values())
    name = stated_license(recipe.source) or (NOT_STATED if found else "")
    return found | ({name: found.get(name, 0) + lacking} if name and lacking else {})


def _devices(lock: Mapping[str, Any]) -> Iterator[str]:
    named = (model.get("device", "auto") for model in lock.get("models", {}).values())
    yield from dict.fromkeys(device for device in (lock.get("platform"), *named) if device not in (None, "auto"))
