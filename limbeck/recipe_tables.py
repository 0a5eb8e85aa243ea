"""What every kind of recipe shares: TOML in, `--set` on top, tables checked by pydantic, all problems with their keys.

`limbeck.recipe_check` turns tables into the recipe of a dataset, `distill.recipe` into that of a student.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from limbeck import models
from limbeck.errors import Problem, RecipeError, did_you_mean
from limbeck.models.spec import ModelSpec
from limbeck.stage import model_settings

Tables = Mapping[str, Any]
Places = Callable[[dict[str, Any]], dict[str, dict[str, Any]]]
"""Tables of a recipe that `--set` reaches by another name than their key: the stages, by their ids."""


def read_tables(recipe: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        RecipeError: it isn't there, can't be read, or isn't TOML.
    """
    origin = str(recipe)
    try:
        return tomllib.loads(Path(recipe).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            [Problem(origin, "there is no such file", "`limbeck init` writes one to start from")]
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError([Problem(origin, f"can't be read: {error}")]) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError([Problem(origin, f"is not TOML: {error}")]) from None


def with_sets(
    tables: Tables,
    sets: Sequence[str],
    origin: str,
    known: Iterable[str],
    places: Places | None = None,
    example: str = "pairs.samples=8",
) -> dict[str, Any]:
    """Applies `KEY=VALUE` overrides; a value is TOML where it reads as such, else text.

    Args:
        tables: what TOML gives; left as it is.
        sets: the overrides.
        origin: the recipe, for messages.
        known: tables that a key can begin with, `models` among them.
        places: further tables by the name that a key begins with.
        example: of an override, for messages.

    >>> with_sets({"train": {}}, ["train.steps=10"], "recipe", ["train"])
    {'train': {'steps': 10}}

    Raises:
        RecipeError: no `=`, or a key that leads nowhere.
    """
    tables, known = copy.deepcopy(dict(tables)), tuple(known)
    problems = []
    for text in sets:
        key, equals, value = text.partition("=")
        *way, last = key.strip().split(".")
        if not equals or not way:
            problems.append(Problem(f"--set {text}", f"expected TABLE.KEY=VALUE, such as {example}"))
            continue
        named = places(tables) if places else {}
        if way[0] in named:
            place = named[way[0]]
        elif way[0] in known:
            place = tables.setdefault(way[0], {})
        else:
            hint = did_you_mean(way[0], (*named, *known))
            what = "stage or table" if places else "table"
            problems.append(Problem(f"--set {text}", f"no {what} {way[0]!r}", hint))
            continue
        for step in way[1:]:
            inner = place.get(step, {})
            place[step] = inner if isinstance(inner, dict) else {"id": inner}  # models.writer.dtype of a plain name
            place = place[step]
        place[last] = _value(value.strip())
    if problems:
        raise RecipeError(problems, origin)
    return tables


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def model_specs(table: Any, problems: list[Problem]) -> dict[str, ModelSpec]:
    """The entries of `[models]` that are right; what is wrong with the others joins `problems`."""
    if not isinstance(table, dict):
        problems.append(Problem("models", "expected a table of names and models"))
        return {}
    found = {name: validated(ModelSpec, value, f"models.{name}", problems) for name, value in table.items()}
    return {name: spec for name, spec in found.items() if spec is not None}


def check_models(
    settings: Any, specs: Mapping[str, ModelSpec], key: str, folder: Path, problems: list[Problem]
) -> None:
    """Looks at every setting that names a model: is it in `[models]`, can it play the role?

    Args:
        settings: an instance whose class went through `limbeck.stage.settings`.
        specs: the recipe's models.
        key: of the settings' table.
        folder: what relative model folders are relative to.
        problems: what is found joins them.
    """
    for setting, role in model_settings(settings).items():
        name = getattr(settings, setting)
        if not name or any(f"{problem.key}.".startswith(f"models.{name}.") for problem in problems):
            continue  # nobody's, or there and wrong: told already
        if name not in specs:
            problems.append(Problem(f"{key}.{setting}", f"no model {name!r} in [models]", did_you_mean(name, specs)))
        elif wrong := models.unfit(specs[name], role, folder):
            problems.append(Problem(f"models.{name}", f"{wrong} (used by {key}.{setting})"))


def validated(model: type, value: Any, key: str, problems: list[Problem], folder: Path | None = None) -> Any:
    """The validated value, or None and its problems; relative paths in it begin at `folder`."""
    try:
        return TypeAdapter(model).validate_python(value, context=None if folder is None else {"folder": folder})
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


def without_none(value: Any) -> Any:
    """Tables and lists without what is None, which TOML can't say.

    >>> without_none({"a": None, "b": [{"c": None, "d": 1}]})
    {'b': [{'d': 1}]}
    """
    if isinstance(value, dict):
        return {k: without_none(v) for k, v in value.items() if v is not None}
    return [without_none(v) for v in value] if isinstance(value, list | tuple) else value
