"""Enters source rows into parts, once and for good: a row keeps its part, new rows make new parts.

The source is stage 0 of a build: its files are the ledger. A weekly build whose source has grown pays only for the
new parts; a row that the source no longer has stays where it is and is left out of the result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa

from limbeck import __version__, sources
from limbeck.paths import beside
from limbeck.recipe import Recipe
from limbeck.stage import Drop, Row
from limbeck.store import done_parts, read_manifest, read_part, write_file, write_part

_SIGNED = ("storybook", "captions")  # sources that tell cheaply whether they have changed


@dataclass(frozen=True)
class Entered:
    """The source's rows.

    Attributes:
        parts: those with rows of the present source.
        inactive: ids that the present source doesn't have.
        rows: rows of the present source, those that can't be used included.
    """

    parts: tuple[int, ...]
    inactive: frozenset[str]
    rows: int


def source_schema(fields: Iterable[pa.Field]) -> pa.Schema:
    """Columns of the source's files."""
    own = [field for field in fields if field.name != "id"]
    return pa.schema(
        [pa.field("id", pa.string()), *own, pa.field("reason", pa.string()), pa.field("detail", pa.string())]
    )


def enter(recipe: Recipe, folder: Path, limit: int | None = None) -> Entered:
    """Enters rows that aren't in the ledger yet; rows whose content changed are replaced where they are.

    Raises:
        SourceError: the source can't be read.
    """
    signature = _signature(recipe, limit)
    ledger = folder / "ledger.json"
    if signature is not None and ledger.is_file():
        known = orjson.loads(ledger.read_bytes())
        if known["signature"] == signature and done_parts(folder) == known["all_parts"]:
            return Entered(tuple(known["parts"]), frozenset(known["inactive"]), known["rows"])
    schema = source_schema(sources.fields(recipe.source, recipe.folder))
    part_of: dict[str, int] = {}
    digests: dict[str, str] = {}
    outdated = set()  # parts with other columns than the source gives now
    for part in done_parts(folder):
        manifest = read_manifest(folder, part)
        for row_id, found in zip(manifest["ids"], manifest["digests"], strict=True):
            part_of[row_id], digests[row_id] = part, found
        if manifest["columns"] != schema.names:
            outdated.add(part)
    next_part = max(part_of.values(), default=-1) + 1
    old_ids, active, fresh, changed = set(part_of), set(), [], {}
    for row in _outcomes(sources.rows(recipe.source, recipe.folder, recipe.dataset.seed, limit)):
        row_id = row["id"]
        active.add(row_id)
        if row_id in old_ids:
            if _digest(row) != digests[row_id] or part_of[row_id] in outdated:
                changed[row_id] = row
            continue
        fresh.append(row)
        if len(fresh) == recipe.run.part_rows:
            _write(folder, next_part, schema, fresh, part_of)
            fresh, next_part = [], next_part + 1
    if fresh:
        _write(folder, next_part, schema, fresh, part_of)
    for part in sorted({part_of[row_id] for row_id in changed}):
        rows = [changed.get(row["id"], row) for row in read_part(folder, part).to_pylist()]
        _write(folder, part, schema, rows, part_of)
    parts = tuple(sorted({part_of[row_id] for row_id in active}))
    inactive = frozenset(old_ids - active)
    facts = {
        "signature": signature, "parts": parts, "inactive": sorted(inactive), "rows": len(active),
        "all_parts": sorted(set(part_of.values())),
    }  # fmt: skip
    write_file(ledger, orjson.dumps(facts, option=orjson.OPT_INDENT_2))
    return Entered(parts, inactive, len(active))


def _outcomes(rows: Iterable[Row | Drop]) -> Iterator[Row]:
    for row in rows:
        yield {"id": row.id, "reason": row.reason, "detail": row.detail} if isinstance(row, Drop) else row


def _write(folder: Path, part: int, schema: pa.Schema, rows: list[Row], part_of: dict[str, int]) -> None:
    table = pa.Table.from_pylist(rows, schema=schema)
    facts = {"ids": [row["id"] for row in rows], "digests": [_digest(row) for row in rows], "columns": schema.names}
    dropped = sum(row.get("reason") is not None for row in rows)
    write_part(
        folder, part, table, facts | {"counts": {"in": len(rows), "made": len(rows) - dropped, "dropped": dropped}}
    )
    part_of.update((row["id"], part) for row in rows)


def _digest(row: Row) -> str:
    plain = {
        key: hashlib.blake2b(value, digest_size=16).hexdigest() if isinstance(value, bytes) else value
        for key, value in row.items()
        if value is not None
    }
    return hashlib.blake2b(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def _signature(recipe: Recipe, limit: int | None) -> str | None:
    """Changes when the source may have other rows; None where only reading it tells."""
    source = recipe.source
    if source.kind not in _SIGNED:
        return None
    facts = [__version__, source.model_dump(mode="json"), recipe.dataset.seed, limit]
    if source.kind == "captions":
        stat = beside(recipe.folder, source.captions).stat()
        facts += [stat.st_size, stat.st_mtime_ns]
    return hashlib.blake2b(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
