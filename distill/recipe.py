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
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import tomli_w
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from distill import catalog
from distill.arm_names import ARMS
from distill.student import Student, sensible_arms
from distill.views import ViewsTable
from limbeck.errors import LimbeckError, Problem, RecipeError, did_you_mean
from limbeck.models.spec import ModelSpec
from limbeck.recipe import SourceTable
from limbeck.recipe_tables import check_models, model_specs, read_tables, validated, with_sets, without_none
from limbeck.stage import models_of, settings_of

_STRICT = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
_Share = Annotated[float, Ge(0), Le(1)]


class DistillTable(BaseModel):
    """`[distill]`: what is made.

    Attributes:
        name: of the student, as on the Hub.
        title: for people; by default made from the name.
        description: for the card.
        license: SPDX identifier of the student.
        seed: all randomness comes from it.
        tags: for the card.
    """

    model_config = _STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]
    title: str = ""
    description: str = ""
    license: str = "other"
    seed: Annotated[int, Ge(0), Lt(2**63)] = 0
    tags: tuple[str, ...] = ()


class StudentSource(SourceTable):
    """`[source]` of a student: that of a dataset, and more builds beside the first.

    Attributes:
        also: of `build`: folders of further builds of the same record; in each split their rows alternate.
    """

    also: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _beside_a_build(self) -> StudentSource:
        if self.also and (self.build is None or self.stage is not None):
            raise ValueError("`also` goes with `build`, and takes published rows; expected build = ... without a stage")
        return self


class BudgetTable(BaseModel):
    """`[budget]`: how much of the training split may be used, and how.

    Attributes:
        labelled: rows whose label may be seen; None is all.
        unlabelled: further rows of which the teacher alone may say something; None is all the others.
        labelled_share: of a batch, in arms that see both kinds.
    """

    model_config = _STRICT

    labelled: Annotated[int, Ge(1)] | None = None
    unlabelled: Annotated[int, Ge(0)] | None = None
    labelled_share: _Share = 0.5


class CacheTable(BaseModel):
    """`[cache]`: what is kept of the teacher, beside the dataset.

    Attributes:
        folder: where; by default `teacher/NAME` beside the rows.
        part_rows: dataset rows in a part, the unit of resuming.
    """

    model_config = _STRICT

    folder: str | None = None
    part_rows: Annotated[int, Gt(0)] = 1000


class AdapterTable(BaseModel):
    """`[train] adapter`: trains a few weights beside frozen ones, through `peft`.

    Attributes:
        kind: `lora`, or `prompt` for prompt tuning of a student's language model.
        rank: of LoRA's matrices.
        alpha: LoRA's scale; what is added is alpha / rank times the product.
        dropout: of LoRA's input.
        targets: names (ends of names) of the layers that get it; by default all linear layers.
        tokens: soft tokens of prompt tuning, with which every conversation begins.
    """

    model_config = _STRICT

    kind: Literal["lora", "prompt"]
    rank: Annotated[int, Gt(0)] = 16
    alpha: Annotated[float, Gt(0)] = 32.0
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    targets: tuple[str, ...] = ()
    tokens: Annotated[int, Gt(0)] = 16


