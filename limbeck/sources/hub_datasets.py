"""Captions, with or without pictures, from anything that `datasets.load_dataset` reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from limbeck.errors import MissingExtra, SourceError, one_line
from limbeck.hub_errors import hub_errors
from limbeck.paths import beside
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


@cache
def _away(name: str, revision: str | None) -> tuple[str, str] | None:
    """Why the Hub doesn't give a dataset, and what to do; None where it does. `datasets` would ask for half a minute."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    hub, nowhere = constants.ENDPOINT, f"{name!r} is no folder or file here"
    if constants.HF_HUB_OFFLINE:
        return f"{nowhere} and isn't in the cache, and HF_HUB_OFFLINE keeps off the Hub", "unset it, or name a folder"
    try:
        HfApi().dataset_info(name, revision=revision, timeout=10)
    except RevisionNotFoundError:
        return f"{name!r} has no revision {revision!r}", f"{hub}/datasets/{name}/tree/main lists what there is"
    except RepositoryNotFoundError:
        found = f"{nowhere}, and {hub} has no dataset of that name, or shows it to its owner only"
        return found, "check the name; for a private dataset set HF_TOKEN"
    except hub_errors() as error:
        found = f"{nowhere} and isn't in the cache, and {hub} can't be asked: {one_line(error)}"
        return found, "check the network, or name a folder"
    return None


@contextmanager
def _offline() -> Iterator[None]:
    """Lets `datasets` look into its cache alone."""
    import datasets
    from huggingface_hub import constants

    places = (constants, datasets.config)
    before = [place.HF_HUB_OFFLINE for place in places]
    for place in places:
        place.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        for place, was in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = was


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
    local = beside(folder, name)
    away = None if local.exists() else _away(name, source.revision)
    try:
        with _offline() if away else nullcontext():
            dataset = datasets.load_dataset(
                str(local) if local.exists() else name,
                source.config,
                split=source.split or "train",
                revision=source.revision,
            )
    except Exception as error:  # whatever the library raises, it is about this name
        found, remedy = away or (f"{name!r} can't be loaded: {one_line(error)}", "")
        raise SourceError(found, where=f"source.{source.kind}", remedy=remedy) from error
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.Image):
            dataset = dataset.cast_column(column, datasets.Image(decode=False))
    return dataset
