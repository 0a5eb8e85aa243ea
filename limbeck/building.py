"""The public functions: `build`, `preview`, `refilter`, `open_build`; and the pieces that flows and clusters use.

result = limbeck.build("recipes/storybook_edits.toml", "OUT")
for row in result.rows():
    ...

plan = make_plan(load(RECIPE), OUT)           # the same in pieces: see `limbeck.plan`
for level in range(plan.levels):
    for part in plan.parts:
        run_part(plan, part, level)
finish(plan)
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import threading
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from limbeck import publish, store
from limbeck.built import Build, open_build
from limbeck.errors import BuildNotFound, Problem, RecipeError, WorkError
from limbeck.outcome import Outcome, evaluate
from limbeck.plan import LEASES, Plan, digest, is_done, lock, make_plan
from limbeck.progress import Observer
from limbeck.recipe import Recipe, load
from limbeck.recipe_check import checked, overridden
from limbeck.runner import Around, Runner
from limbeck.stage import decision_settings, settings_of

__all__ = ["build", "complete", "finish", "make_plan", "open_build", "preview", "refilter", "run_part"]


def build(
    recipe: str | Path | Recipe,
    out: str | Path | None = None,
    *,
    sets: Sequence[str] = (),
    limit: int | None = None,
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
    observer: Observer | None = None,
    around: Around | None = None,
    report: bool = True,
) -> Build:
    """Makes a dataset, or goes on where an earlier run stopped; several processes may do so at once.

    Args:
        recipe: a TOML file or a checked recipe.
        out: the build's folder; `builds/NAME` by default.
        sets: overrides such as `pairs.samples=8`.
        limit: at most so many source rows.
        shard: (i, n): only the parts i, i + n, ...; whoever completes the last part writes the result.
        retry_failed: opens parts that hold failed rows again.
        observer: is told of the progress.
        around: awaits each part's walk; see `limbeck.runner.Around`.
        report: whether the card and the report are written at the end.

    Returns:
        The build; `Build.partial` where other shards still work.

    Raises:
        RequestError: the recipe, source, models or folder are wrong.
        WorkError: the work failed; the same call resumes.
    """
    recipe = load(recipe, sets=sets)
    plan = make_plan(recipe, out or Path("builds") / recipe.dataset.name, limit=limit)
    observer = observer or Observer()
    observer.planned([table.id for table in recipe.stages], len(plan.parts), plan.source_rows)
    runner = Runner(plan, observer, retry_failed=retry_failed, around=around)
    parts = [part for part in plan.parts if shard is None or part % shard[1] == shard[0]]
    start = time.perf_counter()
    try:
        for level in range(plan.levels):
            if level and not complete(plan, level - 1):
                return Build(plan.out)
            _run(runner.run(parts, survivors(plan, level), plan.until(level)))
        seconds = time.perf_counter() - start
        return _finish_if_complete(plan, observer, runner, seconds, report) or Build(plan.out)
    finally:
        runner.journal.close()


def preview(
    recipe: str | Path | Recipe,
    rows: int = 8,
    out: str | Path | None = None,
    *,
    sets: Sequence[str] = (),
    observer: Observer | None = None,
) -> Build:
    """A few rows through the whole line, in a folder of their own (`builds/NAME-preview`)."""
    recipe = load(recipe, sets=[*sets, "run.max_error_rate=1.0"])  # of a few rows one failed is many: it is shown
    out = out or Path("builds") / f"{recipe.dataset.name}-preview"
    return build(recipe, out, limit=rows, observer=observer)


def refilter(
    out: str | Path, sets: Sequence[str] = (), *, observer: Observer | None = None, report: bool = True
) -> Build:
    """Applies new thresholds to a build's stored scores: no model is loaded, nothing is rendered.

    Args:
        out: the build's folder.
        sets: thresholds such as `clip_pair.min_direction=0.1` or `clip_pair.by.edit_type.remove.min_target=0.2`.
        observer: is told of the progress.
        report: whether the card and the report are written anew.

    Raises:
        RecipeError: a setting that isn't a threshold: it would need a run.
        BuildNotFound: the folder holds no finished build, or parts that don't belong together.
    """
    old = open_build(out)
    old.check_finished()
    tables = overridden(_unfilled(old.recipe, sets), sets, "refilter")
    recipe = checked(tables, folder=old.recipe.folder, origin="refilter", again=True)
    problems = []
    for before, now in zip(old.recipe.stages, recipe.stages, strict=True):
        fixed = settings_of(before.stage).keys() - {*decision_settings(before.stage)}
        for name in sorted(fixed):
            if getattr(before.stage, name) != getattr(now.stage, name):
                remedy = "thresholds alone can be changed without a run; use: limbeck run RECIPE --set ..."
                problems.append(Problem(f"{now.id}.{name}", "is not a threshold", remedy))
    if {k: v for k, v in tables.items() if k != "stages"} != {
        k: v for k, v in old.recipe.tables().items() if k != "stages"
    }:
        problems.append(Problem("--set", "changes something else than a stage", "thresholds alone can be refiltered"))
    if problems:
        raise RecipeError(problems, "refilter")
    with old.lease("finish"):
        if stale := [(end, part) for part, end in old.ends.items() if end is not None]:
            stage, part = min(stale)
            raise BuildNotFound(
                f"part {part} of {recipe.stages[stage - 1].id} was made of something else than this build holds now",
                expected="the parts of one build", where=str(out),
                remedy=f"make it anew: limbeck run RECIPE --out {out}",
            )  # fmt: skip
        outcome = evaluate(recipe.stages, old.folder, old.parts, old.inactive)
        return _publish(recipe, old, outcome, observer or Observer(), {}, report)


def _unfilled(recipe: Recipe, sets: Sequence[str]) -> dict[str, Any]:
    """The recipe's tables without what a newly set preset is to fill; a build's recipe has every default written out."""
    tables, named = recipe.tables(), {key.partition("=")[0].strip() for key in sets}
    for table, entry in zip(recipe.stages, tables["stages"], strict=True):
        for setting, filled in table.stage.fills.items():
            if f"{table.id}.{setting}" in named:
                for name in filled:
                    entry.pop(name, None)
    return tables


def run_part(plan: Plan, part: int, level: int = 0, *, observer: Observer | None = None) -> None:
    """Walks one part through the stages of a level; models stay loaded in the process for the next.

    Raises:
        RequestError: a model can't be had.
        WorkError: the work failed; the same call resumes.
    """
    key = (str(plan.out), plan.stage_keys)
    with _RUNNERS_LOCK:
        if key not in _RUNNERS:
            _RUNNERS.clear()  # one plan's models at a time
            _RUNNERS[key] = Runner(plan, observer)
    _run(_RUNNERS[key].run([part], survivors(plan, level), plan.until(level)))


_RUNNERS: dict[Any, Runner] = {}
_RUNNERS_LOCK = threading.Lock()


def survivors(plan: Plan, level: int) -> dict[int, list[str]]:
    """For every barrier before a level, the ids that go on: decided over all parts."""
    stages = plan.recipe.stages
    return {
        barrier: evaluate(stages[: barrier - 1], plan.folder, plan.parts, plan.inactive).survivors()
        for barrier in plan.barriers()[:level]
    }


def complete(plan: Plan, level: int) -> bool:
    """Whether every part has come through a level, in whatever process, and is made of what comes in now.

    What an earlier run left, of other source rows or settings, isn't done: another process may still be to make it.
    """
    for n in range(level + 1):
        ids = survivors(plan, n)  # each level decides over parts that the one before has found done
        if not all(is_done(plan, part, ids, plan.until(n)) for part in plan.parts):
            return False
    return True


def finish(
    plan: Plan,
    observer: Observer | None = None,
    *,
    runner: Runner | None = None,
    seconds: float | None = None,
    report: bool = True,
) -> Build:
    """Decides over all parts and writes data, verdicts, card and report; several processes may call it.

    Raises:
        WorkError: parts are missing, or made of what has changed since.
    """
    built = _finish_if_complete(plan, observer or Observer(), runner, seconds, report)
    if built is None:
        raise WorkError("some parts aren't done", where=str(plan.out), remedy="run them first")
    return built


def _finish_if_complete(
    plan: Plan, observer: Observer, runner: Runner | None, seconds: float | None, report: bool
) -> Build | None:
    """Asked under the lease, so that nobody makes pictures again meanwhile; None where parts are still to do."""
    with plan.lease("finish"):
        if not complete(plan, plan.levels - 1):
            return None
        outcome = evaluate(plan.recipe.stages, plan.folder, plan.parts, plan.inactive)
        while runner is not None and (lacking := publish.lacking_pictures(plan.folder, plan.parts, outcome)):
            rows = len(np.unique(np.concatenate(list(lacking.values()))))
            observer.note(f"{rows} rows lost their pictures when they were rejected; made again")
            for stage, part in lacking:
                store.forget_part(plan.folder(stage), part)
            parts = sorted({part for _, part in lacking})
            for level in range(plan.levels):
                _run(runner.run(parts, survivors(plan, level), plan.until(level)))
            outcome = evaluate(plan.recipe.stages, plan.folder, plan.parts, plan.inactive)
        facts = {} if seconds is None else {"seconds": round(seconds, 1)}
        store.write_file(plan.out / "lock.json", _json(lock(plan)))
        return _publish(plan.recipe, Build(plan.out, plan.recipe), outcome, observer, facts, report)


def _publish(
    recipe: Recipe, built: Build, outcome: Outcome, observer: Observer, facts: dict[str, Any], report: bool
) -> Build:
    out = built.path
    lacking = publish.lacking_pictures(built.folder, built.parts, outcome)
    if lacking:
        rows = np.unique(np.concatenate(list(lacking.values())))
        observer.note(f"{len(rows)} rows have no pictures any more; `limbeck run` makes them again")
        outcome.without(np.isin(np.arange(len(outcome.last.frame)), rows))
    funnel = outcome.funnel()
    observer.finishing(funnel[-1].kept)
    verdicts = publish.write_verdicts(outcome, out)
    contents = [
        (store.read_manifest(built.folder(i), part) or {}).get("content")
        for i in range(len(recipe.stages) + 1)
        for part in built.parts
    ]
    key = digest(contents, verdicts, recipe.dataset.model_dump(mode="json"))
    noted = out / LEASES / "data.json"
    written = orjson.loads(noted.read_bytes()) if noted.is_file() and (out / "data").is_dir() else {}
    if written.get("key") != key:
        noted.unlink(missing_ok=True)
        written = {"key": key, "splits": publish.write_data(recipe, built.folder, built.parts, outcome, out)}
        store.write_file(noted, _json(written))
    result = facts | {
        "splits": written["splits"],
        "funnel": [vars(count) for count in funnel],
        "reasons": publish.count_reasons(outcome),
    }
    publish.let_go(recipe, built.folder, built.parts, outcome)
    with store.disk_errors(out):
        store.write_file(out / "recipe.toml", recipe.toml().encode())
        store.write_file(out / "lock.json", _json(built.lock | {"recipe_digest": recipe.digest(), "result": result}))
        (out / "report" / "truth.json").unlink(missing_ok=True)  # it spoke of other kept rows
    built = Build(out)
    built.outcome = outcome
    for module, function in (("limbeck.card", "write_card"), ("limbeck.report", "write_report")) if report else ():
        write = getattr(importlib.import_module(module), function, None) if importlib.util.find_spec(module) else None
        if write is not None:
            write(built)
    return built


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine to its end, also where a loop is running already (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    failed: list[BaseException] = []

    def body() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=body, name="limbeck-build")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
