"""Makes one row again and says what differs: the proof that a row comes from its recipe, seed and models.

The row's source row goes through the same stages alone, in a folder of its own. Answers of paid calls come from the
build's journal. A row's seeds are its own, so the company it was made in matters only as far as arithmetic in
batches does: pictures agree within 1/255 on the same kind of device.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from limbeck import models, store
from limbeck.built import Build
from limbeck.errors import BuildNotFound
from limbeck.outcome import evaluate
from limbeck.plan import Plan, stage_folder, stage_key
from limbeck.records import is_image
from limbeck.runner import Runner


@dataclass(frozen=True)
class Difference:
    """One column, then and now.

    Attributes:
        stage: that wrote it.
        largest: greatest difference of numbers, or of pixels in [0, 255]; None where it can't be measured.
        same: whether the values are equal, byte for byte.
    """

    stage: str
    column: str
    then: Any
    now: Any
    same: bool
    largest: float | None = None

    def __str__(self) -> str:
        name = f"{self.stage}.{self.column}"
        if self.same:
            return f"{name}: the same"
        if self.largest is not None:
            return f"{name}: differs by at most {self.largest:.3g}" + (
                " of 255" if isinstance(self.then, bytes) else ""
            )
        return f"{name}: was {self.then!r}, is {self.now!r}"


def make_again(built: Build, row_id: str) -> list[Difference]:
    """Makes a row again.

    Args:
        built: the build it is from.
        row_id: its id.

    Returns:
        A difference for each column that a stage wrote for the row or one of its ancestors.

    Raises:
        BuildNotFound: no such row, or it isn't made again: a stage has other settings or models now.
    """
    ancestors = ["/".join(row_id.split("/")[: n + 1]) for n in range(row_id.count("/") + 1)]
    part = _part_of(built, ancestors[0])
    with TemporaryDirectory(prefix="limbeck-again-") as folder:
        plan = _plan(built, part, ancestors[0], Path(folder))
        survivors = {
            barrier: evaluate(built.recipe.stages[: barrier - 1], built.folder, built.parts, built.inactive).survivors()
            for barrier in plan.barriers()
        }
        runner = Runner(plan)
        try:
            asyncio.run(runner.run([0], survivors, len(built.recipe.stages) + 1))
        finally:
            runner.journal.close()
        return list(_compare(built, plan, part, ancestors))


def _plan(built: Build, part: int, source_id: str, out: Path) -> Plan:
    """A plan for the one source row; it enters no ledger."""
    recipe = built.recipe
    row = store.read_part(built.folder(0), part)
    row = row.filter(pc.equal(row["id"], source_id))
    store.write_part(stage_folder(out, 0, "source"), 0, row, {"counts": {"in": 1, "made": 1, "dropped": 0}})
    if (built.path / "journal").is_dir():
        shutil.copytree(built.path / "journal", out / "journal")
    prints = {name: models.fingerprint(recipe.models[name], recipe.folder) for name in built.lock["models"]}
    keys = tuple(stage_key(table, prints, recipe.dataset.seed) for table in recipe.stages)
    return Plan(recipe, out, prints, keys, (0,), frozenset(), 1)


def _part_of(built: Build, source_id: str) -> int:
    for part in built.parts:
        if source_id in store.read_manifest(built.folder(0), part)["ids"]:
            return part
    raise BuildNotFound(f"no source row {source_id!r}", where=str(built.path))


def _compare(built: Build, plan: Plan, part: int, ancestors: list[str]) -> Iterator[Difference]:
    for i, table in enumerate(built.recipe.stages, 1):
        if store.read_manifest(built.folder(i), part) is None:
            continue
        then, now = (
            _rows(folder, number, ancestors) for folder, number in ((built.folder(i), part), (plan.folder(i), 0))
        )
        for row_id, row in then.items():
            other = now.get(row_id)
            if other is None:
                yield Difference(table.id, "id", row_id, None, same=False)
                continue
            for field in plan.schema(i):
                if field.name not in ("id", "parent_id") and row.get(field.name) is not None:
                    yield _difference(table.id, field, row[field.name], other.get(field.name))


def _rows(folder: Path, part: int, ids: list[str]) -> dict[str, dict[str, Any]]:
    table = store.read_part(folder, part)
    return {row["id"]: row for row in table.filter(pc.is_in(table["id"], value_set=pa.array(ids))).to_pylist()}


def _difference(stage: str, field: pa.Field, then: Any, now: Any) -> Difference:
    if then == now:
        return Difference(stage, field.name, then, now, same=True)
    largest = None
    if is_image(field) and now:
        before, after = (np.asarray(Image.open(BytesIO(value)).convert("RGB"), np.int16) for value in (then, now))
        largest = float(np.abs(before - after).max()) if before.shape == after.shape else None
    elif isinstance(then, float) and isinstance(now, float):
        largest = abs(then - now)
    return Difference(stage, field.name, then, now, same=False, largest=largest)