class TrainTable(BaseModel):
    """`[train]`: how it is trained; `[train.phases.NAME]` differs from it where a student has several phases.

    Attributes:
        steps: optimiser steps.
        batch_size: rows of a step, over all processes and micro-batches.
        micro_batch: rows in memory at once; None is all of a process's. The result doesn't depend on it.
        lr: peak learning rate of AdamW.
        warmup: steps of linear warm-up.
        schedule: of the rate after it.
        restarts: steps at which the schedule begins again (warm restarts, Loshchilov & Hutter 2017).
        restart_lr: peak of those further rounds; by default that of the first.
        weight_decay: of matrices; vectors and scalars get none.
        betas: of AdamW.
        clip_norm: largest norm of a gradient.
        ema: decay of the moving average of the weights, ramped up from (1 + t) / (10 + t); 0 is none.
        weights: of loss terms, over those that the student declares.
        evaluate_every: steps between looks at the development rows.
        checkpoint_every: steps between checkpoints.
        patience: looks without a better main metric after which it stops; None goes on to the end.
        precision: `no` is float32; `bf16` and `fp16` are mixed. On a CPU without bfloat16 `bf16` is float32 too.
        adapter: peft, see `AdapterTable`.
        workers: processes that prepare batches; 0 is none.
    """

    model_config = _STRICT

    steps: Annotated[int, Gt(0)] = 1000
    batch_size: Annotated[int, Gt(0)] = 128
    micro_batch: Annotated[int, Gt(0)] | None = None
    lr: Annotated[float, Gt(0), Le(100)] = 1e-3
    warmup: Annotated[int, Ge(0)] = 100
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    restarts: tuple[Annotated[int, Gt(0)], ...] | None = None
    restart_lr: Annotated[float, Gt(0), Le(100)] | None = None
    weight_decay: Annotated[float, Ge(0)] = 0.05
    betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.9, 0.98)
    clip_norm: Annotated[float, Gt(0)] = 1.0
    ema: Annotated[float, Ge(0), Lt(1)] = 0.999
    weights: dict[str, Annotated[float, Ge(0)]] = {}
    evaluate_every: Annotated[int, Gt(0)] = 250
    checkpoint_every: Annotated[int, Gt(0)] = 250
    patience: Annotated[int, Gt(0)] | None = None
    precision: Literal["no", "bf16", "fp16"] = "no"
    adapter: AdapterTable | None = None
    workers: Annotated[int, Ge(0)] = 0
    phases: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _in_order(self) -> TrainTable:
        rounds = (self.warmup, *(self.restarts or ()))
        if self.restarts and any(a >= b for a, b in itertools.pairwise((*rounds, self.steps))):
            raise ValueError(
                f"restarts are {list(self.restarts)}; expected rising steps between warmup = {self.warmup} and"
                f" steps = {self.steps}"
            )
        return self

    def phase(self, name: str) -> TrainTable:
        """The settings of a phase."""
        own = self.model_dump(exclude={"phases"}, exclude_unset=True)
        return TrainTable(**own | self.phases.get(name, {}))


_INCIDENTAL = ("micro_batch", "workers", "checkpoint_every")
"""Of `[train]`: what a training's result doesn't depend on, so that changing it doesn't start a training anew."""
_LICENCE = ("license",)


class ArmsTable(BaseModel):
    """`[arms]`: what the comparison is between.

    Attributes:
        arm: the arm that makes the student which is given out; by default `both`, where it learns from both.
        names: arms of `--arms`; by default all that make sense here.
        seeds: trainings of each arm of `--arms`; paired, training n has the same first weights and data order in each.
        label: what the label is, in words, for the card.
        teacher: what the teacher gives, in words, for the card.
    """

    model_config = _STRICT

    arm: str | None = None
    names: tuple[str, ...] = ()
    seeds: Annotated[int, Ge(1)] = 6
    label: str = ""
    teacher: str = ""

    @field_validator("arm")
    @classmethod
    def _an_arm(cls, name: str | None) -> str | None:
        if name is not None and name not in ARMS:
            raise ValueError(f"no arm {name!r}; {did_you_mean(name, ARMS)}")
        return name

    @field_validator("names")
    @classmethod
    def _arms(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            cls._an_arm(name)
        return names


class EvaluateTable(BaseModel):
    """`[evaluate]`: on what it is judged, and by whom.

    Attributes:
        judge: a name of `[models]`, `mini:reader`, or `truth`: what the rows themselves say. Of another family than
            the teacher and the filters of the dataset.
        dev_split: looked at during training; where the dataset has none, one row in twenty of `train`.
        test_split: looked at once, at the end.
        dev_rows: at most so many.
        test_rows: at most so many; None is all.
    """

    model_config = _STRICT

    judge: str = "truth"
    dev_split: str = "validation"
    test_split: str = "test"
    dev_rows: Annotated[int, Gt(0)] = 500
    test_rows: Annotated[int, Gt(0)] | None = None

    @model_validator(mode="after")
    def _apart(self) -> EvaluateTable:
        if self.dev_split == self.test_split:
            raise ValueError(f"dev_split and test_split are both {self.test_split!r}; expected two splits")
        return self


class ExportTable(BaseModel):
    """`[export]`: in which formats it leaves, and what that may cost.

    Attributes:
        formats: see `distill.exports`; by default all that the student knows and that are installed.
        max_loss: most that the main metric may lose by a format, as a share of its value: format to share, `default`
            for the others.
        max_difference: most that an output of a file of full precision may differ from torch's.
        latency_runs: timed runs of one row, for p50 and p95.
    """

    model_config = _STRICT

    formats: tuple[str, ...] = ()
    max_loss: dict[str, _Share] = {"default": 0.01}
    max_difference: Annotated[float, Gt(0)] = 1e-4
    latency_runs: Annotated[int, Ge(5)] = 100

    def budget(self, format: str) -> float:
        """What a format may lose."""
        return self.max_loss.get(format, self.max_loss.get("default", 0.01))


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
