"""Writes what a build is for: `data/`, the verdicts, the lock; byte for byte the same however the parts were made.

data/train-00000-of-00002.parquet     kept rows in the order of the source, pictures as the `Image` feature
stages/verdicts.parquet               every row that was kept, dropped or failed, with stage and reasons
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from limbeck import seeds, store
from limbeck.decisions import Verdicts, settle
from limbeck.frames import Frame, taken
from limbeck.outcome import Outcome
from limbeck.recipe import DatasetTable, Recipe
from limbeck.records import ARRAY, COLUMNS, PICTURE, holds_pictures, published
from limbeck.schema import StageTable
from limbeck.stage import scores

_SHARD_BYTES = 400 * 2**20
_SAMPLED_REJECTS = 0.05
Folder = Callable[[int], Path]


def part_frame(stages: Sequence[StageTable], folder: Folder, part: int) -> Frame:
    """The rows of a part at the end of the line, with all scores; columns are read when asked for."""
    frame: Frame | None = None
    for index in range(len(stages) + 1):
        if index and stages[index - 1].is_filter:
            if scores(stages[index - 1].stage):
                verdicts = Verdicts.of(np.ones(len(frame), bool))
                settle(stages[index - 1], index, frame, verdicts, store.read_part(folder(index), part), decides=False)
            continue
        place = folder(index)
        schema = pq.read_schema(place / f"{store.part_name(part)}.parquet")
        frame = Frame(schema, lambda names, place=place: store.read_part(place, part, names), frame)
    return frame


def published_fields(recipe: Recipe, frame: Frame) -> list[pa.Field]:
    """Columns of `data/`: the record's, the ids and group, the canonical ones it has, and every stage's own."""
    have = {field.name: field for field in frame.fields()} | {n: COLUMNS[n] for n in ("id", "source_id")}
    names = [*recipe.record.required, "id", "source_id", "group", *recipe.record.optional]
    own = [name for name in have if name not in COLUMNS]
    return [have[name] for name in dict.fromkeys((*names, *own)) if name in have]


def write_data(recipe: Recipe, folder: Folder, parts: Sequence[int], outcome: Outcome, out: Path) -> dict[str, int]:
    """Writes the kept rows; returns rows by split.

    Raises:
        DiskFull: the old `data/` stays as it was.
    """
    aside, data = out / ".data.partial", out / "data"
    shutil.rmtree(aside, ignore_errors=True)
    writers: dict[str, _Shards] = {}
    try:
        with store.disk_errors(out):
            aside.mkdir(parents=True)
            for split, table in _kept(recipe, folder, parts, outcome):
                if split not in writers:
                    writers[split] = _Shards(aside, split, table.schema)
                writers[split].add(table)
            for writer in writers.values():
                writer.finish()
            store.sync_folder(aside)
            old = out / ".data.old"
            shutil.rmtree(old, ignore_errors=True)
            if data.exists():
                data.rename(old)
            aside.rename(data)
            store.sync_folder(out)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        for writer in writers.values():
            writer.close()
        shutil.rmtree(aside, ignore_errors=True)
    return {split: writer.rows for split, writer in writers.items()}


def _kept(recipe: Recipe, folder: Folder, parts: Sequence[int], outcome: Outcome) -> Iterator[tuple[str, pa.Table]]:
    """Kept rows of each part, by split; the first part comes even when it has none, so that there is a schema."""
    alive, start = outcome.last.verdicts.alive, 0
    for part in parts:
        frame = part_frame(recipe.stages, folder, part)
        where = np.flatnonzero(alive[start : start + len(frame)])
        start += len(frame)
        if not len(where) and part != parts[0]:
            continue
        fields = published_fields(recipe, frame)
        schema = published(fields)
        place = pa.array(where)
        frame.prefetch([*(f.name for f in fields), "group", "split"])
        arrays = [_published(taken(frame.column(f.name), place), s.type) for f, s in zip(fields, schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=schema)
        names = split_names(recipe.dataset, frame, where)
        first = next(iter(recipe.dataset.splits))
        for split in dict.fromkeys(names) if len(names) else [first]:
            yield split, table.filter(pa.array([name == split for name in names], pa.bool_()))


def split_names(dataset: DatasetTable, frame: Frame, where: np.ndarray) -> list[str]:
    """The split of each row: the source's own where it says, else by a hash of the source's group."""
    place = pa.array(where)
    group = "group" if frame.field("group") is not None else "source_id"
    groups = pc.coalesce(frame.column(group).take(place), frame.column("source_id").take(place)).to_pylist()
    own = frame.column("split").take(place).to_pylist() if frame.field("split") is not None else [None] * len(groups)
    by_group = {name: split_of(name, dataset.splits, dataset.seed) for name in set(groups)}
    return [given or by_group[name] for name, given in zip(groups, own, strict=True)]


def split_of(group: str, splits: dict[str, float], seed: int) -> str:
    """The split of a source group; it depends on nothing but the group, the shares and the seed.

    >>> split_of("9f3c", {"train": 1.0}, 7)
    'train'
    """
    at, upto = seeds.unit("split", str(seed), group), 0.0
    for name, share in splits.items():
        upto += share
        if at < upto:
            return name
    return name


def _published(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    column = column.combine_chunks()
    if kind == pa.list_(PICTURE):
        pictures = _published(pa.chunked_array([column.flatten()], pa.binary()), PICTURE)
        counts = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        return pa.ListArray.from_arrays(offsets, pictures, type=kind, mask=pc.is_null(column))
    if kind != PICTURE:
        return column.cast(kind)
    paths = pa.nulls(len(column), pa.string())
    return pa.StructArray.from_arrays([column, paths], fields=list(kind), mask=pc.is_null(column))


class _Shards:
    """Writes one split's rows into files of bounded size, with row groups that a viewer can fetch."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema) -> None:
        self._folder, self._split, self._schema = folder, split, schema
        self._group = store.ROW_GROUP_ROWS if any(holds_pictures(f) or f.type == ARRAY for f in schema) else 1000
        self._pending: list[pa.Table] = []
        self._shards: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._bytes = 0
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        self.rows += table.num_rows
        self._pending.append(table)
        rows = sum(t.num_rows for t in self._pending)
        if rows >= self._group:
            whole = pa.concat_tables(self._pending)
            for start in range(0, rows - rows % self._group, self._group):
                self._write(whole.slice(start, self._group))
            self._pending = [whole.slice(rows - rows % self._group)]

    def _write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._open()
        self._writer.write_table(table.combine_chunks(), row_group_size=self._group)
        self._bytes += table.nbytes
        if self._bytes >= _SHARD_BYTES:
            self.close()

    def _open(self) -> None:
        self._shards.append(self._folder / f"{self._split}-{len(self._shards):05d}.parquet")
        self._writer = pq.ParquetWriter(self._shards[-1], self._schema, **store.writer_options(self._schema))
        self._bytes = 0

    def finish(self) -> None:
        rest = pa.concat_tables(self._pending)
        if rest.num_rows:
            self._write(rest)
        elif not self._shards:
            self._open()  # a file without rows has no row group either: readers take its size for a batch's
        self.close()
        for i, shard in enumerate(self._shards):
            shard.rename(self._folder / f"{self._split}-{i:05d}-of-{len(self._shards):05d}.parquet")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def write_verdicts(outcome: Outcome, out: Path) -> str:
    """Writes `stages/verdicts.parquet`; returns its hash."""
    data = store.parquet_bytes(outcome.verdicts())
    with store.disk_errors(out):
        store.write_file(out / "stages" / "verdicts.parquet", data)
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def lacking_pictures(folder: Folder, parts: Sequence[int], outcome: Outcome) -> dict[tuple[int, int], np.ndarray]:
    """Kept rows whose pictures, or a parent's, were let go when they were rejected.

    Returns:
        By stage and part that made the pictures: positions in the last level's rows.
    """
    found: dict[tuple[int, int], np.ndarray] = {}
    kept = rows = np.flatnonzero(outcome.last.verdicts.alive)
    hidden: set[str] = set()  # columns that a later generator wrote
    for level in reversed(outcome.levels):
        if any(holds_pictures(f) and f.name not in hidden for f in level.frame.schema):
            start = 0
            for part in parts:
                manifest = store.read_manifest(folder(level.stage), part) or {}
                count = manifest["rows"] - sum(manifest["counts"].get(k, 0) for k in ("dropped", "failed"))
                if manifest.get("let_go"):
                    let_go = pa.array(manifest["let_go"], pa.string())
                    gone = pc.is_in(level.frame.ids.slice(start, count), value_set=let_go)
                    lost = np.isin(rows, start + np.flatnonzero(gone.to_numpy(zero_copy_only=False)))
                    if lost.any():
                        found[level.stage, part] = kept[lost]
                start += count
        hidden |= set(level.frame.schema.names)
        if level.frame.parent is not None:
            rows = level.frame.parents[rows]
    return found


