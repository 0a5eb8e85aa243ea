"""Turns what a stage returns into a table, and holds the stage to its contract: every row has an outcome.

A generator's table has `id`, `parent_id`, the columns it writes, and for a row that became nothing `reason` and
`detail`; a filter's has `id`, its scores, `reason` and `detail`. A failed row's reason is `error:` and the error's
name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from limbeck.decisions import ERROR
from limbeck.errors import ContractError
from limbeck.records import IDENTITY, MODEL, made_by
from limbeck.schema import StageTable
from limbeck.stage import Drop, Failed, Row

_MOST_DETAIL = 500


def stored_schema(table: StageTable, fingerprints: dict[str, str]) -> pa.Schema:
    """Columns of a stage's files; scores carry the fingerprint of the model that made them.

    Args:
        table: the stage.
        fingerprints: by the stage's settings that name models.
    """
    fields = [pa.field("id", pa.string())]
    if not table.is_filter:
        fields.append(pa.field("parent_id", pa.string()))
    for field in table.stored_fields():
        setting = made_by(field)
        if setting is not None:
            field = field.with_metadata({**field.metadata, MODEL: fingerprints.get(setting, "").encode()})
        fields.append(field)
    return pa.schema([*fields, pa.field("reason", pa.string()), pa.field("detail", pa.string())])


def generated(table: StageTable, schema: pa.Schema, given: Sequence[Row], results: Iterable[Any]) -> pa.Table:
    """The table of what a generator made of some rows, ordered by parent and ordinal.

    Raises:
        ContractError: a row without outcome, an id that isn't a child's, a column or reason that isn't declared.
    """
    place = {row["id"]: i for i, row in enumerate(given)}
    columns = {field.name for field in table.stage.writes}
    ordered: list[tuple[tuple[int, int, str], Row]] = []
    for result in results:
        if isinstance(result, Drop | Failed):
            row = _ended(table, result)
            parent = row["id"] if row["id"] in place else row["id"].rpartition("/")[0]
        elif isinstance(result, dict) and isinstance(result.get("id"), str):
            row, parent = result, result["id"].rpartition("/")[0]
        else:
            raise ContractError(
                f"{table.id} returned {result!r:.200}; expected a dict with an `id`, a Drop or a Failed"
            )
        if parent not in place:
            raise ContractError(f"{table.id} returned the id {row['id']!r}; expected PARENT/ORDINAL of one of its rows")
        if row is result:
            _check_columns(table, row, given[place[parent]], columns)
        ordinal = row["id"].removeprefix(parent).removeprefix("/")
        ordered.append(
            ((place[parent], int(ordinal) if ordinal.isdigit() else -1, ordinal), {**row, "parent_id": parent})
        )
    ordered.sort(key=lambda item: item[0])
    rows = [row for _, row in ordered]
    if missing := place.keys() - {row["parent_id"] for row in rows}:
        raise ContractError(f"{table.id} gave no row, Drop or Failed for {min(missing)!r} ({len(missing)} rows in all)")
    if len({row["id"] for row in rows}) != len(rows):
        twice = Counter(row["id"] for row in rows).most_common(1)[0][0]
        raise ContractError(f"{table.id} returned the id {twice!r} twice")
    return _table(table, schema, rows)


def scored(table: StageTable, schema: pa.Schema, given: Sequence[Row], results: Sequence[Any]) -> pa.Table:
    """The table of a filter's scores; a column that it leaves out keeps what the row brought.

    Raises:
        ContractError: not one result for each row, or a column or reason that isn't declared.
    """
    if len(results) != len(given):
        raise ContractError(f"{table.id}.score gave {len(results)} results for {len(given)} rows")
    names = {field.name: table.stored_name(field.name) for field in table.stage.writes}
    rows = []
    for row, result in zip(given, results, strict=True):
        if isinstance(result, Drop | Failed):
            if result.id != row["id"]:
                raise ContractError(f"{table.id}.score gave a result for {result.id!r} in the place of {row['id']!r}")
            rows.append(_ended(table, result))
            continue
        if not isinstance(result, dict):
            raise ContractError(f"{table.id}.score returned {result!r:.200}; expected a dict, a Drop or a Failed")
        if extra := {key for key in result.keys() - names.keys() if key not in row or result[key] != row[key]}:
            raise ContractError(f"{table.id}.score returned {min(extra)!r}, which isn't among its `writes`")
        rows.append({"id": row["id"], **{stored: result.get(name, row.get(name)) for name, stored in names.items()}})
    return _table(table, schema, rows)


def _ended(table: StageTable, result: Drop | Failed) -> Row:
    if isinstance(result, Failed):
        return {
            "id": result.id,
            "reason": f"{ERROR}{type(result.error).__name__}",
            "detail": str(result.error)[:_MOST_DETAIL],
        }
    if result.reason not in table.stage.reasons:
        raise ContractError(f"{table.id} drops {result.id!r} for {result.reason!r}, which isn't among its `reasons`")
    return {"id": result.id, "reason": result.reason, "detail": result.detail[:_MOST_DETAIL]}


def _check_columns(table: StageTable, row: Row, parent: Row, columns: set[str]) -> None:
    for name in row.keys() - columns:
        same = name in parent and (row[name] is parent[name] or row[name] == parent[name])
        if name not in IDENTITY and not same:
            raise ContractError(f"{table.id} returned the column {name!r}, which isn't among its `writes`")


def _table(table: StageTable, schema: pa.Schema, rows: Sequence[Row]) -> pa.Table:
    arrays = []
    for field in schema:
        try:
            arrays.append(pa.array([row.get(field.name) for row in rows], type=field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError) as error:
            raise ContractError(f"{table.id}: the column {field.name!r} isn't {field.type}: {error}") from error
    return pa.Table.from_arrays(arrays, schema=schema)
