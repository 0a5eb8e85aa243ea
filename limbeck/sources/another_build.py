"""Rows of another build: its kept rows, or those of one of its stages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from limbeck.records import COLUMNS, IDENTITY
from limbeck.sources.unusable import Unusable

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """The canonical columns of those rows; a score still says which model computed it."""
    return tuple(f for f in _open(source, folder).fields(source.stage) if _taken(f.name))


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """The rows in the build's own order; the group keeps their splits together."""
    for row in _open(source, folder).rows(source.stage):
        group = row.get("group") or row.get("source_id") or row["id"]
        yield {key: value for key, value in row.items() if _taken(key)} | {"group": group, "_id": row["id"]}


def _taken(name: str) -> bool:
    return name in COLUMNS and name not in IDENTITY


def _open(source: SourceTable, folder: Path) -> Any:
    from limbeck.built import open_build

    return open_build(folder / Path(source.build).expanduser())
