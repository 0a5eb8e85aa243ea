"""The tables of a student's recipe, all but `[models]`, `[student]` and `[views]`: what may stand in each, and its default."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from distill.arm_names import ARMS
from limbeck.errors import did_you_mean
from limbeck.recipe import SourceTable

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
        part_rows: dataset rows in a new part, the unit of resuming.
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
        weights: of loss terms, over those that the student declares; the same in all phases.
        evaluate_every: steps between looks at the development rows.
        checkpoint_every: steps between checkpoints.
        patience: looks without a better main metric after which it stops; None goes on to the end.
        precision: `no` is float32; `bf16` and `fp16` are mixed. On a CPU that is slower at it `bf16` is float32 too.
        adapter: peft, see `AdapterTable`.
        workers: processes that prepare batches; None is none on a CPU and up to four on a GPU, see `preparing`.
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
    workers: Annotated[int, Ge(0)] | None = None
    phases: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _in_order(self) -> TrainTable:
        if self.restart_lr and not self.restarts and not self.phases:
            raise ValueError("restart_lr is the peak of further rounds; expected `restarts` beside it")
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
