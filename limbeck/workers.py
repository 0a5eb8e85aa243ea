"""One worker process for each device, all on one build: they share its parts by leases, as any processes may.

    request = Request("recipe.toml", "OUT")
    build_on(devices(load("recipe.toml")), request)

A worker sees its own device alone, so a recipe says the same on one GPU and on eight. What a worker tells of its
progress is told on in the parent; a worker that fails stops the others, and the same call resumes.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from limbeck.building import build
from limbeck.built import Build
from limbeck.errors import WorkError
from limbeck.progress import Observer
from limbeck.recipe import Recipe
from limbeck.stage import models_of

_TOLD = ("planned", "part_started", "rows_done", "part_done", "model_loaded", "note")


@dataclass(frozen=True)
class Request:
    """What `limbeck.build` is asked for, in plain values that cross the border between processes."""

    recipe: str
    out: str | None = None
    sets: tuple[str, ...] = ()
    limit: int | None = None
    shard: tuple[int, int] | None = None
    retry_failed: bool = False


def devices(recipe: Recipe) -> tuple[str, ...]:
    """The devices that a recipe's build uses: those it names, else all GPUs, else one.

    Empty where nothing in the recipe needs a process of its own.
    """
    if recipe.run.devices != "auto":
        return recipe.run.devices
    used = {name for table in recipe.stages for name, _ in models_of(table.stage).values()}
    if all(recipe.models[name].is_endpoint for name in used):
        return ()
    import torch

    count = torch.cuda.device_count()
    return tuple(f"cuda:{i}" for i in range(count)) if count > 1 else ()


def build_on(devices: Sequence[str], request: Request, observer: Observer | None = None) -> Build:
    """Builds with one worker process for each device.

    Args:
        devices: names of torch devices; one may be there twice.
        request: what to build.
        observer: is told of the progress.

    Raises:
        RequestError: as `limbeck.build` does.
        WorkError: the same, or a worker was killed; the same call resumes.
    """
    workers = Workers(devices, request, observer)
    with ThreadPoolExecutor(len(devices)) as threads:
        for future in [threads.submit(workers.work, i) for i in range(len(devices))]:
            future.result()
    return workers.finish()


class Workers:
    """The worker processes of one build. `work` runs one of them and returns when it is through."""

    def __init__(self, devices: Sequence[str], request: Request, observer: Observer | None = None) -> None:
        """Starts none yet."""
        self.devices, self.request, self.observer = devices, request, observer or Observer()
        self._lock, self._planned = threading.Lock(), False
        self._running: list[Any] = []
        self._failed = False

    def work(self, index: int) -> None:
        """Runs the worker of a device to its end.

        Raises:
            LimbeckError: what went wrong in the worker; the other workers are stopped.
            WorkError: the worker was killed.
        """
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe(duplex=False)
        environment = _environment(self.devices[index], len(self.devices))
        process = context.Process(target=_worker, args=(there, self.request, environment), name=f"limbeck-{index}")
        with self._lock:
            if self._failed:
                return
            process.start()
            self._running.append(process)
        there.close()
        try:
            self._listen(here)
            process.join()
        except BaseException:
            self.stop()
            raise
        if process.exitcode and not self._failed:
            self.stop()
            what = f"ended by signal {-process.exitcode}" if process.exitcode < 0 else f"ended with {process.exitcode}"
            raise WorkError(
                f"the worker on {self.devices[index]} {what}", remedy="run the same command again: it resumes"
            )

    def stop(self) -> None:
        """Ends all workers; what they had written stays."""
        with self._lock:
            self._failed = True
            for process in self._running:
                process.terminate()

    def finish(self) -> Build:
        """Decides over all parts and writes the result."""
        return build(
            self.request.recipe,
            self.request.out,
            sets=self.request.sets,
            limit=self.request.limit,
            shard=self.request.shard,
            observer=_OnlyTheEnd(self.observer),
        )

    def _listen(self, pipe: Any) -> None:
        while True:
            try:
                name, args, kwargs = pipe.recv()
            except EOFError:
                return
            if name == "failed":
                raise args[0]
            with self._lock:
                if name == "planned":
                    if self._planned:
                        continue
                    self._planned = True
                getattr(self.observer, name)(*args, **kwargs)


class _OnlyTheEnd(Observer):
    """Of the parent's own, last walk: that it finishes."""

    def __init__(self, then: Observer) -> None:
        self.note, self.finishing = then.note, then.finishing


class _Teller(Observer):
    """Sends what it is told down a pipe."""

    def __init__(self, pipe: Any) -> None:
        lock = threading.Lock()

        def teller(name: str) -> Callable[..., None]:
            def tell(*args: Any, **kwargs: Any) -> None:
                with lock:
                    pipe.send((name, args, kwargs))

            return tell

        for name in _TOLD:
            setattr(self, name, teller(name))


def _environment(device: str, count: int) -> dict[str, str]:
    """What makes a process see one device.

    >>> os.environ.pop("CUDA_VISIBLE_DEVICES", None) and None
    >>> _environment("cuda:3", 8)
    {'CUDA_VISIBLE_DEVICES': '3'}
    """
    kind, _, index = device.partition(":")
    if kind == "cuda":
        visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        return {"CUDA_VISIBLE_DEVICES": visible[int(index or 0)] if visible else index or "0"}
    threads = max(1, (os.cpu_count() or 1) // count)
    return {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


def _worker(pipe: Any, request: Request, environment: dict[str, str]) -> None:
    """The worker process: nothing that looks at devices has been imported yet."""
    os.environ.update(environment)
    try:
        build(
            request.recipe,
            request.out,
            sets=request.sets,
            limit=request.limit,
            shard=request.shard,
            retry_failed=request.retry_failed,
            observer=_Teller(pipe),
            report=False,
        )
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        pipe.send(("failed", (error,), {}))
    finally:
        pipe.close()
