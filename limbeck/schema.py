"""Which columns flow where: checked before any model loads.

A generator's rows have its parent's columns and its own. A filter's columns are added to the rows that follow it;
those that aren't canonical are stored as `STAGE_ID.column`, so that two filters of one kind don't collide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from limbeck.errors import Problem, did_you_mean
from limbeck.records import COLUMNS, IDENTITY, Record
from limbeck.stage import Filter, Stage


@dataclass(frozen=True)
class StageTable:
    """One `[[stages]]` table.

    Attributes:
        id: unique in the recipe.
        use: what the recipe said, see `limbeck.catalog`.
        stage: the stage with its settings.
        by: column to value to the stage with that value's thresholds.
    """

    id: str
    use: str
    stage: Stage
    by: Mapping[str, Mapping[str, Stage]]

    @property
    def is_filter(self) -> bool:
        """Whether it scores and decides, or else makes rows."""
        return isinstance(self.stage, Filter)

    def stored_name(self, column: str) -> str:
        """The name under which one of the stage's own columns is stored."""
        return column if column in COLUMNS or not self.is_filter else f"{self.id}.{column}"

    def stored_fields(self) -> tuple[pa.Field, ...]:
        """`writes` under their stored names."""
        return tuple(field.with_name(self.stored_name(field.name)) for field in self.stage.writes)


def check(source: Iterable[pa.Field], stages: Iterable[StageTable], record: Record) -> tuple[Problem, ...]:
    """Problems of the columns' flow: what is read and not there, of another type, or missing at the end."""
    problems: list[Problem] = []
    known = {**{name: COLUMNS[name] for name in IDENTITY}, **{field.name: field for field in source}}
    for i, table in enumerate(stages):
        key = f"stages[{i}] ({table.id})"
        for wanted in table.stage.reads:
            have = known.get(wanted.name)
            if have is None:
                problems.append(_missing(key, wanted.name, known))
            elif have.type != wanted.type:
                problems.append(_other_type(key, wanted, have))
        for wanted in table.stage.reads_if_there:
            if (have := known.get(wanted.name)) is not None and have.type != wanted.type:
                problems.append(_other_type(key, wanted, have))
        problems += [
            Problem(key, f"writes {field.name!r}, which the runner keeps")
            for field in table.stage.writes
            if field.name in IDENTITY
        ]
        known.update((field.name, field) for field in table.stored_fields())
        if isinstance(table.stage, Filter):
            local = {field.name for field in table.stage.writes}
            asked = {*table.stage.decides_on(), *table.by, table.stage.group_by} - local
            problems += [_missing(key, name, known) for name in sorted(asked) if name not in known]
    problems += [
        _missing(f"dataset.record = {record.name!r}", name, known) for name in record.required if name not in known
    ]
    return tuple(problems)


def _other_type(key: str, wanted: pa.Field, have: pa.Field) -> Problem:
    return Problem(key, f"reads {wanted.name!r} as {wanted.type}, which is {have.type}")


def _missing(key: str, column: str, known: Mapping[str, pa.Field]) -> Problem:
    return Problem(key, f"needs the column {column!r}, which nothing before it makes", did_you_mean(column, known))
