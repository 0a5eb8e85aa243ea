"""A teacher's answers on disk, beside the dataset: asked once, read by every training, whatever student or arm.

    DATASET/teacher/NAME/
      teacher.json                fingerprint, columns, facts (scales, sizes): whose answers these are
      targets/part-00003.parquet  a row for each (row id, view): the view's crop and flip, then the answers
      targets/part-00003.json     its manifest; the part is done when this exists (`limbeck.store`)
      states/part-00000.parquet   a row for each distinct text and its state

An answer is known by its row's id and contents and by what was seen of the row. Whoever opens the cache says what is
needed; the teacher is asked for what no part has, in new parts, and isn't loaded where that is nothing. A done part is
never written again: what one seed, student or recipe doesn't need, another may. A row that has changed leaves its old
answers behind, unread; a folder that has grown too large may be deleted. Another teacher's folder is refused, never
mixed and never overwritten.

Differs from keeping one file a sample: parts survive being copied, and a million files are a burden to any disk.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from distill.dataset import Dataset, write_json
from distill.processes import one_at_a_time
from distill.teacher import Teacher, encoded, shape_of
from distill.views import View
from limbeck import store
from limbeck.errors import RequestError

if TYPE_CHECKING:
    from distill.progress import Watcher

_VIEW = (
    pa.field("id", pa.string()),
    pa.field("digest", pa.binary(8)),
    pa.field("view", pa.int16()),
    pa.field("crop", pa.list_(pa.float32(), 4)),
    pa.field("flip", pa.bool_()),
)
_SEEN = struct.Struct("<4f?h")
"""Crop, flip and number of a view."""
_BATCH = 256
IN_MEMORY_BYTES = 2**30
"""Columns larger than this are unpacked beside the parts and memory-mapped."""


class CacheMismatch(RequestError):
    """The folder holds the answers of another teacher.

    Attributes:
        differs: what is different: weights, preprocessing, tokenizer, dtype, columns.
    """

    def __init__(self, folder: Path, name: str, differs: Sequence[str]) -> None:
        self.differs = tuple(differs)
        super().__init__(
            f"these are the answers of another teacher: {' and '.join(differs)} differ",
            expected=f"the answers of {name}",
            where=str(folder),
            remedy="name another folder with --set cache.folder=DIR, or delete this one",
        )


class Cache:
    """Those answers of a teacher that somebody needs, open for reading; no teacher is in memory.

    Attributes:
        folder: where they lie.
        fingerprint: of the teacher.
        facts: what the teacher said of itself.
    """

    def __init__(self, folder: Path, needed: Sequence[tuple[str, int]]) -> None:
        """Opens every part that is done.

        Args:
            folder: where they lie; see `ask`.
            needed: of each view, row by row and in order: the row's id, and which of all stored answers is its.

        Raises:
            BuildNotFound: a part is damaged.
        """
        self.folder = folder
        known = orjson.loads((folder / "teacher.json").read_bytes())
        self.fingerprint: dict[str, str] = known["fingerprint"]
        self.facts: dict[str, Any] = known["facts"]
        self.name: str = known["name"]
        self._columns, keys = _open(folder / "targets")
        self._first: dict[str, int] = {}
        self._count: dict[str, int] = {}
        for i, (row_id, _) in enumerate(needed):
            self._first.setdefault(row_id, i)
            self._count[row_id] = self._count.get(row_id, 0) + 1
        self._at = np.array([at for _, at in needed], np.int64)
        self._crops, self._flips = keys.get("crop"), keys.get("flip")
        states, texts = _open(folder / "states")
        self._states = states.get("state")
        self._texts = {text: i for i, text in enumerate(texts.get("text", ()))}

    def views(self, row_id: str) -> int:
        """How many views of a row there are; 0 where it isn't needed."""
        return self._count.get(row_id, 0)

    def view(self, row_id: str, index: int = 0) -> View:
        """A view as the teacher saw it."""
        at = self._at[self._first[row_id] + index]
        return View(tuple(float(v) for v in self._crops[at]), bool(self._flips[at]), index)

    def target(self, row_id: str, view: int = 0) -> dict[str, NDArray[Any]]:
        """What the teacher says of a row under a view: column to array."""
        at = self._at[self._first[row_id] + view]
        return {name: column[at] for name, column in self._columns.items()}

    def targets(self, column: str, row_ids: Sequence[str], view: int = 0) -> NDArray[Any]:
        """(N, *shape) of one column that isn't ragged."""
        return self._columns[column].values[self._at[[self._first[row_id] + view for row_id in row_ids]]]

    def has(self, texts: Iterable[str]) -> bool:
        """Whether the states of all these texts are there."""
        return all(text in self._texts for text in texts)

    def states(self, texts: Sequence[str]) -> NDArray[Any]:
        """(N, *shape) states of texts.

        Raises:
            KeyError: a text whose state was never asked for.
        """
        return self._states.values[[self._texts[text] for text in texts]]


