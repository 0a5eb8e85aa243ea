"""Turns TOML tables into a `Recipe`, or into all their problems at once."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from limbeck import catalog, models, schema, sources
from limbeck.errors import LimbeckError, Problem, RecipeError, did_you_mean
from limbeck.models.spec import ModelSpec
from limbeck.recipe import DatasetTable, Recipe, RunTable, SourceTable
from limbeck.records import RECORDS
from limbeck.schema import StageTable
from limbeck.stage import Filter, Stage, decision_settings, model_settings

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
    problems: list[Problem] = []
    for key in tables.keys() - {*_TABLES, "models", "stages"}:
        problems.append(Problem(key, "unknown table", did_you_mean(key, (*_TABLES, "models", "stages"))))
    parts: dict[str, Any] = {}
    for name, model in _TABLES.items():
        if name not in tables and name != "run":
            problems.append(Problem(name, f"the table [{name}] is missing"))
            continue
        parts[name] = _validated(model, tables.get(name, {}), name, problems)
    specs = _models(tables.get("models", {}), problems)
    stages = _stages(tables.get("stages", []), None if again else specs, folder, problems)
    dataset, source = parts.get("dataset"), parts.get("source")
    if dataset and dataset.record not in RECORDS:
        problems.append(
            Problem("dataset.record", f"no record {dataset.record!r}", did_you_mean(dataset.record, RECORDS))
        )
    if source and not again:
        try:
            fields = sources.fields(source, folder)
        except LimbeckError as error:
            problems.append(Problem(f"source.{source.kind}", str(error)))
        else:
            if dataset and dataset.record in RECORDS and None not in stages:
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
    tables = copy.deepcopy(dict(tables))
    problems = []
    for text in sets:
        key, equals, value = text.partition("=")
        *way, last = key.strip().split(".")
        if not equals or not way:
            problems.append(Problem(f"--set {text}", "expected TABLE.KEY=VALUE, such as pairs.samples=8"))
            continue
        stages = {_id(entry, folder): entry for entry in tables.get("stages", ())}
        if way[0] in stages:
            place = stages[way[0]]
        elif way[0] in (*_TABLES, "models"):
            place = tables.setdefault(way[0], {})
        else:
            problems.append(
                Problem(
                    f"--set {text}",
                    f"no stage or table {way[0]!r}",
                    did_you_mean(way[0], (*stages, *_TABLES, "models")),
                )
            )
            continue
        for step in way[1:]:
            inner = place.get(step, {})
            place[step] = inner if isinstance(inner, dict) else {"id": inner}  # models.writer.dtype of a plain name
            place = place[step]
        place[last] = _value(value.strip())
    if problems:
        raise RecipeError(problems, origin)
    return tables


def _id(entry: Mapping[str, Any], folder: Path | None) -> str:
    """The id of a stage: its own, else the name of what it uses."""
    use = str(entry.get("use"))
    if "id" in entry or ":" not in use:
        return entry.get("id", use)
    try:
        return catalog.stage_class(use, folder).name
    except LimbeckError:  # which is told when the recipe is checked
        return use


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _models(table: Any, problems: list[Problem]) -> dict[str, ModelSpec]:
    if not isinstance(table, dict):
        problems.append(Problem("models", "expected a table of names and models"))
        return {}
    found = {name: _validated(ModelSpec, value, f"models.{name}", problems) for name, value in table.items()}
    return {name: spec for name, spec in found.items() if spec is not None}


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
        for setting, role in () if specs is None else model_settings(table.stage).items():
            name = getattr(table.stage, setting)
            if name is None:
                continue
            if name not in specs:
                problems.append(
                    Problem(f"{key}.{setting}", f"no model {name!r} in [models]", did_you_mean(name, specs))
                )
            elif wrong := models.unfit(specs[name], role, folder):
                problems.append(Problem(f"models.{name}", f"{wrong} (used by {key}.{setting})"))
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
    stage = _validated(cls, settings, key, problems)
    by = _overrides(cls, None if stage is None else settings, entry.get("by", {}), f"{key}.by", problems)
    if stage is None:
        return None
    return StageTable(entry.get("id", cls.name), use, stage, by)


def _overrides(
    cls: type[Stage], settings: dict[str, Any] | None, by: Any, key: str, problems: list[Problem]
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
            for name in changes.keys() - {*allowed}:
                problems.append(
                    Problem(f"{where}.{name}", "not a threshold of this stage", did_you_mean(name, allowed))
                )
            known = {name: change for name, change in changes.items() if name in allowed}
            if settings is None:  # they are wrong themselves: there is nothing to put a threshold on
                continue
            stage = _validated(cls, settings | known, where, problems)
            found.setdefault(column, {})[value] = stage
    return found


def _validated(model: type, value: Any, key: str, problems: list[Problem]) -> Any:
    """The validated value, or None and its problems."""
    try:
        return TypeAdapter(model).validate_python(value)
    except ValidationError as error:
        problems += (_problem(each, key, model) for each in error.errors(include_url=False))
        return None


def _problem(error: Mapping[str, Any], key: str, model: type) -> Problem:
    where = ".".join((key, *(str(step) for step in error["loc"])))
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return Problem(where, "unknown key", did_you_mean(str(error["loc"][-1]), _known(model)))
    if error["type"] in ("missing", "missing_argument"):
        return Problem(where, "missing")
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = repr(error["input"])
    if isinstance(error["input"], str | int | float | bool) and len(shown) < 80:
        message += f"; found {shown}"
    return Problem(where, message)


def _known(model: type) -> Iterable[str]:
    fields = model.model_fields if issubclass(model, BaseModel) else model.__pydantic_fields__
    return fields.keys()
