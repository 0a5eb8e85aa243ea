"""The recipe of a student: TOML in, checked settings out; every problem at once, each with its key.

    [distill]                       name, seed, licence: what the student is called and given out under
    [source]                        rows: a build, the storybook, ..., as in the recipe of a dataset
    [models]                        named freely; the student's settings say which it uses
    [student]  use = "encoder"      a file of distill/students/, and its own settings
    [budget]                        how many labelled and unlabelled rows
    [views]                         augmentation that teacher and student share
    [cache]  [train]  [arms]  [evaluate]  [export]

`[source]`, `[models]` and `--set` mean what they mean in `limbeck.recipe`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import tomli_w
from pydantic import BaseModel

from distill import catalog
from distill.student import Student, sensible_arms
from distill.tables import (
    ArmsTable,
    BudgetTable,
    CacheTable,
    DistillTable,
    EvaluateTable,
    ExportTable,
    StudentSource,
    TrainTable,
)
from distill.views import ViewsTable
from limbeck.errors import LimbeckError, Problem, RecipeError, did_you_mean
from limbeck.models.spec import ModelSpec
from limbeck.recipe_tables import check_models, model_specs, read_tables, validated, with_sets, without_none
from limbeck.stage import models_of, settings_of

_INCIDENTAL = ("micro_batch", "workers", "checkpoint_every")
"""Of `[train]`: what a training's result doesn't depend on, so that changing it doesn't start a training anew."""
_LICENCE = ("license",)
_TABLES: dict[str, type[BaseModel]] = {
    "distill": DistillTable,
    "source": StudentSource,
    "budget": BudgetTable,
    "views": ViewsTable,
    "cache": CacheTable,
    "train": TrainTable,
    "arms": ArmsTable,
    "evaluate": EvaluateTable,
    "export": ExportTable,
}
_NEEDED = ("distill", "source")
_KNOWN = (*_TABLES, "models", "student")


@dataclass(frozen=True)
class DistillRecipe:
    """A checked recipe of a student.

    Attributes:
        use: which student.
        student: its settings.
        folder: what relative paths are relative to.
        origin: the file it came from, or a word for it.
    """

    distill: DistillTable
    source: StudentSource
    models: Mapping[str, ModelSpec]
    use: str
    student: Student
    budget: BudgetTable
    views: ViewsTable
    cache: CacheTable
    train: TrainTable
    arms: ArmsTable
    evaluate: EvaluateTable
    export: ExportTable
    folder: Path
    origin: str

    def tables(self) -> dict[str, Any]:
        """The recipe as TOML tables, with every default written out."""
        own = {name: getattr(self, name).model_dump(mode="json") for name in _TABLES if name != "source"}
        return without_none(
            {
                "distill": own.pop("distill"),
                "source": self.source.model_dump(mode="json", exclude_defaults=True),
                "models": {n: spec.model_dump(mode="json", exclude_defaults=True) for n, spec in self.models.items()},
                "student": {"use": self.use, **settings_of(self.student)},
                **own,
            }
        )

    @property
    def arm(self) -> str:
        """The arm that makes the student which is given out."""
        return self.arms.arm or ("both" if "both" in sensible_arms(self.student) else sensible_arms(self.student)[0])

    def toml(self) -> str:
        """The recipe as TOML, with every default written out."""
        return tomli_w.dumps(self.tables(), multiline_strings=True)

    def digest(self) -> str:
        """Changes with anything in it."""
        return _digest(self.tables())

    def training_digest(self) -> str:
        """Changes with what a training's weights depend on.

        Not with what the student is called, with licences, with models that it doesn't use, with what only the card
        shows, with how a step is cut, or how often it is saved.
        """
        tables = self.tables()
        train = _without(tables["train"], _INCIDENTAL)
        used = {name for name, _ in models_of(self.student).values()}
        return _digest(
            {
                "seed": self.distill.seed,
                "source": _without(tables["source"], _LICENCE),
                "models": {name: spec for name, spec in tables["models"].items() if name in used},
                "student": _without(tables["student"], self.student.shown),
                "budget": tables["budget"],
                "views": tables["views"],
                "train": train | {"phases": {n: _without(own, _INCIDENTAL) for n, own in train["phases"].items()}},
            }
        )


def _without(table: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name not in names}


