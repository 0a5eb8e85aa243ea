"""A distillation as a Prefect flow: a task for each step, so that runs show trainings, arms and exports.

Prefect caches nothing: what is done is what lies on disk, under a key that knows recipe, rows, teacher, arm and seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from distill.distilling import distill
from distill.progress import Watcher

_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def told_to(watcher: Watcher) -> Iterator[None]:
    """Flows run inside tell this watcher of their progress; it can't be a parameter, which Prefect would store."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


@flow(name="distill-student", flow_run_name="{recipe}", validate_parameters=True)
def distill_student(
    recipe: str, out: str | None = None, arms: bool = False, sets: list[str] | None = None
) -> dict[str, Any]:
    """Caches a teacher, trains its student, evaluates and exports it; goes on where an earlier run stopped.

    Args:
        recipe: path of a TOML file.
        out: folder of the result; `builds/NAME` by default.
        arms: trains the control arms too.
        sets: overrides such as `train.steps=200`.

    Returns:
        `out`, and the student's figures by format.

    Raises:
        RequestError: recipe, dataset, teacher or judge are wrong.
        WorkError: the work failed; another run resumes.
    """
    made = distill(recipe, out, arms=arms, sets=tuple(sets or ()), watcher=_WATCHER.get(), around=_as_task)
    return {"out": str(made.out), "formats": {name: each["values"] for name, each in made.report["formats"].items()}}


def _as_task(name: str, step: Callable[[], Any]) -> Any:
    """Runs a step as a task of the flow that is running."""

    @task(name="step", task_run_name=name, cache_policy=NO_CACHE, persist_result=False, log_prints=False)
    def step_task() -> Any:
        return step()

    return step_task()