class _Column:
    """One column over all parts: arrays by position."""

    def __init__(self, field: pa.Field, arrays: list[pa.Array], folder: Path) -> None:
        self.shape = shape_of(field)
        self.ragged = self.shape[:1] == (None,)
        parts, lengths = [], [np.zeros(1, np.int64)]
        for each in arrays:
            if self.ragged:
                lengths.append(np.diff(each.offsets.to_numpy()).astype(np.int64))
                each = each.flatten()
            while pa.types.is_fixed_size_list(each.type):
                each = each.flatten()
            parts.append(each.to_numpy(zero_copy_only=False))
        inner = tuple(self.shape[1:]) if self.ragged else tuple(self.shape)
        if sum(p.nbytes for p in parts) > IN_MEMORY_BYTES:
            flat = _mapped(folder, field.name, parts)
        else:
            flat = np.concatenate(parts) if len(parts) != 1 else parts[0]
        self.values = flat.reshape(-1, *inner)
        self.offsets = np.cumsum(np.concatenate(lengths)) if self.ragged else None

    def __getitem__(self, at: int) -> NDArray[Any]:
        return self.values[self.offsets[at] : self.offsets[at + 1]] if self.ragged else self.values[at]


def _mapped(folder: Path, name: str, parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Arrays end to end, (size,), read-only, mapped from `folder/NAME-HASH.npy`.

    The file is written by the first process that wants these contents, whole or not at all, and reused by all others.

    Raises:
        DiskFull: nothing was written.
    """
    contents = hashlib.blake2b(parts[0].dtype.str.encode(), digest_size=8)
    for p in parts:
        contents.update(p)
    path, aside = folder / f"{name}-{contents.hexdigest()}.npy", folder / f"{name}.tmp"
    with one_at_a_time(folder, name), store.disk_errors(folder):
        if not path.is_file():
            with aside.open("wb") as file:
                header = {"descr": parts[0].dtype.str, "fortran_order": False, "shape": (sum(p.size for p in parts),)}
                np.lib.format.write_array_header_1_0(file, header)
                for p in parts:
                    file.write(p)
                file.flush()
                os.fsync(file.fileno())
            for earlier in (folder / f"{name}.npy", *folder.glob(f"{name}-{'?' * 16}.npy")):
                with suppress(OSError):  # Windows deletes nothing that is mapped
                    earlier.unlink(missing_ok=True)  # whoever has mapped it keeps it
            aside.replace(path)
        return np.load(path, mmap_mode="r")


def _open(folder: Path) -> tuple[dict[str, _Column], dict[str, Any]]:
    """Array columns of all parts of a folder, and what else is read: crops and flips, or texts."""
    tables = [store.read_part(folder, part) for part in store.done_parts(folder)]
    tables = [table for table in tables if table.num_rows]
    if not tables:
        return {}, {}
    columns, keys = {}, {}
    for field in tables[0].schema:
        chunks = [chunk for table in tables for chunk in table[field.name].chunks]
        if field.metadata and b"limbeck.shape" in field.metadata:
            columns[field.name] = _Column(field, chunks, folder / ".unpacked")
        elif field.name == "crop":
            keys["crop"] = np.concatenate([c.flatten().to_numpy().reshape(-1, 4) for c in chunks])
        elif field.name in ("flip", "text"):
            keys[field.name] = [value for chunk in chunks for value in chunk.to_pylist()]
    return columns, keys


def ask(
    dataset: Dataset,
    teacher: Teacher,
    folder: Path,
    views: Callable[[int], list[View]],
    texts: Iterable[str] = (),
    *,
    positions: Sequence[int] | NDArray[np.int64] | None = None,
    part_rows: int = 1000,
    watcher: Watcher | None = None,
) -> Cache:
    """Asks the teacher for what isn't cached yet, lets go of it, and opens the cache.

    Args:
        dataset: the rows.
        teacher: not loaded; it is loaded here if anything is missing, and unloaded again.
        folder: the cache.
        views: position of a row to the views it is seen under.
        texts: whose states are needed.
        positions: rows that are needed; by default all.
        part_rows: rows in a new part; parts that are there may be of another size.
        watcher: is told how far it is.

    Raises:
        CacheMismatch: the folder holds another teacher's answers.
        BuildNotFound: a part is damaged.
        DiskFull: what is done stays done.
    """
    positions = np.arange(len(dataset)) if positions is None else np.sort(np.asarray(positions))
    with one_at_a_time(folder, "teacher"):
        _check(folder, teacher)
        seen = [(int(p), view) for p in positions for view in views(int(p))]
        keys = [_key(dataset.ids[p], dataset.digests[p], v.crop, v.flip, v.index, teacher.draws) for p, v in seen]
        at = _stored(folder / "targets", teacher.draws)
        missing = {key: each for key, each in zip(keys, seen, strict=True) if key not in at}
        known = {
            text
            for n in store.done_parts(folder / "states")
            for text in store.read_part(folder / "states", n, ["text"])["text"].to_pylist()
        }
        unread = [text for text in dict.fromkeys(texts) if text not in known]
        if missing or unread or not (folder / "teacher.json").is_file():
            teacher.load()
            try:
                _write_identity(folder, teacher)
                with store.disk_errors(folder):
                    _ask_rows(dataset, teacher, folder, [*missing.values()], part_rows, len(seen), watcher)
                    _ask_texts(teacher, folder, unread, watcher)
            finally:
                teacher.unload()
            at = _stored(folder / "targets", teacher.draws)
        elif watcher:
            watcher.started("teacher", len(positions), "rows")
            watcher.finished("teacher", reused=True)
        return Cache(folder, [(dataset.ids[p], at[key]) for (p, _), key in zip(seen, keys, strict=True)])


def _check(folder: Path, teacher: Teacher) -> None:
    path = folder / "teacher.json"
    if not path.is_file():
        return
    found = orjson.loads(path.read_bytes())
    differs = [k for k, v in teacher.fingerprint.items() if found["fingerprint"].get(k) != v]
    if found["columns"] != [f"{f.name}:{f.type}" for f in teacher.columns]:
        differs.append("columns")
    if differs:
        raise CacheMismatch(folder, teacher.name, differs)


def _write_identity(folder: Path, teacher: Teacher) -> None:
    write_json(
        folder / "teacher.json",
        {
            "name": teacher.name,
            "fingerprint": dict(teacher.fingerprint),
            "columns": [f"{f.name}:{f.type}" for f in teacher.columns],
            "facts": teacher.facts(),
        },
    )


_Seen = tuple[int, View]
"""A row by its position, and a view of it."""


def _key(row_id: str, digest: bytes, crop: Sequence[float], flip: bool, index: int, draws: bool) -> bytes:
    """What an answer depends on: a row's contents and what is seen of it; where answers are draws, which of them.

    >>> whole = _key("a", b"12345678", (0, 0, 1, 1), False, 0, False)
    >>> whole == _key("a", b"12345678", [0.0, 0.0, 1.0, 1.0], False, 3, False)
    True
    >>> whole == _key("a", b"12345678", (0, 0, 1, 1), True, 0, False)
    False
    """
    return row_id.encode() + digest + _SEEN.pack(*crop, flip, index if draws else 0)


def _stored(folder: Path, draws: bool) -> dict[bytes, int]:
    """Key of each answer to its number among all of those in parts that are done."""
    found: dict[bytes, int] = {}
    first = 0
    for n in store.done_parts(folder):
        table = store.read_part(folder, n, [f.name for f in _VIEW])
        rows = zip(*(table[name].to_pylist() for name in ("id", "digest", "crop", "flip", "view")), strict=True)
        found |= {_key(*row, draws): at for at, row in enumerate(rows, first)}
        first += table.num_rows
    return found


def _ask_rows(
    dataset: Dataset,
    teacher: Teacher,
    folder: Path,
    missing: Sequence[_Seen],
    part_rows: int,
    needed: int,
    watcher: Watcher | None,
) -> None:
    """Asks for what is missing, by position, and writes new parts, each of `part_rows` rows under their views."""
    done = needed - len(missing)
    if watcher:
        watcher.started("teacher", needed, "views")
        watcher.advanced("teacher", done)
    schema = pa.schema([*_VIEW, *teacher.columns])
    parts: dict[int, list[_Seen]] = {}
    part_of = {p: n // part_rows for n, p in enumerate(dict.fromkeys(p for p, _ in missing))}
    for p, view in missing:
        parts.setdefault(part_of[p], []).append((p, view))
    taken = {*store.done_parts(folder / "targets")}
    free = (n for n in count() if n not in taken)
    for seen in parts.values():
        tables = []
        for start in range(0, len(seen), _BATCH):
            batch = seen[start : start + _BATCH]
            rows = {p: dataset.row(p) for p, _ in batch}
            said = teacher.targets([rows[p] for p, _ in batch], [view for _, view in batch])
            tables.append(_table(dataset, teacher, batch, said, schema))
            done += len(batch)
            if watcher:
                watcher.advanced("teacher", done)
        store.write_part(folder / "targets", next(free), pa.concat_tables(tables).combine_chunks(), {})
    if watcher:
        watcher.finished("teacher")


def _table(
    dataset: Dataset, teacher: Teacher, seen: Sequence[_Seen], said: Mapping[str, Any], schema: pa.Schema
) -> pa.Table:
    crops = np.array([view.crop for _, view in seen], np.float32).ravel()
    columns = [
        pa.array([dataset.ids[p] for p, _ in seen]),
        pa.array([dataset.digests[p] for p, _ in seen], pa.binary(8)),
        pa.array([view.index for _, view in seen], pa.int16()),
        pa.FixedSizeListArray.from_arrays(pa.array(crops), 4),
        pa.array([view.flip for _, view in seen]),
        *(encoded(f, said[f.name]) for f in teacher.columns),
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _ask_texts(teacher: Teacher, folder: Path, texts: list[str], watcher: Watcher | None) -> None:
    if not texts:
        return
    if watcher:
        watcher.started("texts", len(texts), "texts")
    first = max(store.done_parts(folder / "states"), default=-1) + 1
    for n, start in enumerate(range(0, len(texts), 4 * _BATCH)):
        batch = texts[start : start + 4 * _BATCH]
        state = pa.field("state", teacher.state.type, metadata=teacher.state.metadata)
        table = pa.Table.from_arrays(
            [pa.array(batch), encoded(state, teacher.states(batch))],
            schema=pa.schema([pa.field("text", pa.string()), state]),
        )
        store.write_part(folder / "states", first + n, table, {})
        if watcher:
            watcher.advanced("texts", start + len(batch))
    if watcher:
        watcher.finished("texts")
