"""`distill`, `evaluate`: from a dataset and a teacher to a student, and what it is worth."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from flows.command_options import AsJson, Sets
from flows.terminal import notes, results, write_json

if TYPE_CHECKING:
    from distill.recipe import DistillRecipe
    from flows.distill_bars import DistillBars, DistillLines

StudentRecipe = Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe with a \\[student] table.")]


def distill(
    recipe: StudentRecipe,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to.", show_default="builds/NAME")
    ] = None,
    arms: Annotated[
        bool, typer.Option("--arms", metavar="", help="Trains the control arms too, and says what the teacher added.")
    ] = False,
    sets: Sets = [],  # noqa: B006 - Typer copies it
    direct: Annotated[bool, typer.Option("--direct", metavar="", help="Without Prefect.")] = False,
) -> None:
    """Cache a teacher, train its student, evaluate and export it.

    Goes on where an earlier call stopped.
    """
    from distill import processes
    from distill.recipe import load

    checked = load(recipe, sets=sets)  # a wrong request ends here, before anything is started
    request = {"recipe": str(recipe), "out": None if out is None else str(out), "arms": arms, "sets": list(sets)}
    start = time.monotonic()
    with _progress() as bars:
        direct = direct or processes.world() > 1
        report, folder = _directly(request, bars) if direct else _as_flow(checked, request, bars)
    if processes.is_main():
        _tell(report, folder, time.monotonic() - start)


def evaluate(
    student: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `limbeck distill` wrote.")],
    model: Annotated[
        Path | None, typer.Option("--model", metavar="DIR", help="Another folder with weights of the same kind.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score a student once more, from the files that are given out.

    The judge is of another family than teacher and filters, or there is no report.
    """
    from distill.evaluating import evaluate_student
    from flows.terminal_student import evaluation

    with _progress() as bars:
        report = evaluate_student(student, model, watcher=bars)
    if as_json:
        write_json(report)
    else:
        results().print(evaluation(report))


def students(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Students to describe in full; all in short by default.")
    ] = None,
) -> None:
    """List every student with its loss terms, figures and settings."""
    from distill import catalog
    from flows.terminal_student import student_in_full, student_in_short

    console = results()
    if names:
        for name in names:
            console.print(student_in_full(catalog.student_class(name, Path.cwd())))
    else:
        for cls in catalog.available().values():
            console.print(student_in_short(cls))
        console.print(Text("\nlimbeck students NAME tells all about one.", style="dim"))


def _directly(request: dict[str, Any], bars: DistillBars | DistillLines) -> tuple[dict[str, Any], Path]:
    from distill.distilling import distill as run

    made = run(**request, watcher=bars)
    return made.report, made.out


def _as_flow(
    recipe: DistillRecipe, request: dict[str, Any], bars: DistillBars | DistillLines
) -> tuple[dict[str, Any], Path]:
    """Runs the flow; without it where no server is configured and the temporary one doesn't come up."""
    import orjson

    from flows.prefect_api import configured, prefect_api
    from limbeck.errors import WorkError

    with prefect_api() as wait:
        from flows.distill_student import distill_student, told_to

        try:
            wait()
        except WorkError as error:
            if configured():
                raise
            bars.note(f"{error}. Going on without Prefect.")
            return _directly(request, bars)
        with told_to(bars):
            made = distill_student(**request)
    folder = Path(made["out"])
    return orjson.loads((folder / "report.json").read_bytes()), folder


def _progress() -> DistillBars | DistillLines:
    """Bars where somebody watches, else plain lines."""
    from distill import processes
    from flows.distill_bars import DistillBars, DistillLines

    console = notes()
    if console.is_terminal and processes.is_main():
        return DistillBars(console)
    return DistillLines(lambda line: print(line, file=sys.stderr, flush=True))


def _tell(report: dict[str, Any], folder: Path, seconds: float) -> None:
    from flows.terminal_student import summary

    results().print(summary(report, folder, seconds=seconds))
