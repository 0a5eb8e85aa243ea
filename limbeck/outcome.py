"""What became of every row of a build, decided from stored scores: at barriers, at the end, and when refiltering.

No model is loaded and no picture read. `Outcome.verdicts()` is the table of all ended and kept rows, `funnel()` the
counts; both come from the same masks, and they add up or it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from limbeck.decisions import ERROR, Verdicts, settle
from limbeck.errors import BuildNotFound
from limbeck.frames import Frame
from limbeck.schema import StageTable
from limbeck.stage import scores
from limbeck.store import part_name, read_part

MISSING = "not_made"
"""Reason of a row that a laxer threshold lets on but that the next generator hasn't seen; a run makes its children."""
VERDICTS = pa.schema([
    pa.field("id", pa.string()), pa.field("source_id", pa.string()), pa.field("verdict", pa.string()),
    pa.field("stage", pa.string()), pa.field("reason", pa.string()), pa.field("reasons", pa.list_(pa.string())),
    pa.field("detail", pa.string()),
])  # fmt: skip
"""Columns of `stages/verdicts.parquet`."""


@dataclass
class Level:
    """The rows of one generator (or the source) and what became of them.

    Attributes:
        stage: index of the generator, 0 for the source.
        frame: its rows, with the scores of the filters after it.
        verdicts: what the filters after it decided.
        ended: rows that the generator itself ended: id, reason, detail and, but for the source, parent_id.
        missing: rows of the level before that should have an outcome here and have none.
        seen: filter's index to the rows alive before it.
        details: id to what a filter said when it dropped or failed a row while scoring.
    """

    stage: int
    frame: Frame
    verdicts: Verdicts
    ended: pa.Table
    missing: pa.Array
    entered: int
    seen: dict[int, int] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)


@dataclass
class Count:
    """One stage of the funnel: rows in = kept + dropped + failed for a filter; a generator makes `kept` rows."""

    stage: str
    rows: int
    kept: int
    dropped: int
    failed: int
    reasons: dict[str, int]


@dataclass
class Outcome:
    """All levels of a build."""

    stages: Sequence[StageTable]
    levels: list[Level]

    @property
    def last(self) -> Level:
        """Where the finished rows are."""
        return self.levels[-1]

    def without(self, rows: np.ndarray) -> None:
        """Leaves out finished rows (a mask) whose pictures aren't there any more; they count as `not_made`."""
        index = len(self.stages) + 1
        self.last.seen[index] = int(self.last.verdicts.alive.sum())
        self.last.verdicts.end(index, MISSING, rows)

    def name(self, index: int) -> str:
        """Id of a stage; `source` before the first, `data` after the last."""
        return "source" if index == 0 else "data" if index > len(self.stages) else self.stages[index - 1].id

    def survivors(self) -> list[str]:
        """Ids alive at the last level."""
        return self.last.frame.ids.filter(pa.array(self.last.verdicts.alive)).to_pylist()

    def funnel(self) -> list[Count]:
        """Counts by stage, the source first.

        Raises:
            AssertionError: rows got lost.
        """
        counts = []
        for level in self.levels:
            reasons = level.ended["reason"].value_counts().to_pylist() if level.ended.num_rows else []
            found = {r["values"]: r["counts"] for r in sorted(reasons, key=lambda r: (-r["counts"], r["values"]))}
            if len(level.missing):
                found[MISSING] = len(level.missing)
            failed = sum(n for reason, n in found.items() if reason.startswith(ERROR))
            entered = int((level.verdicts.alive | (level.verdicts.ended_by >= 0)).sum())
            dropped = {r: n for r, n in found.items() if not r.startswith(ERROR)}
            counts.append(Count(self.name(level.stage), level.entered, entered, sum(dropped.values()), failed, found))
            alive = entered
            for index, before in level.seen.items():
                ended = level.verdicts.ended_by == index
                failed = int((ended & level.verdicts.failed).sum())
                kept = alive - int(ended.sum())
                if alive != before:
                    raise AssertionError(f"rows don't add up before {self.name(index)}: {alive} and {before}")
                found = {r: n for r, m in level.verdicts.reasons.items() if (n := int((m & ended).sum()))}
                count = Count(self.name(index), before, kept, int(ended.sum()) - failed, failed, found)
                counts.append(count)
                alive = kept
        return counts

    def verdicts(self) -> pa.Table:
        """Every row that was kept or ended, in order: see `VERDICTS`."""
        tables = []
        for level in self.levels:
            tables.append(_generator_ended(level, self.name(level.stage)))
            names = [self.name(i) for i in range(1, len(self.stages) + 2)]
            tables.append(_filter_ended(level, names, keep=level is self.last))
        return pa.concat_tables(tables)


