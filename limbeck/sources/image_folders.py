"""A folder of pictures with captions: `metadata.jsonl` or `metadata.csv` (`file_name`), or `NAME.txt` beside each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from limbeck.errors import SourceError
from limbeck.paths import beside
from limbeck.records import COLUMNS, columns
from limbeck.sources.caption_files import mapping, read
from limbeck.sources.unusable import Unusable, checked

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """Picture, caption and the canonical columns of the metadata."""
    place = _place(source, folder)
    metadata = _metadata(place)
    if metadata is None:
        return columns("caption", "image")
    _, record = next(iter(read(metadata)), ("", {}))
    wanted = mapping(list(record) if isinstance(record, dict) else [], source, str(metadata))
    return (*(COLUMNS[name] for name in wanted if name != "image"), *columns("image"))


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """Pictures in the order of the metadata, or of their names."""
    place = _place(source, folder)
    metadata = _metadata(place)
    if metadata is None:
        for path in sorted(p for p in place.rglob("*") if p.suffix.lower() in _SUFFIXES):
            words = path.with_suffix(".txt")
            caption = words.read_text(encoding="utf-8", errors="replace").strip() if words.is_file() else None
            name = path.relative_to(place).as_posix()
            yield _row({"caption": caption}, path, name, source, {"file_name": name})
        return
    wanted = None
    for where, record in read(metadata):
        if isinstance(record, str):
            yield Unusable(where, "row_unreadable", record)
            continue
        wanted = wanted or {k: v for k, v in mapping(list(record), source, str(metadata)).items() if k != "image"}
        name = record.get("file_name") or record.get("image") or ""
        inside = (place / str(name)).resolve()
        if not name or not inside.is_relative_to(place.resolve()) or not inside.is_file():
            yield Unusable(where, "image_missing", str(name) or "no file_name")
            continue
        yield _row({key: record.get(column) for key, column in wanted.items()}, inside, where, source, record)


def _row(
    row: dict[str, Any], path: Path, where: str, source: SourceTable, record: dict[str, Any]
) -> dict[str, Any] | Unusable:
    try:
        row["image"] = path.read_bytes()
    except OSError as error:
        return Unusable(where, "image_unreadable", str(error))
    usable = checked(row, source, where)
    if isinstance(usable, dict) and source.id_column is not None:
        usable["_id"] = record.get(source.id_column)
    return usable


def _metadata(place: Path) -> Path | None:
    return next((place / name for name in _METADATA if (place / name).is_file()), None)


def _place(source: SourceTable, folder: Path) -> Path:
    place = beside(folder, source.images)
    if not place.is_dir():
        raise SourceError(f"there is no folder {place}", where="source.images")
    return place
