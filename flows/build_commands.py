"""`preview`, `estimate`, `run`, `refilter`: what makes rows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.command_options import AsJson, BuildFolder, Direct, NoOpen, OutFolder, RecipeFile, Sets
from flows.terminal import notes, progress, results, show, write_json
from limbeck.errors import RequestError

if TYPE_CHECKING:
    from flows.progress_bars import ProgressBars, ProgressLines
    from limbeck.built import Build
    from limbeck.recipe import Recipe
    from limbeck.workers import Request


def preview(
    recipe: RecipeFile,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="Source rows to take.")] = 8,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Where to.", show_default="builds/NAME-preview")
    ] = None,
    sets: Sets = [],  # noqa: B006 - Typer copies it
    no_open: NoOpen = False,
) -> None:
    """Make a few rows and open the report."""
    import limbeck

    start = time.monotonic()
    with progress() as bars:
        built = limbeck.preview(recipe, rows, out, sets=sets, observer=bars)
    _tell(built, time.monotonic() - start)
    show(built.path / "report" / "index.html", wanted=not no_open)


def estimate(
    recipe: RecipeFile,
    rows: Annotated[int, typer.Option("--rows", "-n", min=2, help="Source rows to measure.")] = 8,
    sets: Sets = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Say what the whole takes, from a few measured rows.

    Time, disk, tokens and money, each with how far off it may be.
    """
    from flows.terminal_estimate import table
    from limbeck.estimate import estimate as measure

    with progress() as bars:
        found = measure(recipe, rows, sets=sets, observer=bars)
    if as_json:
        write_json(found.as_dict())
    else:
        results().print(table(found))


def run(
    recipe: RecipeFile,
    out: OutFolder = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many source rows.")] = None,
    sets: Sets = [],  # noqa: B006
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Of N jobs that share a build, this is job I, from 0.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", metavar="", help="Tries failed rows again.")] = False,
    direct: Direct = False,
) -> None:
    """Build the dataset, or go on where a run stopped."""
    from limbeck.recipe import load
    from limbeck.workers import Request

    checked = load(recipe, sets=sets)  # a wrong request ends here, before anything is started
    request = Request(str(recipe), None if out is None else str(out), tuple(sets), limit, _shard(shard), retry_failed)
    start = time.monotonic()
    with progress() as bars:
        built = _directly(checked, request, bars) if direct else _as_flow(checked, request, bars)
    _tell(built, time.monotonic() - start)


def refilter(
    build: BuildFolder,
    sets: Sets = [],  # noqa: B006
) -> None:
    """Apply new thresholds, in seconds.

    Scores are stored for every row, so no model is loaded and nothing is rendered.
    """
    import limbeck

    start = time.monotonic()
    built = limbeck.refilter(build, sets)
    _tell(built, time.monotonic() - start)


def _directly(recipe: Recipe, request: Request, bars: ProgressBars | ProgressLines) -> Build:
    """Builds in this process, or in worker processes where there are several devices."""
    import limbeck
    from limbeck.workers import build_on, devices

    if on := devices(recipe):
        return build_on(on, request, bars)
    return limbeck.build(**vars(request), observer=bars)


def _as_flow(recipe: Recipe, request: Request, bars: ProgressBars | ProgressLines) -> Build:
    """Runs the flow; without it where no server is configured and the temporary one doesn't come up."""
    import limbeck
    from flows.prefect_api import run_flow
    from limbeck.workers import devices

    def flow() -> Build:
        from flows.build_dataset import build_dataset, watched_by

        with watched_by(bars):
            made = build_dataset(**vars(request) | {"sets": list(request.sets)})
        return limbeck.open_build(made["out"])

    def meanwhile() -> None:
        import flows.build_dataset  # noqa: F401 - seconds

        if not devices(recipe):
            _import_backends(recipe)

    bars.doing("starting Prefect (--direct goes without)")
    return run_flow(flow, lambda: _directly(recipe, request, bars), bars.note, meanwhile)


def _import_backends(recipe: Recipe) -> None:
    """Imports what the recipe's models in this process will need: seconds, for torch and its kin."""
    import importlib

    from limbeck.stage import models_of

    backends = {"chat": "chat_transformers", "image": "image_diffusers", "score": "score_transformers"}
    for table in recipe.stages:
        for name, role in models_of(table.stage).values():
            if not recipe.models[name].is_endpoint and role in backends:
                importlib.import_module(f"limbeck.models.{backends[role]}")


def _tell(built: Build, seconds: float) -> None:
    from distill.audit_edits import audit_build
    from flows.terminal_summary import summary

    if built.finished:
        audit_build(built)
        results().print(summary(built, seconds=seconds))
    else:
        notes().print(f"This shard is done; others still work on it: limbeck status {built.path}", soft_wrap=True)


def _shard(text: str | None) -> tuple[int, int] | None:
    """`2/8` as numbers.

    >>> _shard("2/8"), _shard(None)
    ((2, 8), None)

    Raises:
        RequestError: it isn't I/N with I below N.
    """
    if text is None:
        return None
    index, _, count = text.partition("/")
    if index.isdigit() and count.isdigit() and int(index) < int(count):
        return int(index), int(count)
    raise RequestError(f"{text!r}", expected="I/N with I from 0 to N - 1, such as 0/4", where="--shard")
