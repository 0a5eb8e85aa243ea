"""Rows of one generator as columns: its own, its parent's, and the scores added since; read when asked for.

    source frame <- generator frame (parent positions) <- next generator frame ...

A frame covers one part while it is computed, and all parts when the whole build is decided: one code for both.
Rows always come out of Arrow columns, freshly made or read back alike, so a resumed run sees what an undisturbed
one saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.records import IDENTITY
from limbeck.stage import Row

Read = Callable[[Sequence[str]], pa.Table]


class Frame:
    """Rows that one generator (or the source) made.

    Attributes:
        schema: columns of its own file.
        parent: rows that these were made of; None for the source.
    """

    def __init__(self, schema: pa.Schema, read: Read, parent: Frame | None = None) -> None:
        """Reads nothing yet.

        Args:
            schema: columns of the file.
            read: reads some of its columns.
            parent: the frame of the rows it was made of.
        """
        self.schema, self.parent = schema, parent
        self._read = read
        self._columns: dict[str, pa.ChunkedArray] = {}
        self._added: dict[str, tuple[pa.Field, pa.ChunkedArray]] = {}

    def __len__(self) -> int:
        """Number of rows that were made."""
        return len(self._made)

    @cached_property
    def _outcomes(self) -> pa.Table:
        names = ["id", "reason"] + (["parent_id"] if self.parent is not None else [])
        return self._read(names)

    @cached_property
    def _made(self) -> np.ndarray:
        """Positions in the file of rows that were made; the others are drops and failures."""
        return np.flatnonzero(pc.is_null(self._outcomes["reason"]).to_numpy(zero_copy_only=False))

    def in_file(self, positions: np.ndarray) -> np.ndarray:
        """Where rows of the frame stand in its file, which holds drops and failures too."""
        return self._made[positions]

    @cached_property
    def ids(self) -> pa.Array:
        """Ids of the rows that were made."""
        return _plain(self._outcomes["id"].take(pa.array(self._made)))

    @cached_property
    def parents(self) -> np.ndarray:
        """Position of each row's parent in the parent's frame; -1 where it isn't there any more."""
        wanted = self._outcomes["parent_id"].take(pa.array(self._made))
        found = pc.index_in(wanted, value_set=self.parent.ids)
        return pc.fill_null(found, -1).to_numpy().astype(np.int64)

    def outcomes(self) -> pa.Table:
        """What became nothing: id, parent_id (of a generator), reason, detail."""
        names = ["id", "reason", "detail"] + (["parent_id"] if self.parent is not None else [])
        table = self._read(names)
        return table.filter(pc.is_valid(table["reason"]))

    def add(self, field: pa.Field, values: pa.Array | pa.ChunkedArray) -> None:
        """Adds a score column, one value for each row."""
        self._added[field.name] = (field, values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values]))

    def field(self, name: str) -> pa.Field | None:
        """The field of a column, wherever in the line it comes from; None where there is none."""
        if name in self._added:
            return self._added[name][0]
        if name in self.schema.names and name not in ("reason", "detail"):
            return self.schema.field(name)
        return None if self.parent is None else self.parent.field(name)

    def fields(self) -> list[pa.Field]:
        """All columns, inherited ones first."""
        inherited = {} if self.parent is None else {f.name: f for f in self.parent.fields()}
        own = {f.name: f for f in self.schema if f.name not in ("reason", "detail")}
        return list({**inherited, **own, **{name: field for name, (field, _) in self._added.items()}}.values())

    def column(self, name: str) -> pa.ChunkedArray:
        """One column, a value for each row.

        Raises:
            KeyError: there is no such column.
        """
        if name in self._added:
            return self._added[name][1]
        if name == "id":
            return pa.chunked_array([self.ids])
        if name == "source_id":
            return pa.chunked_array([self.ids]) if self.parent is None else self._inherited(name)
        if name == "parent_id":
            own = self.ids if self.parent is None else self._outcomes[name].take(pa.array(self._made))
            return own if isinstance(own, pa.ChunkedArray) else pa.chunked_array([own])
        if name in self.schema.names:
            if name not in self._columns:
                self.prefetch([name])
            return self._columns[name]
        if self.parent is None:
            raise KeyError(name)
        return self._inherited(name)

    def prefetch(self, names: Sequence[str]) -> None:
        """Reads several columns with one look into each file."""
        missing = [n for n in dict.fromkeys(names) if n not in self._added and n not in self._columns]
        own = [n for n in missing if n in self.schema.names and n not in IDENTITY]
        if own:
            table = self._read(own)
            self._columns.update((name, taken(table[name], pa.array(self._made))) for name in own)
        if self.parent is not None and (inherited := [n for n in missing if n not in own and n not in IDENTITY]):
            self.parent.prefetch(inherited)

    def _inherited(self, name: str) -> pa.ChunkedArray:
        return taken(self.parent.column(name), pa.array(self.parents, mask=self.parents < 0))

    def array(self, name: str) -> np.ndarray:
        """One column for a decision: numbers with NaN for null, anything else as objects."""
        column = self.column(name)
        if pa.types.is_integer(column.type) and column.null_count:
            column = column.cast(pa.float64())
        if pa.types.is_boolean(column.type) and column.null_count == 0:
            return column.to_numpy().astype(bool)
        return column.to_numpy()

    def rows(self, names: Sequence[str], where: np.ndarray | None = None) -> list[Row]:
        """Rows as dicts of plain values.

        Args:
            names: columns; the identity comes along.
            where: positions, all of them by default.
        """
        wanted = list(dict.fromkeys((*IDENTITY, *names)))
        self.prefetch(wanted)
        arrays = [self.column(name) for name in wanted]
        if where is not None:
            arrays = [taken(array, pa.array(where)) for array in arrays]
        return pa.table(arrays, names=wanted).to_pylist()