def evaluate(
    stages: Sequence[StageTable],
    folder: Callable[[int], Path],
    parts: Sequence[int],
    inactive: frozenset[str] = frozenset(),
) -> Outcome:
    """Decides over all parts of a build.

    Args:
        stages: the recipe's, up to where the parts have come.
        folder: of a stage by index, 0 is the source.
        parts: numbers of the parts.
        inactive: source ids that don't count any more.

    Raises:
        BuildNotFound: a part that is needed isn't there.
    """
    frame = _frame(folder(0), parts, None)
    alive = np.ones(len(frame), bool)
    ended = frame.outcomes()
    if inactive:
        gone = pa.array(sorted(inactive), pa.string())
        alive = ~pc.is_in(frame.ids, value_set=gone).to_numpy(zero_copy_only=False)
        ended = ended.filter(pc.invert(pc.is_in(ended["id"], value_set=gone)))
    nothing = pa.array([], pa.string())
    level = Level(0, frame, Verdicts.of(alive), ended, nothing, int(alive.sum()) + ended.num_rows)
    levels = [level]
    for index, table in enumerate(stages, 1):
        if table.is_filter:
            scored = _read(folder(index), parts) if scores(table.stage) else None
            level.seen[index] = int(level.verdicts.alive.sum())
            settle(table, index, level.frame, level.verdicts, scored)
            if scored is not None:
                said = scored.filter(pc.is_valid(scored["reason"])).select(["id", "detail"])
                level.details.update(zip(said["id"].to_pylist(), said["detail"].to_pylist(), strict=True))
        else:
            level = _next(level, index, _frame(folder(index), parts, level.frame))
            levels.append(level)
    return Outcome(stages, levels)


def _next(before: Level, index: int, frame: Frame) -> Level:
    """The level of a generator: children of rows that are alive, and what it ended itself."""
    parents = frame.parents
    alive = np.where(parents >= 0, before.verdicts.alive[parents], False) if len(parents) else np.zeros(0, bool)
    going = before.frame.ids.filter(pa.array(before.verdicts.alive))
    ended = frame.outcomes()
    ended = ended.filter(pc.is_in(ended["parent_id"], value_set=going))
    seen = pa.chunked_array([frame.column("parent_id").combine_chunks(), ended["parent_id"].combine_chunks()])
    missing = going.filter(pc.invert(pc.is_in(going, value_set=seen.combine_chunks())))
    return Level(index, frame, Verdicts.of(alive), ended, missing, len(going))


def _frame(folder: Path, parts: Sequence[int], parent: Frame | None) -> Frame:
    try:
        schema = pq.read_schema(folder / f"{part_name(parts[0])}.parquet")
    except (FileNotFoundError, IndexError) as error:
        raise BuildNotFound(f"{folder} has no parts", remedy="finish the build first: `limbeck run`") from error
    return Frame(schema, lambda names: _read(folder, parts, names), parent)


def _read(folder: Path, parts: Sequence[int], names: Sequence[str] | None = None) -> pa.Table:
    with ThreadPoolExecutor(4) as pool:
        tables = list(pool.map(lambda part: read_part(folder, part, names), parts))
    return pa.concat_tables(tables).combine_chunks()


def _generator_ended(level: Level, name: str) -> pa.Table:
    ended = level.ended
    reason = ended["reason"].combine_chunks()
    is_error = pc.starts_with(reason, ERROR)
    ids = ended["id"].combine_chunks()
    own = _verdict_table(
        ids,
        pc.list_element(pc.split_pattern(ids, "/", max_splits=1), 0) if len(ids) else ids,
        pc.if_else(is_error, "failed", "dropped"),
        pa.array([name] * len(ids), pa.string()),
        reason,
        pa.ListArray.from_arrays(pa.array(np.arange(len(ids) + 1), pa.int32()), reason),
        ended["detail"].combine_chunks(),
    )
    if not len(level.missing):
        return own
    count = len(level.missing)
    return pa.concat_tables([own, _verdict_table(
        level.missing, pc.list_element(pc.split_pattern(level.missing, "/", max_splits=1), 0),
        pa.array(["dropped"] * count), pa.array([name] * count), pa.array([MISSING] * count),
        pa.array([[MISSING]] * count, pa.list_(pa.string())), pa.array(["`limbeck run` makes it"] * count),
    )])  # fmt: skip


def _filter_ended(level: Level, names: Sequence[str], *, keep: bool) -> pa.Table:
    verdicts, frame = level.verdicts, level.frame
    where = np.flatnonzero(verdicts.ended_by >= 0 if not keep else verdicts.alive | (verdicts.ended_by >= 0))
    place = pa.array(where)
    order = list(verdicts.reasons)
    matrix = np.stack([verdicts.reasons[r][where] for r in order], axis=1) if order else np.zeros((len(where), 0), bool)
    rows, codes = np.nonzero(matrix)  # row-major: a row's reasons lie together, in the order they were given
    offsets = np.concatenate([[0], np.cumsum(matrix.sum(axis=1))]).astype(np.int32)
    spoken = pa.array(order, pa.string()).take(pa.array(codes))
    first = np.full(len(where), -1)
    if len(rows):
        first[rows[::-1]] = codes[::-1]
    reason = pa.array(order, pa.string()).take(pa.array(first, mask=first < 0))
    ended_by = verdicts.ended_by[where]
    stage = pa.array(list(names), pa.string()).take(pa.array(ended_by - 1, mask=ended_by < 0))
    kind = np.where(ended_by < 0, 0, np.where(verdicts.failed[where], 2, 1))
    ids = frame.ids.take(place)
    detail = pa.array(
        [level.details.get(i) for i in ids.to_pylist()] if level.details else [None] * len(ids), pa.string()
    )
    return _verdict_table(
        ids,
        frame.column("source_id").take(place).combine_chunks(),
        pa.array(["kept", "dropped", "failed"]).take(pa.array(kind)),
        stage,
        reason,
        pa.ListArray.from_arrays(pa.array(offsets), spoken),
        detail,
    )


def _verdict_table(*columns: pa.Array) -> pa.Table:
    arrays = [c.cast(f.type) if c.type != f.type else c for c, f in zip(columns, VERDICTS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=VERDICTS)
