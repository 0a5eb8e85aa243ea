"""Walks parts through the stages: what waits, what computes and what writes overlap; every row has an outcome.

    part 0   source ─ generator ─ generator ─ filter ─ filter
    part 1        source ─ generator ─ generator ─ filter ...         one asyncio loop, some parts under way
    part 2             source ─ generator ...                         one compute thread, one writing thread

A stage's work on a part is done when its manifest holds the key of that work: a hash of the stage's own key (see
`plan.stage_key`) and of the rows that came in. Thresholds enter no key but through the rows that they let on.
A stage that has to look at pictures which were let go (`dataset.keep_rejected`) has them made again first.
Processes share a build by leasing parts; the lock of a killed process is free.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import Timeout

from limbeck import store
from limbeck.budget import ErrorBudget
from limbeck.contract import generated, scored
from limbeck.decisions import ERROR
from limbeck.errors import BadAnswer, ModelError
from limbeck.handle import Handle, ModelPool
from limbeck.journal import Journal
from limbeck.plan import Course, Plan
from limbeck.progress import Observer
from limbeck.records import IDENTITY, holds_pictures
from limbeck.schema import StageTable
from limbeck.stage import Drop, Failed, Row, scores, waits

_POLL_S = 0.2
Around = Callable[[int, Callable[[], Awaitable[None]]], Awaitable[None]]
"""Awaits a part's walk, given its number and what starts it: where a flow makes a part a task of its own."""


