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
from limbeck.errors import Problem, RecipeError, WorkError
from limbeck.outcome import Outcome, evaluate
from limbeck.plan import LEASES, Plan, digest, lock, make_plan
from limbeck.progress import Observer
from limbeck.recipe import Recipe, load
from limbeck.recipe_check import checked, overridden
from limbeck.runner import Around, Runner
from limbeck.stage import decision_settings, scores, settings_of

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
        if not complete(plan, plan.levels - 1):
            return Build(plan.out)
        return finish(plan, observer, runner=runner, seconds=time.perf_counter() - start, report=report)
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
        BuildNotFound: the folder holds no finished build.
    """
    old = open_build(out)
    tables = overridden(old.recipe.tables(), sets, "refilter")
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
        outcome = evaluate(recipe.stages, lambda i: old.folder(i), old.parts, old.inactive)
        return _publish(recipe, old, outcome, observer or Observer(), {}, report)


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
    """Whether every part has come through a level, in whatever process."""
    for index, table in enumerate(plan.recipe.stages[: plan.until(level) - 1], 1):
        if table.is_filter and not scores(table.stage):
            continue
        key = plan.stage_keys[index - 1]
        if any((store.read_manifest(plan.folder(index), part) or {}).get("stage_key") != key for part in plan.parts):
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
        WorkError: parts are missing.
    """
    observer = observer or Observer()
    if not complete(plan, plan.levels - 1):
        raise WorkError("some parts aren't done", where=str(plan.out), remedy="run them first")
    with plan.lease("finish"):
        outcome = evaluate(plan.recipe.stages, plan.folder, plan.parts, plan.inactive)
        lacking = publish.lacking_pictures(plan.recipe.stages, plan.folder, plan.parts, outcome)
        if lacking and runner is not None:
            observer.note(
                f"{sum(map(len, lacking.values()))} rows lost their pictures when they were rejected; made again"
            )
            for part in lacking:
                store.forget_part(plan.folder(outcome.last.stage), part)
            _run(runner.run(sorted(lacking), survivors(plan, plan.levels - 1), plan.until(plan.levels - 1)))
            outcome = evaluate(plan.recipe.stages, plan.folder, plan.parts, plan.inactive)
        facts = {} if seconds is None else {"seconds": round(seconds, 1)}
        store.write_file(plan.out / "lock.json", _json(lock(plan)))
        return _publish(plan.recipe, Build(plan.out, plan.recipe), outcome, observer, facts, report)


def _publish(
    recipe: Recipe, built: Build, outcome: Outcome, observer: Observer, facts: dict[str, Any], report: bool
) -> Build:
    out = built.path
    lacking = publish.lacking_pictures(recipe.stages, built.folder, built.parts, outcome)
    if lacking:
        rows = np.concatenate(list(lacking.values()))
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