def _digest(tables: dict[str, Any]) -> str:
    return hashlib.blake2b(orjson.dumps(tables, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def is_distill_recipe(tables: Mapping[str, Any]) -> bool:
    """Whether these are the tables of a student, not of a dataset."""
    return "student" in tables or "distill" in tables


def load(recipe: str | Path | DistillRecipe, *, sets: Sequence[str] = ()) -> DistillRecipe:
    """Reads and checks a recipe file.

    Args:
        recipe: path of a TOML file, or a recipe, which comes back as it is when nothing is set.
        sets: overrides such as `train.steps=200`, `student.hidden_size=48`, `models.teacher=mini:clip`.

    Raises:
        RecipeError: all its problems at once.
    """
    if isinstance(recipe, DistillRecipe):
        if not sets:
            return recipe
        tables, folder, origin = recipe.tables(), recipe.folder, recipe.origin
    else:
        tables, origin = read_tables(recipe), str(recipe)
        folder = Path(recipe).expanduser().resolve().parent
    return checked(with_sets(tables, sets, origin, _KNOWN, example="train.steps=200"), folder=folder, origin=origin)


def checked(tables: Mapping[str, Any], *, folder: Path, origin: str) -> DistillRecipe:
    """Checks a whole recipe.

    Raises:
        RecipeError: with every problem found.
    """
    problems: list[Problem] = []
    if "stages" in tables and not is_distill_recipe(tables):
        found = "this is the recipe of a dataset"
        raise RecipeError([Problem("stages", found, "build it with `limbeck run`; a student's has [student]")], origin)
    for key in sorted(tables.keys() - {*_KNOWN}):
        problems.append(Problem(key, "unknown table", did_you_mean(key, _KNOWN)))
    parts: dict[str, Any] = {}
    for name, model in _TABLES.items():
        if name in _NEEDED and name not in tables:
            problems.append(Problem(name, f"the table [{name}] is missing"))
            continue
        parts[name] = validated(model, tables.get(name, {}), name, problems)
    specs = model_specs(tables.get("models", {}), problems)
    use, student = _student(tables.get("student"), folder, problems)
    if student is not None:
        check_models(student, specs, "student", folder, problems)
        problems += _fits(student, specs, parts)
    if problems:
        raise RecipeError(problems, origin)
    return DistillRecipe(models=specs, use=use, student=student, folder=folder, origin=origin, **parts)


def _student(table: Any, folder: Path, problems: list[Problem]) -> tuple[str, Student | None]:
    if not isinstance(table, dict) or not isinstance(table.get("use"), str):
        known = ", ".join(sorted(catalog.files()))
        problems.append(Problem("student.use", "missing", f"name a student: {known}"))
        return "", None
    try:
        cls = catalog.student_class(table["use"], folder)
    except LimbeckError as error:
        problems.append(Problem("student.use", str(error)))
        return table["use"], None
    settings = {name: value for name, value in table.items() if name != "use"}
    return table["use"], validated(cls, settings, "student", problems)


def _fits(student: Student, specs: Mapping[str, ModelSpec], parts: Mapping[str, Any]) -> list[Problem]:
    """What the shared tables say that this student doesn't know."""
    problems = []
    if train := parts.get("train"):
        problems += _unfit_adapter(student, train, "train")
        for name in sorted(train.weights.keys() - student.terms.keys()):
            problems.append(Problem(f"train.weights.{name}", "no such loss term", did_you_mean(name, student.terms)))
        for name, table in train.phases.items():
            if name not in student.phases:
                problems.append(Problem(f"train.phases.{name}", "no such phase", did_you_mean(name, student.phases)))
            elif "weights" in table:
                found, hint = "loss terms weigh the same in all phases", "set train.weights"
                problems.append(Problem(f"train.phases.{name}.weights", found, hint))
            else:
                own = train.model_dump(exclude={"phases"}, exclude_unset=True)
                phase = validated(TrainTable, own | table, f"train.phases.{name}", problems)
                if phase is not None and "adapter" in table:
                    problems += _unfit_adapter(student, phase, f"train.phases.{name}")
    if arms := parts.get("arms"):
        known = sensible_arms(student)
        for name in {*arms.names, *([arms.arm] if arms.arm else [])} - {*known}:
            hint = f"{student.name} has: {', '.join(known)}"
            problems.append(Problem("arms", f"no loss term is left in the arm {name!r}", hint))
    if export := parts.get("export"):
        for name in {*export.formats} - {*student.formats}:
            hint = did_you_mean(name, student.formats)
            problems.append(Problem("export.formats", f"{student.name} doesn't leave as {name!r}", hint))
        for name in sorted(export.max_loss.keys() - {*student.formats, "default"}):
            hint = did_you_mean(name, (*student.formats, "default"))
            problems.append(Problem(f"export.max_loss.{name}", "no such format", hint))
    if (evaluate := parts.get("evaluate")) and evaluate.judge not in ("truth", "mini:reader", *specs):
        hint = did_you_mean(evaluate.judge, ("truth", "mini:reader", *specs))
        problems.append(Problem("evaluate.judge", f"no judge {evaluate.judge!r}", hint))
    return problems


def _unfit_adapter(student: Student, train: TrainTable, where: str) -> list[Problem]:
    kind = train.adapter and train.adapter.kind
    if kind is None or kind in student.adapters:
        return []
    known = " or ".join(f'"{name}"' for name in student.adapters)
    found = f"the student {student.name!r} has no {kind!r} adapter"
    return [Problem(f"{where}.adapter.kind", found, f"expected {known or 'none'}; prompts need a language model")]
