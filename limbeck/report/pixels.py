"""Pictures of a few rows out of many: only the row groups that hold them are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from limbeck.frames import Frame
from limbeck.records import is_image, is_images


def pictures(frame: Frame, files: Sequence[Path], column: str, where: Sequence[int]) -> list[Any]:
    """One column of pictures, or of lists of them, of some rows of a part; None where there is no picture any more.

    Args:
        frame: the part's rows, as `limbeck.publish.part_frame` gives them.
        files: the part's file of the source and of every generator, in the order of the line.
        column: such as `edited_image`.
        where: positions in the frame.
    """
    positions = np.asarray(where, dtype=np.int64)
    level: Frame | None = frame
    for file in reversed(files):
        if level is None or not len(positions):
            break
        if column in level.schema.names and (is_image(field := level.schema.field(column)) or is_images(field)):
            return _stored(file, column, level.in_file(positions))
        positions = level.parents[positions] if level.parent is not None else positions
        level = level.parent
    return [None] * len(where)


def _stored(path: Path, column: str, rows: np.ndarray) -> list[Any]:
    """Cells of a Parquet file by row number."""
    file = pq.ParquetFile(path)
    found: dict[int, Any] = {}
    first = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        wanted = rows[(rows >= first) & (rows < first + count)]
        if wanted.size:
            data = file.read_row_group(group, columns=[column], use_threads=False)[column]
            found.update((int(row), data[int(row) - first].as_py()) for row in wanted)
        first += count
    return [found[int(row)] for row in rows]
