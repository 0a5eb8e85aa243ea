"""The build as a Prefect flow: one task for each part, so that runs show their parts, retries and schedules.

On several devices a task is a worker process, which pipelines the parts that it leases.

    limbeck deploy RECIPE --cron "0 3 * * 1"      # as flows.build_dataset:build_dataset, see flows/__init__.py

Parts stay pipelined in one event loop: a task awaits its part's walk, and costs milliseconds. Prefect caches nothing:
what is done is what lies on disk, under a key that knows stages, settings, models and rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from flows.publish_dataset import publish_dataset
from limbeck.building import build
from limbeck.built import Build
from limbeck.errors import DiskFull, EndpointUnreachable, TooManyErrors, WorkError
from limbeck.progress import Observer
from limbeck.recipe import load
from limbeck.workers import Request, Workers, devices

_OBSERVER: ContextVar[Observer | None] = ContextVar("observer", default=None)
_HOPELESS = (TooManyErrors, DiskFull, EndpointUnreachable)
"""Kinds of `WorkError` that the same minute won't mend."""


@contextmanager
def watched_by(observer: Observer) -> Iterator[None]:
    """Flows run inside tell this observer of their progress; it can't be a parameter, which Prefect would store."""
    token = _OBSERVER.set(observer)
    try:
        yield
    finally:
        _OBSERVER.reset(token)


@flow(name="build-dataset", flow_run_name="{recipe}", validate_parameters=True)
def build_dataset(
    recipe: str,
    out: str | None = None,
    sets: list[str] | None = None,
    limit: int | None = None,
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
    publish: str | None = None,
    public: bool = False,
) -> dict[str, Any]:
    """Builds a dataset, or goes on where an earlier run stopped.

    Args:
        recipe: path of a TOML file.
        out: the build's folder; `builds/NAME` by default.
        sets: overrides such as `pairs.samples=8`.
        limit: at most so many source rows.
        shard: (i, n): of n runs that share the build, this is run i.
        retry_failed: opens parts that hold failed rows again.
        publish: OWNER/NAME on the Hub to which the finished build goes.
        public: whether a repository made there is for everybody to see.

    Returns:
        `out`, `finished`, the rows `kept` by split, and what was `published`.

    Raises:
        RequestError: the recipe, source, models or folder are wrong.
        WorkError: the work failed; another run resumes.
    """
    request = Request(recipe, out, tuple(sets or ()), limit, shard, retry_failed)
    if on := devices(load(recipe, sets=request.sets)):
        made = _on_devices(on, request)
    else:
        made = build(**vars(request), observer=_OBSERVER.get(), around=_as_task)
    sent = publish_dataset(str(made.path), publish, public) if publish and made.finished else None
    return {"out": str(made.path), "finished": made.finished, "kept": made.splits(), "published": sent}


def _on_devices(on: tuple[str, ...], request: Request) -> Build:
    """Runs a worker process for each device, each as a task of its own."""
    workers = Workers(on, request, _OBSERVER.get())

    @task(name="worker", task_run_name="worker-{number}-{device}", cache_policy=NO_CACHE, persist_result=False)
    def worker_task(number: int, device: str) -> None:
        workers.work(number)

    for future in [worker_task.submit(number, device) for number, device in enumerate(on)]:
        future.result()
    return workers.finish()


async def _as_task(part: int, walk: Callable[[], Awaitable[None]]) -> None:
    """Awaits a part's walk as a task of the flow that is running."""

    @task(
        name="part",
        task_run_name="part-{number:05d}",
        cache_policy=NO_CACHE,
        retries=2,
        retry_delay_seconds=[5, 30],
        retry_condition_fn=_worth_a_retry,
        persist_result=False,
        log_prints=False,
    )
    async def part_task(number: int) -> None:
        await walk()

    await part_task(part)


async def _worth_a_retry(task: Any, run: TaskRun, state: State) -> bool:
    """Whether a failed part is tried again: endpoints were asked many times already, a wrong request stays wrong."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, WorkError | OSError) and not isinstance(error, _HOPELESS)
