"""What the terminal says of a student: its figures beside the teacher's, its files, what the teacher added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from distill.student import Student, sensible_arms
from flows.progress_tally import clock_time
from flows.terminal import fact
from limbeck.describe import describe_settings


def summary(report: dict[str, Any], folder: Path, *, seconds: float | None = None) -> Group:
    """A report in a screenful.

    Args:
        report: what `report.json` holds.
        folder: where it lies.
        seconds: that this call took.
    """
    main = report["metrics"][0]["name"]
    parts: list[RenderableType] = [_figures(report), Text(), _files(report, main)]
    compared = (report["comparison"] or {}).get("metrics", {}).get(main)
    if compared:
        parts += [Text(), _arms(compared, main)]
        if "verdict" in compared:
            parts.append(Text(compared["verdict"], style="bold"))
    parts += [Text(), fact("look", Text(str(folder / "student" / "README.md"), style="cyan"))]
    if seconds is not None:
        parts.append(fact("took", Text(clock_time(seconds))))
    return Group(*parts)


def evaluation(report: dict[str, Any]) -> Group:
    """An evaluation in a screenful: figures of the weights, and the main one of every file."""
    main = report["metrics"][0]["name"]
    table = _grid("format", "size", main)
    for name, entry in report["formats"].items():
        table.add_row(name, f"{entry['bytes'] / 1e6:.2f} MB", f"{entry['values'][main]:.4f}")
    return Group(_figures(report), Text(), table, Text(f"judge: {report['judge']}", style="dim"))


def _grid(*titles: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for n, title in enumerate(titles):
        table.add_column(title, justify="right" if n else "left", no_wrap=True)
    return table


def _figures(report: dict[str, Any]) -> Table:
    values = report["formats"]["safetensors"]["values"]
    teacher = (report["teacher"] or {}).get("values", {})
    table = _grid(f"{report['test_rows']:,} held-out rows", "student", *(("teacher", "retained") if teacher else ()))
    for metric in report["metrics"]:
        own, theirs = values.get(metric["name"]), None if metric["to_teacher"] else teacher.get(metric["name"])
        if own is None:
            continue
        kept = f"{own / theirs:.1%}" if theirs and metric["better"] == "higher" else ""
        more = ("" if theirs is None else f"{theirs:.4f}", kept) if teacher else ()
        table.add_row(metric["name"], f"{own:.4f}", *more)
    return table


def _files(report: dict[str, Any], main: str) -> Table:
    table = _grid("format", "size", main, "lost", "p50", "p95")
    for name, entry in report["formats"].items():
        lost = "refused" if "refused" in entry else f"{entry['loss']:.2%}"
        timed = [f"{entry[key]:.2f} ms" if key in entry else "" for key in ("p50_ms", "p95_ms")]
        table.add_row(name, f"{entry['bytes'] / 1e6:.2f} MB", f"{entry['values'][main]:.4f}", lost, *timed)
    return table


def _arms(compared: dict[str, Any], main: str) -> Table:
    table = _grid("arm", main, "95% interval", "over labels alone")
    for name, arm in compared["arms"].items():
        gain = compared.get("gains", {}).get(name)
        over = f"{gain['value']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]" if gain else ""
        table.add_row(name, f"{arm['value']:.4f}", f"[{arm['low']:.4f}, {arm['high']:.4f}]", over)
    return table


def student_in_short(cls: type[Student]) -> Group:
    """Name, first sentence, and settings with their defaults."""
    prose, settings = describe_settings(cls)
    own = Text(", ", style="dim").join(
        Text.assemble(s.name, (f" = {s.default}" if s.default else " (has to be given)", "dim")) for s in settings
    )
    head = Text.assemble("\n  ", (cls.name, "bold cyan"), "  ", prose.partition("\n\n")[0].replace("\n", " "))
    return Group(head, Padding(own, (0, 0, 0, 4)))


def student_in_full(cls: type[Student]) -> Group:
    """Everything that its class says: loss terms with what they learn from, figures, formats, settings."""
    prose, settings = describe_settings(cls)
    student = cls()
    facts = Table.grid(padding=(0, 2))
    facts.add_row(Text("learns from", style="dim"), ", ".join(f"{n} ({t.signal}, {t.weight:g})" for n, t in student.terms.items()))  # fmt: skip
    facts.add_row(Text("judged by", style="dim"), ", ".join(metric.name for metric in student.metrics))
    facts.add_row(Text("leaves as", style="dim"), ", ".join(student.formats))
    facts.add_row(Text("arms", style="dim"), ", ".join(sensible_arms(student)))
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("setting", "default", "what it is"):
        table.add_column(title, no_wrap=title == "setting")
    for s in settings:
        about = Text(s.doc[:1].upper() + s.doc[1:])
        about.append(f" ({s.type}" + (f"; names a {s.role} model of [models]" if s.role else "") + ")", style="dim")
        table.add_row(Text(s.name, style="cyan"), s.default or Text("none", style="yellow"), about)
    return Group(Text.assemble("\n", (cls.name, "bold cyan")), Text(f"\n{prose}\n"), facts, Text(), table)