def let_go(recipe: Recipe, folder: Folder, parts: Sequence[int], outcome: Outcome) -> int:
    """Empties the pictures of rejected rows as `dataset.keep_rejected` says; returns how many rows lost theirs."""
    if recipe.dataset.keep_rejected == "all" or outcome.last.stage == 0:
        return 0
    index, alive, start, lost = outcome.last.stage, outcome.last.verdicts.alive, 0, 0
    for part in parts:
        table = store.read_part(folder(index), part)
        made = np.flatnonzero(pc.is_null(table["reason"]).to_numpy(zero_copy_only=False))
        rejected = made[~alive[start : start + len(made)]]
        start += len(made)
        ids = table["id"].take(pa.array(rejected)).to_pylist()
        if recipe.dataset.keep_rejected == "sample":
            ids = [row_id for row_id in ids if seeds.unit("reject", row_id) >= _SAMPLED_REJECTS]
        pictures = [field for field in table.schema if holds_pictures(field)]
        known = set((store.read_manifest(folder(index), part) or {}).get("let_go", ()))
        mask = pc.is_in(table["id"], value_set=pa.array(ids, pa.string()))
        # A killed run may have said that they are gone and not come to it: what is there is looked at too.
        if not any(pc.any(pc.and_(mask, pc.is_valid(table[field.name]))).as_py() for field in pictures):
            continue
        for field in pictures:
            emptied = pc.if_else(mask, pa.scalar(None, field.type), table[field.name])
            table = table.set_column(table.schema.get_field_index(field.name), field, emptied)
        store.replace_rows(folder(index), part, table, let_go=sorted({*ids, *known}))
        lost += len(set(ids) - known)
    return lost


def count_reasons(outcome: Outcome) -> Counter[str]:
    """Dropped and failed rows by `stage: reason`."""
    return Counter({f"{c.stage}: {reason}": n for c in outcome.funnel() for reason, n in c.reasons.items()})