class Runner:
    """One process's work on a plan. Models stay loaded as long as it lives.

    Attributes:
        pool: the models.
        journal: answers of paid calls.
    """

    def __init__(
        self, plan: Plan, observer: Observer | None = None, *, retry_failed: bool = False, around: Around | None = None
    ) -> None:
        """Loads no model yet."""
        self.plan, self.observer, self._retry_failed = plan, observer or Observer(), retry_failed
        self._around: Around = around or (lambda part, walk: walk())
        self.pool = ModelPool(dict(plan.recipe.models), plan.recipe.folder, self.observer)
        self.journal = Journal(plan.out / "journal")
        self._budget = ErrorBudget(plan.recipe.run.max_error_rate, len(plan.parts), plan.source_rows)
        self._retried: set[tuple[int, int]] = set()
        self._noted: set[tuple[int, int]] = set()

    async def run(self, parts: Sequence[int], survivors: dict[int, Collection[str]], until: int) -> None:
        """Walks parts to stage `until` (exclusive, counted from 1), with others that hold leases on some of them.

        Args:
            parts: numbers of the parts.
            survivors: for each barrier that is passed already, the ids that go on.
            until: the next barrier, or one past the last stage.

        Raises:
            TooManyErrors: more rows failed than the recipe allows.
            DiskFull: there is no room; nothing half-written counts.
        """
        self._compute = ThreadPoolExecutor(1, thread_name_prefix="compute")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        try:
            todo = list(parts)
            while todo:
                todo = await self._pass(todo, survivors, until)
                if todo:  # somebody else is at them; if he dies we take over
                    await asyncio.sleep(_POLL_S)
        finally:
            self._compute.shutdown(cancel_futures=True)
            self._writer.shutdown()
            await self.pool.aclose()

    async def _pass(self, parts: Sequence[int], survivors: dict[int, Collection[str]], until: int) -> list[int]:
        """Walks all parts that can be leased; returns the others."""
        waiting, leased = deque(parts), []
        running: set[asyncio.Task[None]] = set()
        try:
            while waiting or running:
                while waiting and len(running) < self._parts_in_flight():
                    part = waiting.popleft()
                    lease = self.plan.lease(store.part_name(part))
                    try:
                        lease.acquire(timeout=0)
                    except Timeout:
                        leased.append(part)
                        continue
                    running.add(asyncio.create_task(self._leased(part, lease, survivors, until)))
                if running:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for outcome in await asyncio.gather(
                        *done, return_exceptions=True
                    ):  # asks each task, so none complains
                        if isinstance(outcome, BaseException):
                            raise outcome
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return leased

    async def _leased(self, part: int, lease: Any, survivors: dict[int, Collection[str]], until: int) -> None:
        try:
            self.journal.refresh()
            # A walk that is started again begins anew: what is done is found on disk.
            await self._around(part, lambda: self._walk(part, survivors, until))
        finally:
            lease.release()

    async def _walk(self, part: int, survivors: dict[int, Collection[str]], until: int) -> None:
        """Walks a part; one whose pictures were let go before a stage has to look at them is made again on the way."""
        while True:
            try:
                return await _Walk(self, part, survivors).to(until)
            except _PicturesLetGoError as lacking:
                self._retried.discard((lacking.needed_by, part))
                store.forget_part(self.plan.folder(lacking.made_by), part)
                if (lacking.made_by, lacking.needed_by) not in self._noted:
                    self._noted.add((lacking.made_by, lacking.needed_by))
                    maker, reader = (self.plan.recipe.stages[i - 1].id for i in (lacking.made_by, lacking.needed_by))
                    self.observer.note(f"{reader} needs pictures of rejected rows, which {maker} makes again")

    def _parts_in_flight(self) -> int:
        chosen = self.plan.recipe.run.parts_in_flight
        if chosen is not None:
            return chosen
        used = self.plan.fingerprints
        slots = max(
            (s.concurrency for n, s in self.plan.recipe.models.items() if n in used and s.is_endpoint), default=0
        )
        return max(3, 1 + -(-6 * slots // self.plan.recipe.run.part_rows))  # a part waits for its unluckiest row

    async def compute(self, function: Any, *args: Any) -> Any:
        """Runs something on the one thread that computes."""
        return await asyncio.get_running_loop().run_in_executor(self._compute, function, *args)

    async def write(self, stage: int, part: int, table: pa.Table, manifest: dict[str, Any]) -> dict[str, Any]:
        """Writes a part; it is done when this returns."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._writer, store.write_part, self.plan.folder(stage), part, table, manifest
        )

    def to_retry(self, stage: int, part: int, manifest: dict[str, Any]) -> bool:
        """Whether `--retry-failed` opens this part again; once a run."""
        again = self._retry_failed and manifest["counts"]["failed"] > 0 and (stage, part) not in self._retried
        if again:
            self._retried.add((stage, part))
        return again


class _PicturesLetGoError(Exception):
    """The stage `needed_by` has to look at rows of the stage `made_by` that have no pictures any more."""

    def __init__(self, made_by: int, needed_by: int) -> None:
        super().__init__(made_by, needed_by)
        self.made_by, self.needed_by = made_by, needed_by


class _Walk:
    """One part's way through the stages."""

    def __init__(self, runner: Runner, part: int, survivors: dict[int, Collection[str]]) -> None:
        self.runner, self.plan, self.part, self.observer = runner, runner.plan, part, runner.observer
        self.course = Course(runner.plan, part, survivors)

    async def to(self, until: int) -> None:
        """Walks to a stage, exclusive."""
        for index, table in enumerate(self.plan.recipe.stages[: until - 1], 1):
            if not table.is_filter:
                await self._generate(index, table)
            else:
                await self._filter(index, table)

    async def _generate(self, index: int, table: StageTable) -> None:
        course = self.course
        course.pass_barrier(index)
        key = course.key(index, table)
        manifest, made = store.read_manifest(self.plan.folder(index), self.part), None
        if self._open(index, manifest, key):
            handle = self._handle(table)
            rows = self._rows(index, table, np.flatnonzero(course.verdicts.alive))
            results, seconds = await self._work(table, handle, rows, "generate")
            made = generated(table, self.plan.schema(index), rows, _flat(results))
            manifest = await self._commit(index, table, key, rows, made, handle, seconds)
        else:
            self._reused(index, table, manifest)
        course.made(index, table, manifest, None if made is None else made.select)

    async def _filter(self, index: int, table: StageTable) -> None:
        course, table_scored = self.course, None
        if scores(table.stage):
            key = course.key(index, table)
            folder = self.plan.folder(index)
            manifest = store.read_manifest(folder, self.part)
            if self._open(index, manifest, key):
                handle = self._handle(table)
                alone = table.stage.survivors_only
                where = np.flatnonzero(course.verdicts.alive) if alone else np.arange(len(course.frame))
                rows = self._rows(index, table, where)
                results, seconds = await self._work(table, handle, rows, "score")
                table_scored = scored(table, self.plan.schema(index), rows, results)
                manifest = await self._commit(index, table, key, rows, table_scored, handle, seconds)
            else:
                self._reused(index, table, manifest)
                table_scored = store.read_part(folder, self.part)
            course.trail.passes(table, manifest)
        before = int(course.verdicts.alive.sum())
        course.judged(index, table, table_scored)
        verdicts = course.verdicts
        after, failed = int(verdicts.alive.sum()), int((verdicts.failed & (verdicts.ended_by == index)).sum())
        self.observer.part_done(
            table.id, self.part, rows=before, kept=after, dropped=before - after - failed, failed=failed, reused=False
        )

    def _handle(self, table: StageTable) -> Handle:
        return Handle(
            table, seed=self.plan.recipe.dataset.seed, pool=self.runner.pool, journal=self.runner.journal,
            fingerprints=self.plan.fingerprints, frame=self.course.frame,
        )  # fmt: skip

    def _open(self, index: int, manifest: dict[str, Any] | None, key: str) -> bool:
        """Whether a stage has to work on this part."""
        return manifest is None or manifest["key"] != key or self.runner.to_retry(index, self.part, manifest)

    def _rows(self, index: int, table: StageTable, where: np.ndarray) -> list[Row]:
        """What the stage sees: the columns it reads, and what it would write where that is there already.

        Raises:
            _PicturesLetGoError: a picture that it would see was let go.
        """
        frame = self.course.frame
        names = [f.name for f in table.stage.reads]
        names += [f.name for f in table.stage.reads_if_there if frame.field(f.name) is not None]
        names += [f.name for f in table.stage.writes if table.is_filter and frame.field(f.name) is not None]
        names = [name for name in names if name not in IDENTITY]
        self._check_pictures(index, names, where)
        return frame.rows(names, where)

    def _check_pictures(self, index: int, names: Sequence[str], where: np.ndarray) -> None:
        """Looks for rows without pictures where the columns come from: among the frame's rows, then its parents'."""
        if not any(manifest.get("let_go") for _, manifest in self.course.makers):
            return
        frame, rows, wanted = self.course.frame, where, set(names)
        for maker, manifest in reversed(self.course.makers):
            pictures = wanted.intersection(f.name for f in frame.schema if holds_pictures(f))
            if pictures and manifest.get("let_go"):
                let_go = pa.array(manifest["let_go"], pa.string())
                if pc.any(pc.is_in(frame.ids.take(pa.array(rows)), value_set=let_go)).as_py():
                    raise _PicturesLetGoError(maker, index)
            wanted -= set(frame.schema.names)
            if frame.parent is not None:
                frame, rows = frame.parent, frame.parents[rows]

    async def _work(self, table: StageTable, handle: Handle, rows: list[Row], verb: str) -> tuple[list[Any], float]:
        """The stage's results; a model's failure becomes a failed row."""
        self.observer.part_started(table.id, self.part, len(rows))
        start = time.perf_counter()
        if not rows:
            return [], 0.0
        if waits(table.stage):
            one = getattr(table.stage, f"{verb}_one")
            results = await _gather([self._one(one, table, handle, row) for row in rows])
        else:
            results = await self.runner.compute(self._all, getattr(table.stage, verb), handle, rows)
            self.observer.rows_done(table.id, self.part, len(rows))
        return results, time.perf_counter() - start

    async def _one(self, one: Any, table: StageTable, handle: Handle, row: Row) -> Any:
        try:
            result = await one(row, handle)
        except ModelError as error:
            result = Failed(row["id"], error)
        self.observer.rows_done(table.id, self.part, 1)
        return result

    @staticmethod
    def _all(function: Any, handle: Handle, rows: list[Row]) -> list[Any]:
        try:
            return list(function(rows, handle))
        except ModelError as error:
            return [Failed(row["id"], error) for row in rows]

    async def _commit(
        self, index: int, table: StageTable, key: str, rows: list[Row], made: pa.Table, handle: Handle, seconds: float
    ) -> dict[str, Any]:
        counts = _counts(rows, made, table.is_filter)
        if useless := _with_useless_answers(made):
            await self.runner.journal.set_aside(key for row_id in useless for key in handle.paid[row_id])
        self.runner._budget.add(index, table.id, self.part, counts, _an_error(made))
        manifest = {
            "key": key, "stage": table.id, "stage_key": self.plan.stage_keys[index - 1],
            "made_of": self.course.trail.leads_to(table), "counts": counts, "counters": dict(handle.counters),
            "seconds": round(seconds, 3),
        }  # fmt: skip
        manifest = await self.runner.write(index, self.part, made, manifest)
        if not table.is_filter:
            self._report(table, counts, reused=False)
        return manifest

    def _reused(self, index: int, table: StageTable, manifest: dict[str, Any]) -> None:
        self.runner._budget.add(index, table.id, self.part, manifest["counts"])
        if not table.is_filter:
            self._report(table, manifest["counts"], reused=True)

    def _report(self, table: StageTable, counts: dict[str, int], *, reused: bool) -> None:
        self.observer.part_done(
            table.id, self.part, rows=counts["in"], kept=counts["made"], dropped=counts["dropped"],
            failed=counts["failed"], reused=reused,
        )  # fmt: skip


def _counts(rows: Sequence[Row], table: pa.Table, is_filter: bool) -> dict[str, int]:
    reasons = pc.drop_null(table["reason"])
    failed = pc.sum(pc.starts_with(reasons, ERROR)).as_py() or 0 if len(reasons) else 0
    counts = {
        "in": len(rows),
        "made": table.num_rows - len(reasons),
        "dropped": len(reasons) - failed,
        "failed": failed,
    }
    if is_filter and counts["in"] != counts["made"] + counts["dropped"] + counts["failed"]:
        raise AssertionError(f"rows don't add up: {counts}")
    return counts


def _an_error(table: pa.Table) -> str:
    """What went wrong with the first row that failed, in words."""
    failed = table.filter(pc.fill_null(pc.starts_with(table["reason"], ERROR), False)).slice(0, 1).to_pylist()
    return f"{failed[0]['id']}: {failed[0]['detail']}" if failed else ""


def _with_useless_answers(table: pa.Table) -> set[str]:
    """Rows that failed because of what the model answered: tried again, they are asked anew."""
    failed = table.filter(pc.fill_null(pc.equal(table["reason"], f"{ERROR}{BadAnswer.__name__}"), False))
    return set(failed["id"].to_pylist())


def _flat(results: Iterable[Any]) -> Iterable[Any]:
    """A generator's results: of `generate` a list of outcomes, of `generate_one` a list of such lists."""
    for result in results:
        if isinstance(result, dict | Drop | Failed):
            yield result
        else:
            yield from result


async def _gather(awaitables: Sequence[Any]) -> list[Any]:
    """All results in order; the first exception ends the others."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        with suppress(BaseException):
            await asyncio.gather(*tasks, return_exceptions=True)
        raise
