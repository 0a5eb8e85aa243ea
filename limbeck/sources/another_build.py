"""Rows of another build: its kept rows, or those of one of its stages.

What that build held out stays held out: where it has several splits, its rows bring theirs along.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from limbeck.paths import beside
from limbeck.records import COLUMNS, IDENTITY, columns
from limbeck.sources.unusable import Unusable

if TYPE_CHECKING:
    from limbeck.built import Build
    from limbeck.recipe import SourceTable


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """The canonical columns of those rows, group and split; a score still says which model computed it."""
    build = _open(source, folder)
    own = tuple(f for f in build.fields(source.stage) if _taken(f.name))
    return (*own, *columns("group", *(("split",) if _is_split(build) else ())))


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """The rows in the build's own order; the group keeps their splits together."""
    from limbeck.publish import split_of

    build = _open(source, folder)
    dataset, is_split = build.recipe.dataset, _is_split(build)
    names = dict.fromkeys(f.name for f in build.fields(source.stage)) | dict.fromkeys(_held_together(build))
    for row in build.rows(source.stage, columns=list(names)):
        group = row.get("group") or row.get("source_id") or row["id"]
        found = {key: value for key, value in row.items() if _taken(key)} | {"group": group, "_id": row["id"]}
        if is_split:
            found["split"] = row.get("split") or split_of(group, dataset.splits, dataset.seed)
        yield found


def _taken(name: str) -> bool:
    return name in COLUMNS and name not in (*IDENTITY, "group", "split")


def _is_split(build: Build) -> bool:
    """Whether it has more than one split, by its recipe or by its source."""
    return len(build.recipe.dataset.splits) > 1 or "split" in _held_together(build)


def _held_together(build: Build) -> list[str]:
    """`group` and `split`, as far as its own source has them."""
    from limbeck.plan import SOURCE

    return [f.name for f in build.fields(SOURCE) if f.name in ("group", "split")]


def _open(source: SourceTable, folder: Path) -> Build:
    from limbeck.built import open_build

    build = open_build(beside(folder, source.build))
    build.check_finished()
    return build