def taken(column: pa.ChunkedArray, at: pa.Array, most_bytes: int = 2**30) -> pa.ChunkedArray:
    """Values of a column by position; null where the position is.

    Arrow's own `take` joins all chunks first, and its arrays of pictures or texts hold 2 GiB at most. Larger columns, and
    those that become larger since children share a parent's picture, come in chunks of about `most_bytes`.
    """
    one = column.nbytes / max(1, len(column))
    if max(column.nbytes, one * len(at)) <= most_bytes:
        return column.take(at)
    largest = pc.max(_sizes(column)).as_py() or 0
    wide, step = column.cast(_wide(column.type)), max(1, int(most_bytes // max(1, largest)))
    parts = [wide.take(at[start : start + step]).cast(column.type).chunks for start in range(0, len(at), step)]
    return pa.chunked_array([chunk for part in parts for chunk in part], column.type)


def _sizes(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    """Bytes of each value of a column of pictures, texts, or lists of either; of anything else 8."""
    kind = column.type
    if pa.types.is_binary(kind) or pa.types.is_string(kind):
        return pc.binary_length(column)
    if pa.types.is_list(kind) and (pa.types.is_binary(kind.value_type) or pa.types.is_string(kind.value_type)):
        lists = [_list_sizes(chunk) for chunk in column.chunks]
        return pa.chunked_array(lists, pa.int64())
    return pa.array([8], pa.int64())


def _list_sizes(chunk: pa.ListArray) -> pa.Array:
    ends = np.append(0, np.cumsum(pc.fill_null(pc.binary_length(chunk.flatten()), 0).to_numpy(zero_copy_only=False)))
    counts = pc.fill_null(pc.list_value_length(chunk), 0).to_numpy(zero_copy_only=False)
    bounds = np.append(0, np.cumsum(counts))
    return pa.array(ends[bounds[1:]] - ends[bounds[:-1]], pa.int64())


def _wide(kind: pa.DataType) -> pa.DataType:
    """The type with offsets of 64 bits, as far as it has any."""
    if pa.types.is_binary(kind):
        return pa.large_binary()
    if pa.types.is_string(kind):
        return pa.large_string()
    return pa.large_list(_wide(kind.value_type)) if pa.types.is_list(kind) else kind


def _plain(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
