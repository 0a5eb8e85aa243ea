"""The rows that a student learns from, wherever they come from: one table on disk that any row can be read from.

    a build (`source.build`)     its published rows, data/SPLIT-*.parquet, with their splits; `also` names more builds
    any other source             rows as `limbeck.sources` gives them; a storybook scene without a picture is drawn

Rows are copied once into an Arrow file that is memory-mapped: reading row 7 of a million takes no memory, and worker
processes share it. Each row keeps a digest of what the student reads of it, by which a teacher's cache knows that a
row has changed though its id hasn't.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from distill.lineage import Lineage
from distill.processes import one_at_a_time
from distill.row_readers import Built, Several, Sourced, reader_of
from limbeck.errors import RequestError, SourceError, did_you_mean
from limbeck.records import COLUMNS
from limbeck.store import disk_errors, write_file

if TYPE_CHECKING:
    from distill.progress import Watcher
    from distill.recipe import DistillRecipe

_BATCH_ROWS = 500
_OWN = (pa.field("id", pa.string()), pa.field("split", pa.string()), pa.field("_digest", pa.binary(8)))


class Dataset:
    """Rows by position.

    Attributes:
        ids: of all rows, in order.
        digests: (N,) bytes, of what the student reads of each row.
        splits: split to the positions of its rows.
        lineage: where the rows come from.
        place: folder beside whose rows a teacher's cache lies.
        columns: that were found.
    """

    def __init__(self, path: Path, lineage: Lineage, place: Path) -> None:
        """Maps an Arrow file that `open_dataset` wrote."""
        self.path, self.lineage, self.place = path, lineage, place
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.ids: list[str] = self._table["id"].to_pylist()
        self.digests: list[bytes] = self._table["_digest"].to_pylist()
        names = self._table["split"].to_pylist()
        self.splits: dict[str, NDArray[np.int64]] = {
            split: np.flatnonzero(np.array(names) == split) for split in dict.fromkeys(names)
        }
        self.columns = tuple(n for n in self._table.schema.names if n not in ("_digest",))
        self._read = {name: self._table[name] for name in self.columns}
        self._at = {row_id: i for i, row_id in enumerate(self.ids)}

    @cached_property
    def groups(self) -> list[str]:
        """Of all rows, see `group_of`."""
        own = self.values("group") if "group" in self.columns else itertools.repeat(None)
        return [group_of({"id": row_id, "group": group}) for row_id, group in zip(self.ids, own, strict=False)]

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, position: int) -> dict[str, Any]:
        """A row as a dict, pictures as encoded bytes."""
        return next(self.walk([position]))

    def rows(self, positions: Sequence[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Rows by their positions."""
        return list(self.walk(positions))

    def walk(
        self, positions: Sequence[int] | NDArray[np.int64], columns: Sequence[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Rows by their positions, one after the other; of some columns, where the dataset has them, or of all."""
        wanted = self._read if columns is None else {c: self._read[c] for c in columns if c in self._read}
        for position in positions:
            yield {name: column[int(position)].as_py() for name, column in wanted.items()}

    def values(self, column: str) -> Iterator[Any]:
        """Every row's value of one column, in order."""
        for chunk in self._table[column].chunks:
            yield from chunk.to_pylist()

    def at(self, row_id: str) -> int:
        """Position of a row."""
        return self._at[row_id]

    @property
    def digest(self) -> str:
        """Changes with any row."""
        found = hashlib.blake2b(digest_size=16)
        for row_id, digest in zip(self.ids, self.digests, strict=True):
            found.update(row_id.encode() + b"\x1f" + digest)
        return found.hexdigest()


def group_of(row: Mapping[str, Any]) -> str:
    """What a row is never parted from, in splits and in resampling: its group, else the source row it was made from.

    Builds that were read together tell their rows apart by a name and `@`; what they made of one scene stays together.

    >>> group_of({"id": "9f3c/0/1", "group": None}), group_of({"id": "9f3c/0/1", "group": "a session"})
    ('9f3c', 'a session')
    >>> group_of({"id": "descriptions@9f3c/0"})
    '9f3c'
    """
    return str(row.get("group") or row["id"].rpartition("@")[2].partition("/")[0])


def contents(dataset: Dataset, positions: Sequence[int] | NDArray[np.int64]) -> list[tuple[str, str]]:
    """Ids and digests of rows, as JSON: what has to be in the key of anything that is kept of them."""
    return [(dataset.ids[p], dataset.digests[p].hex()) for p in positions]


def open_dataset(recipe: DistillRecipe, out: Path, watcher: Watcher | None = None) -> Dataset:
    """Opens the rows of a recipe, copying or drawing them first where that isn't done yet.

    Args:
        recipe: whose rows.
        out: folder of the distillation; the Arrow file lies in `out/rows`.
        watcher: is told how far it is.

    Raises:
        RequestError: the dataset hasn't the columns that the student reads.
        SourceError: the source can't be read.
        BuildNotFound: the build isn't there or isn't finished.
    """
    reader = reader_of(recipe)
    wanted = recipe.student.reads
    for part, want in ((part, want) for part in getattr(reader, "parts", (reader,)) for want in wanted):
        if want.name not in part.have:
            raise RequestError(
                f"{part.named} has no column {want.name!r}, which the student {recipe.student.name!r} reads"
                + (f"; its rows are {part.lineage.record}" if part.lineage.record else ""),
                expected=f"rows with {', '.join(f.name for f in wanted)}",
                where=f"source.{recipe.source.kind}",
                remedy=did_you_mean(want.name, part.have),
            )
    fields = [*wanted, *(f for f in recipe.student.reads_if_there if f.name in reader.have)]
    fields += [COLUMNS["group"]] if "group" in reader.have and all(f.name != "group" for f in fields) else []
    facts = [reader.key, *(f"{f.name}:{f.type}" for f in fields)]
    path = out / "rows" / f"{hashlib.blake2b(orjson.dumps(facts), digest_size=8).hexdigest()}.arrow"
    with one_at_a_time(path.parent, "rows"), disk_errors(out):
        if not path.is_file():
            _write(path, reader, fields, watcher)
    return Dataset(path, reader.lineage, reader.place or out)


def _write(path: Path, reader: Built | Several | Sourced, fields: list[pa.Field], watcher: Watcher | None) -> None:
    """Copies rows into an Arrow file, aside and then renamed."""
    names = [f.name for f in fields if f.name not in ("id", "split")]
    schema = pa.schema([*_OWN, *(pa.field(n, next(f.type for f in fields if f.name == n)) for n in names)])
    aside, waiting, done = path.with_suffix(".tmp"), [], 0
    known: set[str] = set()
    lost = Counter[str]()
    if watcher:
        watcher.started("rows", reader.count, "rows")
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:

        def flush() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema=schema))
            waiting.clear()

        for row in reader.rows(names):
            if row["id"] in known:
                lost["an id that another row has"] += 1
                continue
            known.add(row["id"])
            kept = {name: row.get(name) for name in names}
            waiting.append({"id": row["id"], "split": row["split"], "_digest": _row_digest(kept), **kept})
            done += 1
            if len(waiting) == _BATCH_ROWS:
                flush()
                if watcher:
                    watcher.advanced("rows", done)
        if waiting:
            flush()
    lost += getattr(reader, "lost", Counter())
    told = ", ".join(f"{reason} {n}" for reason, n in lost.most_common())
    if not done:
        raise SourceError(
            f"there are no rows that can be used ({told})" if lost else "there are no rows", where=reader.lineage.name
        )
    if watcher:
        watcher.advanced("rows", done)
        watcher.finished("rows")
        if lost:
            watcher.note(f"{lost.total():,} rows of {reader.lineage.name} can't be used: {told}")
    aside.replace(path)


def _row_digest(row: dict[str, Any]) -> bytes:
    """Eight bytes that change with anything in a row.

    >>> _row_digest({"a": b"x"}) == _row_digest({"a": b"y"})
    False
    """
    plain = orjson.dumps(
        row, option=orjson.OPT_SORT_KEYS, default=lambda v: hashlib.blake2b(v, digest_size=16).hexdigest()
    )
    return hashlib.blake2b(plain, digest_size=8).digest()


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, aside and then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    write_file(path, orjson.dumps(value, option=options) + b"\n")
