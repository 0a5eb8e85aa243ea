"""Where rows come from. Each file reads one kind; `rows` gives them ids and counts what can't be used.

A source yields rows as dicts of canonical columns, with `_id` where a named column identifies them, or an
`Unusable`. An id is a hash of the row's content (or the named column's value), so a row inserted at the top changes
no other. What can't be used becomes a `Drop` with a reason; only what makes all rows unusable is an error.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from limbeck.errors import SourceError
from limbeck.records import columns
from limbeck.sources import (
    another_build,
    caption_files,
    coco,
    hub_datasets,
    image_folders,
    pair_datasets,
    storybook_scenes,
)
from limbeck.sources.unusable import Unusable
from limbeck.stage import Drop, Row

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable

_READERS = {
    "storybook": storybook_scenes,
    "captions": caption_files,
    "images": image_folders,
    "dataset": hub_datasets,
    "build": another_build,
    "pairs": pair_datasets,
    "coco": coco,
}
_OF_IDS = str.maketrans("/~", "__")  # characters that ids use themselves
_NOT_CONTENT = frozenset({"_id", "split", "group", "source", "license"})
REASONS = (
    "caption_missing", "caption_empty", "caption_too_long", "id_missing", "duplicate",
    "image_missing", "image_empty", "image_unreadable", "image_too_large", "image_animated", "row_unreadable",
)  # fmt: skip
"""Every reason for which a source row isn't used."""


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """Columns that the rows will have, found without reading them all.

    Args:
        source: the recipe's `[source]`.
        folder: what relative paths are relative to.

    Raises:
        SourceError: nothing there, or no column that can be used.
    """
    found = _READERS[source.kind].fields(source, folder)
    stated = source.license is not None and "license" not in {field.name for field in found}
    return (*found, *columns("license")) if stated else found


def rows(source: SourceTable, folder: Path, seed: int, limit: int | None = None) -> Iterator[Row | Drop]:
    """The source's rows, each with an `id`; duplicates and what can't be used as `Drop`.

    Raises:
        SourceError: the source can't be read at all.
    """
    seen: set[str] = set()
    written: dict[str, str] = {}  # ids that differ from their names, to those names
    copies: Counter[str] = Counter()
    most = min((n for n in (limit, source.limit) if n is not None), default=None)
    for found in islice(_READERS[source.kind].rows(source, folder, seed), most):
        if isinstance(found, Unusable):
            told = _within(found.where, folder) + (f": {found.detail}" if found.detail else "")
            result: Row | Drop = Drop(content_id({"where": found.where}), found.reason, told)
            row_id, name = result.id, ""
        else:
            named = found.pop("_id", None)
            if source.license is not None:
                found["license"] = found.get("license") or source.license
            by_content = source.id_column is None and named is None
            name = "" if named is None else str(named).strip()
            row_id = content_id(found) if by_content else name.translate(_OF_IDS)
            result = (
                {"id": row_id, **found} if row_id else Drop(content_id(found), "id_missing", source.id_column or "")
            )
            row_id = row_id or result.id
        if row_id in seen:
            copies[row_id] += 1
            first, name = written.get(row_id, row_id), name or row_id
            row_id = f"{row_id}~{copies[row_id] + 1}"  # ids hold no tilde of their own
            detail = f"the same {source.id_column or 'content'} as an earlier row"
            if name != first:
                detail = f"{name!r} is written as the {first!r} of an earlier row is: ids hold neither / nor ~"
            result = Drop(row_id, "duplicate", detail)
        elif name and name != row_id:
            written[row_id] = name
        seen.add(row_id)
        yield result
    if not seen:
        raise SourceError("there are no rows", where=f"source.{source.kind}")


def stated_license(source: SourceTable) -> str:
    """Licence of rows that state none themselves; the storybook's scenes are drawn here and are nobody's."""
    return source.license or (storybook_scenes.LICENSE if source.kind == "storybook" else "")


def content_id(row: Row) -> str:
    """Id of a row by its content: 16 hex digits.

    >>> content_id({"caption": "a red house"}) == content_id({"caption": "a red house", "split": "test"})
    True
    """
    content = {
        key: hashlib.blake2b(value, digest_size=16).hexdigest() if isinstance(value, bytes) else value
        for key, value in row.items()
        if key not in _NOT_CONTENT and value is not None
    }
    return hashlib.blake2b(orjson.dumps(content, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def _within(where: str, folder: Path) -> str:
    """Where something lies, as seen from the recipe's folder: the same on every machine.

    >>> _within("/home/me/recipes/photos/a.png", Path("/home/me/recipes")), _within("row 3", Path("/home/me"))
    ('photos/a.png', 'row 3')
    """
    return where.removeprefix(f"{folder}{os.sep}")
