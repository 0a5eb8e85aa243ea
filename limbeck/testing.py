"""The contract of a stage as a test: run it on any stage, built in or your own.

    def test_contract():
        check_stage(ClipPair(), rows, models={"matcher": tiny_clip})

Oracle: invariants. The same rows give the same result in another order, in other batches, and again; columns, types
and reasons are those that the class declares; settings survive a round trip; a decision is a pure function.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck import contract
from limbeck.decisions import Verdicts, decide, settle
from limbeck.frames import Frame
from limbeck.handle import Handle, ModelPool
from limbeck.progress import Observer
from limbeck.records import COLUMNS, IDENTITY, is_image
from limbeck.schema import StageTable
from limbeck.stage import (
    Drop,
    Failed,
    Filter,
    Row,
    Stage,
    decision_form,
    decision_settings,
    models_of,
    scores,
    settings_of,
    waits,
)

PICTURE_TOLERANCE = 1
"""Largest difference of a pixel's value between batches, of 255."""


def check_stage(
    stage: Stage,
    rows: Sequence[Row],
    *,
    models: Mapping[str, Any] | None = None,
    fingerprints: Mapping[str, str] | None = None,
    seed: int = 7,
    tolerance: float = 1e-4,
) -> pa.Table:
    """Runs the whole contract suite on a stage.

    Args:
        stage: with the settings to test.
        rows: at least two, each with an `id` and the columns that the stage reads; with `parent_id` where siblings
            matter.
        models: backends by the names that the stage's settings hold.
        fingerprints: of those models, for stages that ask whether a score is computed already.
        seed: the recipe's.
        tolerance: largest difference of a number between batches.

    Returns:
        What the stage made of the rows, as it would be stored.

    Raises:
        AssertionError: the contract is broken; the message says how.
        ContractError: a column, id or reason is wrong.
    """
    check_settings(stage)
    rows = [dict(row) for row in rows]
    assert len(rows) >= 2, "give at least two rows: order and batches can't be tested with less"
    bench = _Bench(stage, models or {}, fingerprints or {}, seed)
    table = bench.run(rows)
    _same(table, bench.run(rows), 0, 0, "run again")
    _same(table, bench.run(rows[::-1]), tolerance, PICTURE_TOLERANCE, "in reverse order")
    alone = pa.concat_tables([bench.run([row]) for row in rows])
    _same(table, alone, tolerance, PICTURE_TOLERANCE, "one row at a time")
    if isinstance(stage, Filter):
        _check_decision(bench, rows, table)
    return table


def check_settings(stage: Stage) -> None:
    """Class facts and settings: named, documented, declared, and the same after a round trip through JSON."""
    cls = type(stage)
    assert cls.__doc__, f"{cls.__name__} needs a docstring: `limbeck stages` shows it"
    assert str(cls.name).isidentifier(), f"{cls.__name__}.name has to be its file's name"
    assert isinstance(cls.version, int), f"{cls.__name__}.version has to be a whole number"
    assert cls.version >= 1
    assert len(set(stage.reasons)) == len(stage.reasons), "a reason is declared twice"
    again = cls(**json.loads(json.dumps(settings_of(stage))))
    assert again == stage, f"settings don't survive a round trip: {settings_of(stage)} became {settings_of(again)}"
    for field in (*stage.reads, *stage.reads_if_there, *stage.writes):
        canonical = COLUMNS.get(field.name)
        assert canonical is None or canonical.type == field.type, f"{field.name} is canonical and {canonical.type}"
    assert not {field.name for field in stage.writes} & {*IDENTITY}, "id, source_id and parent_id are the runner's"
    if isinstance(stage, Filter):
        decision_form(stage)
        if not scores(stage):
            assert not stage.writes, "a filter that scores nothing writes nothing"
    else:
        assert hasattr(stage, "generate") or hasattr(stage, "generate_one"), "a generator has to generate"
        assert not decision_settings(stage), "a generator has no decision settings: its rows are what they are"


