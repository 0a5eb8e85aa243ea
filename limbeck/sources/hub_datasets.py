"""Captions, with or without pictures, from anything that `datasets.load_dataset` reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from limbeck.errors import MissingExtra, SourceError
from limbeck.records import COLUMNS
from limbeck.sources.caption_files import mapping
from limbeck.sources.unusable import Unusable, checked

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """The canonical columns of the dataset."""
    dataset = opened(source.dataset, source, folder)
    return tuple(COLUMNS[name] for name in mapping(list(dataset.features), source, f"dataset {source.dataset}"))


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """The dataset's rows, in order, pictures as the bytes they are stored in."""
    dataset = opened(source.dataset, source, folder)
    yield from mapped(dataset, mapping(list(dataset.features), source, f"dataset {source.dataset}"), source)


def mapped(dataset: Any, wanted: dict[str, str], source: SourceTable) -> Iterator[dict[str, Any] | Unusable]:
    """Rows of an opened dataset under canonical names."""
    for number, record in enumerate(dataset):
        where = f"row {number}"
        usable = checked({name: record[column] for name, column in wanted.items()}, source, where)
        if isinstance(usable, dict) and source.id_column is not None:
            usable["_id"] = record[source.id_column]
        yield usable


def opened(name: str, source: SourceTable, folder: Path) -> Any:
    """A `datasets.Dataset` whose pictures stay encoded.

    Raises:
        SourceError: it can't be loaded.
        MissingExtra: `datasets` isn't installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingExtra("datasets", where=f"source.{source.kind}") from error
    local = folder / Path(name).expanduser()
    try:
        dataset = datasets.load_dataset(
            str(local) if local.exists() else name,
            source.config,
            split=source.split or "train",
            revision=source.revision,
        )
    except Exception as error:  # whatever the library raises, it is about this name
        raise SourceError(f"{name!r} can't be loaded: {error}", where=f"source.{source.kind}") from error
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
    return dataset
