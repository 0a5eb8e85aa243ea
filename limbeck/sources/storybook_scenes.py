"""Scenes of the storybook: captions with the exact truth about their picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from limbeck.errors import SourceError
from limbeck.records import columns
from limbeck.sources.unusable import Unusable

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable

LICENSE = "cc0-1.0"
"""Of every scene."""


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """What a scene gives."""
    _rows(source)
    return columns("caption", "scene", "group", "split")


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """Scenes drawn with the recipe's seed."""
    from limbeck.storybook.source import rows as scenes

    settings = {key: value for key, value in source.storybook.items() if key not in ("rows", "seed")}
    known = {field.name for field in fields(source, folder)}
    try:
        drawn = scenes(_rows(source), source.storybook.get("seed", seed), **settings)
    except (TypeError, ValueError) as error:
        raise SourceError(str(error), where="source.storybook") from error
    for scene in drawn:
        yield {key: value for key, value in scene.items() if key in known} | {"_id": scene.get("id")}


def _rows(source: SourceTable) -> int:
    count = source.storybook.get("rows", 100)
    if not isinstance(count, int) or count < 1:
        raise SourceError(f"rows = {count!r}", expected="a number of scenes from 1", where="source.storybook")
    return count
