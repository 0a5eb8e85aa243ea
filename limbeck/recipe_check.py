"""Turns TOML tables into a `Recipe`, or into all their problems at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from limbeck import catalog, schema, sources
from limbeck.errors import LimbeckError, Problem, RecipeError, did_you_mean
from limbeck.models.spec import ModelSpec
from limbeck.recipe import DatasetTable, Recipe, RunTable, SourceTable
from limbeck.recipe_tables import check_models, model_specs, validated, with_sets
from limbeck.records import RECORDS
from limbeck.schema import StageTable
from limbeck.stage import Filter, Stage, decision_settings

_TABLES: dict[str, type[BaseModel]] = {"dataset": DatasetTable, "source": SourceTable, "run": RunTable}
_OWN_KEYS = ("id", "use", "by")
_STAGE_ID = re.compile(r"[a-z][a-z0-9_]*")


def checked(tables: Mapping[str, Any], *, folder: Path, origin: str, again: bool = False) -> Recipe:
    """Checks a whole recipe.

    Args:
        tables: what TOML gives.
        folder: what relative paths are relative to.
        origin: the file, for messages.
        again: it is the recipe of a finished build, whose source and models may be gone: they aren't looked at.

    Raises:
        RecipeError: with every problem found.
    """
    if "student" in tables or "distill" in tables:
        remedy = "train it with `limbeck distill`; a dataset's has [dataset] and [[stages]]"
        raise RecipeError([Problem("student", "this is the recipe of a student", remedy)], origin)
    problems: list[Problem] = []
    for key in sorted(tables.keys() - {*_TABLES, "models", "stages"}):
        problems.append(Problem(key, "unknown table", did_you_mean(key, (*_TABLES, "models", "stages"))))
    parts: dict[str, Any] = {}
    for name, model in _TABLES.items():
        if name not in tables and name != "run":
            problems.append(Problem(name, f"the table [{name}] is missing"))
            continue
        parts[name] = validated(model, tables.get(name, {}), name, problems)
    specs = model_specs(tables.get("models", {}), problems)
    stages = _stages(tables.get("stages", []), None if again else specs, folder, problems)
    dataset, source = parts.get("dataset"), parts.get("source")
    if source and not again:
        try:
            fields = sources.fields(source, folder)
        except LimbeckError as error:
            key = f"source.{source.kind}"
            problems.append(Problem(key, str(error).removeprefix(f"{key}: ")))
        else:
            if dataset and None not in stages:
                problems += schema.check(fields, stages, RECORDS[dataset.record])
    if problems:
        raise RecipeError(problems, origin)
    return Recipe(dataset, source, specs, tuple(stages), parts["run"], folder, origin)


def overridden(
    tables: Mapping[str, Any], sets: Sequence[str], origin: str, folder: Path | None = None
) -> dict[str, Any]:
    """Applies `KEY=VALUE` overrides; a value is TOML where it reads as such, else text.

    Args:
        tables: what TOML gives; left as it is.
        sets: the overrides.
        origin: the recipe, for messages.
        folder: what relative paths are relative to.

    >>> overridden({"run": {}, "stages": [{"use": "best_of"}]}, ["best_of.keep=2"], "recipe")["stages"]
    [{'use': 'best_of', 'keep': 2}]

    Raises:
        RecipeError: no `=`, or a key that leads nowhere.
    """

    def stages(tables: dict[str, Any]) -> dict[str, dict[str, Any]]:
        return {_id(entry, folder): entry for entry in tables.get("stages", ())}

    return with_sets(tables, sets, origin, (*_TABLES, "models"), stages)


def _id(entry: Mapping[str, Any], folder: Path | None) -> str:
    """The id of a stage: its own, else the name of what it uses."""
    use = str(entry.get("use"))
    if "id" in entry or ":" not in use:
        return entry.get("id", use)
    try:
        return catalog.stage_class(use, folder).name
    except LimbeckError:  # which is told when the recipe is checked
        return use


def _stages(
    entries: Any, specs: Mapping[str, ModelSpec] | None, folder: Path, problems: list[Problem]
) -> list[StageTable | None]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        problems.append(Problem("stages", "expected [[stages]] tables"))
        return [None]
    tables: list[StageTable | None] = []
    seen: set[str] = set()
    for i, entry in enumerate(entries):
        key = f"stages[{i}]"
        tables.append(_stage(entry, key, folder, problems))
        if (table := tables[-1]) is None:
            continue
        if table.id in seen:
            problems.append(Problem(f"{key}.id", f"{table.id!r} is there twice", "give one of them another id"))
        if table.id in (*_TABLES, "models", "stages") or not _STAGE_ID.fullmatch(table.id):
            problems.append(Problem(f"{key}.id", f"{table.id!r} can't be an id", "lower-case letters, digits and _"))
        seen.add(table.id)
        if specs is not None:
            check_models(table.stage, specs, key, folder, problems)
    return tables


def _stage(entry: dict[str, Any], key: str, folder: Path, problems: list[Problem]) -> StageTable | None:
    use = entry.get("use")
    if not isinstance(use, str):
        problems.append(Problem(f"{key}.use", "missing", "name a stage; `limbeck stages` lists them"))
        return None
    try:
        cls = catalog.stage_class(use, folder)
    except LimbeckError as error:
        problems.append(Problem(f"{key}.use", str(error)))
        return None
    settings = {name: value for name, value in entry.items() if name not in _OWN_KEYS}
    stage = validated(cls, settings, key, problems, folder)
    by = _overrides(cls, None if stage is None else settings, entry.get("by", {}), f"{key}.by", folder, problems)
    if stage is None:
        return None
    return StageTable(entry.get("id", cls.name), use, stage, by)


def _overrides(
    cls: type[Stage], settings: dict[str, Any] | None, by: Any, key: str, folder: Path, problems: list[Problem]
) -> dict[str, dict[str, Stage]]:
    """`by.COLUMN.VALUE = { threshold = ... }`: the same stage with that value's thresholds."""
    if by and (not issubclass(cls, Filter) or hasattr(cls, "decide_all")):
        problems.append(Problem(key, f"{cls.name} can't have it: only filters that decide by row or group can"))
        return {}
    shaped = isinstance(by, dict) and all(isinstance(v, dict) for v in by.values())
    if not shaped or not all(isinstance(o, dict) for v in by.values() for o in v.values()):
        problems.append(Problem(key, "expected by.COLUMN.VALUE = { threshold = ... }"))
        return {}
    found: dict[str, dict[str, Stage]] = {}
    allowed = decision_settings(cls)
    for column, values in by.items():
        for value, changes in values.items():
            where = f"{key}.{column}.{value}"
            for name in sorted(changes.keys() - {*allowed}):
                problems.append(
                    Problem(f"{where}.{name}", "not a threshold of this stage", did_you_mean(name, allowed))
                )
            known = {name: change for name, change in changes.items() if name in allowed}
            if settings is None:  # they are wrong themselves: there is nothing to put a threshold on
                continue
            stage = validated(cls, settings | known, where, problems, folder)
            found.setdefault(column, {})[value] = stage
    return found
