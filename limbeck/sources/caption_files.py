"""Captions from a JSONL, CSV, TSV, Parquet or text file (one caption a line)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.errors import SourceError, did_you_mean
from limbeck.paths import beside
from limbeck.records import COLUMNS, IDENTITY, is_image
from limbeck.sources.unusable import Unusable, checked

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable

_SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".txt")
_CAPTION_NAMES = ("caption", "text", "prompt", "description")


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """The canonical columns among the file's, and those that `source.columns` maps."""
    path = _path(source, folder)
    return tuple(COLUMNS[name] for name in _wanted(path, source))


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """The file's rows, in order."""
    path = _path(source, folder)
    wanted = _wanted(path, source)
    for where, record in read(path):
        if isinstance(record, str):
            yield Unusable(where, "row_unreadable", record)
            continue
        row = {name: record.get(column) for name, column in wanted.items()}
        usable = checked(row, source, where)
        if isinstance(usable, dict) and source.id_column is not None:
            usable["_id"] = record.get(source.id_column)
        yield usable


def _wanted(path: Path, source: SourceTable) -> dict[str, str]:
    """Canonical column to the file's; of the text formats none that holds pictures, which they can only name."""
    found = mapping(_header(path), source, str(path))
    return {name: column for name, column in found.items() if path.suffix == ".parquet" or not is_image(COLUMNS[name])}


def mapping(header: list[str], source: SourceTable, where: str) -> dict[str, str]:
    """Canonical column to column of the source.

    Raises:
        SourceError: a column that the recipe names isn't there, or there is nothing to use.
    """
    for column in (*source.columns.values(), *([source.id_column] if source.id_column else [])):
        if column not in header:
            raise SourceError(f"no column {column!r}", where=where, remedy=did_you_mean(column, header))
    if unknown := [name for name in source.columns if name not in COLUMNS]:
        raise SourceError(
            f"{unknown[0]!r} is no canonical column", where="source.columns", remedy=did_you_mean(unknown[0], COLUMNS)
        )
    wanted = {name: name for name in header if name in COLUMNS and name not in IDENTITY} | dict(source.columns)
    if "caption" not in wanted and "original_prompt" not in wanted:
        caption = next((name for name in _CAPTION_NAMES if name in header), None)
        if caption is None:
            raise SourceError(
                f"columns {', '.join(header) or '(none)'}",
                expected=f"one of {', '.join(_CAPTION_NAMES)}",
                where=where,
                remedy='name yours in the recipe: columns = { caption = "YOURS" }',
            )
        wanted["caption"] = caption
    return dict(sorted(wanted.items()))


def read(path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Records of a file with where each lies; a string says why one can't be read."""
    if path.suffix == ".parquet":
        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"is not Parquet: {error}", where=str(path)) from error
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for record in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", record
        return
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        if path.suffix in (".csv", ".tsv"):
            yield from _read_csv(lines, path)
            return
        for number, line in enumerate(lines, 1):
            where = f"{path}:{number}"
            if path.suffix == ".txt":
                yield where, _text({"caption": line.rstrip("\r\n")})
            elif line.strip():
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError) as error:  # also of a number without end, and of "[[[[..."
                    yield where, f"not JSON: {error}"
                    continue
                yield where, _text(record) if isinstance(record, dict) else "not a JSON object"


def _read_csv(lines: Iterable[str], path: Path) -> Iterator[tuple[str, dict[str, Any] | str]]:
    csv.field_size_limit(2**24)
    records = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",")
    for number in count(2):
        where = f"{path}:{number}"
        try:
            record = next(records)
        except StopIteration:
            return
        except csv.Error as error:  # the next record is read all the same
            yield where, f"not CSV: {error}"
            continue
        record.pop(None, None)
        yield where, _text(record)


def _text(record: dict[str, Any]) -> dict[str, Any] | str:
    """The record, unless it holds bytes that aren't UTF-8 (or half a surrogate pair)."""
    for value in record.values():
        if isinstance(value, str):
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:
                return "not UTF-8"
    return record


def _header(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        try:
            return pq.read_schema(path).names
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"is not Parquet: {error}", where=str(path)) from error
    if path.suffix == ".txt":
        return ["caption"]
    names: dict[str, None] = {}
    wrong = (str(path), "the file is empty")
    for where, record in islice(read(path), 100):
        if isinstance(record, dict):
            names.update(dict.fromkeys(record))
        else:
            wrong = (where, record)
    if not names:
        raise SourceError(wrong[1], where=wrong[0], expected=f"rows with one of {', '.join(_CAPTION_NAMES)}")
    return list(names)


def _path(source: SourceTable, folder: Path) -> Path:
    path = beside(folder, source.captions)
    if not path.is_file():
        raise SourceError(f"there is no file {path}", where="source.captions")
    if path.suffix not in _SUFFIXES:
        raise SourceError(f"{path.name}", expected=f"one of {', '.join(_SUFFIXES)}", where="source.captions")
    return path