class _Bench:
    """Runs a stage on rows as the runner does."""

    def __init__(self, stage: Stage, models: Mapping[str, Any], fingerprints: Mapping[str, str], seed: int) -> None:
        self.table = StageTable(type(stage).name, type(stage).name, stage, {})
        self._seed, self._fingerprints = seed, dict(fingerprints)
        self._pool = ModelPool({}, Path(), Observer())
        for name, role in models_of(stage).values():
            if name in models:
                self._pool.put(name, role, models[name])
                self._fingerprints.setdefault(name, getattr(models[name], "fingerprint", name))
        by_setting = {setting: self._fingerprints.get(name, name) for setting, (name, _) in models_of(stage).items()}
        self.schema = contract.stored_schema(self.table, by_setting)

    def run(self, rows: Sequence[Row]) -> pa.Table:
        stage = self.table.stage
        handle = Handle(
            self.table, seed=self._seed, pool=self._pool, fingerprints=self._fingerprints, frame=self.frame(rows)
        )
        given = self.given(rows)
        if isinstance(stage, Filter):
            if not scores(stage):
                return contract.scored(self.table, self.schema, given, [{} for _ in given])
            results = _all(stage.score_one, given, handle) if waits(stage) else list(stage.score(given, handle))
            return contract.scored(self.table, self.schema, given, results)
        if waits(stage):
            found = _all(stage.generate_one, given, handle)
            flat = [x for result in found for x in ([result] if isinstance(result, dict | Drop | Failed) else result)]
        else:
            flat = list(stage.generate(given, handle))
        return contract.generated(self.table, self.schema, given, flat)

    def given(self, rows: Sequence[Row]) -> list[Row]:
        """The rows as the stage sees them: what it reads, out of Arrow."""
        names = [field.name for field in self.table.stage.reads]
        names += [f.name for f in self.table.stage.reads_if_there if f.name in rows[0]]
        names += [f.name for f in self.table.stage.writes if self.table.is_filter and f.name in rows[0]]
        return self.frame(rows).rows([name for name in names if name not in IDENTITY])

    def frame(self, rows: Sequence[Row]) -> Frame:
        fields = {
            field.name: field
            for field in (*self.table.stage.reads, *self.table.stage.reads_if_there, *self.table.stage.writes)
        }
        for name in rows[0]:
            if name in COLUMNS:
                fields.setdefault(name, COLUMNS[name])
        if lacking := [f.name for f in self.table.stage.reads if f.name not in rows[0] and f.name not in IDENTITY]:
            raise AssertionError(f"the rows lack {lacking[0]!r}, which {self.table.id} reads")
        kept = {name: field for name, field in fields.items() if name in rows[0] and name not in IDENTITY}
        for name, value in rows[0].items():
            if name not in kept and name not in IDENTITY:
                kept[name] = pa.field(name, pa.array([value]).type)
        arrays = [pa.array([row.get(name) for row in rows], field.type) for name, field in kept.items()]
        ids, parents = (
            pa.array([row.get(name, row["id"]) for row in rows], pa.string()) for name in ("id", "parent_id")
        )
        none = pa.nulls(len(rows), pa.string())
        names = [*kept, "id", "reason", "detail"]
        table = pa.Table.from_arrays([*arrays, ids, none, none], names=names)
        table = table.cast(pa.schema([*kept.values(), *(pa.field(n, pa.string()) for n in ("id", "reason", "detail"))]))
        frame = Frame(table.schema, table.select)
        frame.add(pa.field("parent_id", pa.string()), parents)
        return frame


def _all(one: Any, rows: Sequence[Row], handle: Handle) -> list[Any]:
    async def gather() -> list[Any]:
        return await asyncio.gather(*(one(row, handle) for row in rows))

    return asyncio.run(gather())


def _check_decision(bench: _Bench, rows: Sequence[Row], scored: pa.Table) -> None:
    stage: Filter = bench.table.stage
    first, again = (_decided(bench, bench.table, rows, scored) for _ in range(2))
    assert first == again, "the decision isn't a pure function: it differs when taken again"
    if decision_form(stage) == "row" and hasattr(stage, "decide_columns"):
        by_row = _decided(bench, StageTable(bench.table.id, bench.table.use, _RowByRow(stage), {}), rows, scored)
        assert by_row == first, f"decide and decide_columns disagree: {_first_difference(by_row, first)}"
    if decision_form(stage) == "group":
        mixed = _decided(bench, bench.table, rows[::-1], scored)
        assert mixed == first, f"the decision depends on the order of siblings: {_first_difference(mixed, first)}"


class _RowByRow(Filter):
    """The same filter without its decision by columns."""

    def __init__(self, stage: Filter) -> None:
        self.name, self.reads, self.writes = type(stage).name, stage.reads, stage.writes
        self.reads_if_there = stage.reads_if_there
        self.reasons, self.decides_on, self.decide = stage.reasons, stage.decides_on, stage.decide


def _decided(bench: _Bench, table: StageTable, rows: Sequence[Row], scored: pa.Table) -> dict[str, tuple[str, ...]]:
    frame, verdicts = bench.frame(rows), Verdicts.of(np.ones(len(rows), bool))
    settle(bench.table, 1, frame, verdicts, scored if scores(bench.table.stage) else None, decides=False)
    decide(table, 1, frame, verdicts)
    ids = frame.ids.to_pylist()
    return {row_id: tuple(r for r, mask in verdicts.reasons.items() if mask[i]) for i, row_id in sorted(enumerate(ids))}


def _first_difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    row_id = next(key for key in a if a[key] != b.get(key))
    return f"{row_id}: {a[row_id]} and {b.get(row_id)}"


def _same(expected: pa.Table, found: pa.Table, tolerance: float, pixels: int, how: str) -> None:
    a, b = ({row["id"]: row for row in table.to_pylist()} for table in (expected, found))
    assert a.keys() == b.keys(), f"{how}: other rows come out: {min(a.keys() ^ b.keys())!r}"
    for field in expected.schema:
        for row_id, row in a.items():
            x, y = row[field.name], b[row_id][field.name]
            if x == y:
                continue
            if isinstance(x, float) and isinstance(y, float):
                near = abs(x - y) <= tolerance * max(1.0, abs(x)) or (x != x and y != y)
            elif is_image(field) and x and y and pixels:
                near = _largest_difference(x, y) <= pixels
            else:
                near = False
            assert near, f"{how}: {field.name} of {row_id!r} is {_short(y)}; it was {_short(x)}"


def _largest_difference(a: bytes, b: bytes) -> float:
    from PIL import Image

    first, second = (np.asarray(Image.open(io.BytesIO(x)).convert("RGB"), np.int16) for x in (a, b))
    return np.inf if first.shape != second.shape else int(np.abs(first - second).max())


def _short(value: Any) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else repr(value)[:100]
