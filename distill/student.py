"""What a student is: one file in `distill/students/`, a frozen dataclass whose fields are its settings.

    from distill.student import Metric, Student, Term
    from limbeck.stage import ModelRole, settings

    @settings
    class Encoder(Student):
        '''An image encoder that answers in its teacher's space.'''

        name: ClassVar = "encoder"
        terms: ClassVar = {"feature": Term("teacher"), "contrast": Term("label", 0.5)}
        metrics: ClassVar = (Metric("zero_shot"), Metric("nll", better="lower"))

        teacher: Annotated[str, ModelRole("score")] = "teacher"      # a name of the recipe's [models]

It says what a row has to hold, what its teacher computes of it, how rows become tensors, what is lost on them, how
answers are scored and in which formats it leaves. Cache, trainer, arms, evaluation, export and card are shared, and
know nothing about pictures, texts or motion. The methods are called in the order in which they stand below.

A student file may import torch and the model libraries inside its methods; at its top it imports neither, so that a
wrong recipe is told at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from distill.arm_names import ARMS
from distill.views import View

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from torch import nn

    from distill.batches import Pools
    from distill.teacher import Teacher
    from distill.work import Work

Signal = Literal["label", "teacher", "both"]
Answers = dict[str, NDArray[Any]]
"""What a model says about rows: name to an array whose first axis is the rows."""


@dataclass(frozen=True)
class Term:
    """One term of the loss.

    Attributes:
        signal: what it learns from: the rows' labels, the teacher, or both at once (DKD). An arm leaves out the terms
            whose signal it may not see.
        weight: what it is multiplied with, unless the recipe's `[train] weights` says otherwise.
    """

    signal: Signal
    weight: float = 1.0


@dataclass(frozen=True)
class Metric:
    """One figure of an evaluation. The first of a student's metrics is the one that arms and budgets are judged by.

    Attributes:
        name: its key in `Scores.values`.
        better: which way is better.
        about: what it is, in words, for the card.
        to_teacher: it compares with the teacher, who by definition has the best there is: nothing is "retained" of it.
    """

    name: str
    better: Literal["higher", "lower"] = "higher"
    about: str = ""
    to_teacher: bool = False

    def beats(self, a: float, b: float) -> bool:
        """Whether a is better than b.

        >>> Metric("nll", "lower").beats(0.1, 0.2)
        True
        """
        return a > b if self.better == "higher" else a < b


@dataclass(frozen=True)
class Scores:
    """Answers, scored.

    Attributes:
        values: metric to figure.
        items: metric to one value for each row, (N,) float, NaN where it says nothing about that row; for metrics
            that are means over rows, so that intervals can be had by resampling rows.
        groups: (N,) of anything: rows of one group are alike (samples of one prompt), and are resampled together; None
            is the dataset's groups.
        more: whatever else the report should hold (curves, tables by bin), as JSON.
    """

    values: dict[str, float]
    items: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    groups: NDArray[Any] | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One training example, as a student sees it.

    Attributes:
        row: columns of the dataset, pictures as encoded bytes; it has an `id`.
        target: what the teacher says of this row under this view, column to array; None in arms without a teacher,
            and in the sham arm where no other row is exchangeable with this one.
        view: crop and flip that the teacher saw, to be applied to the row's picture as they are stored; its `index`
            tells several answers to one row apart, whatever else a teacher drew for each (noise, a time step).
        labelled: whether its label may be used.
        rng: random numbers of this example at this step; whatever is random about it comes from here, so that
            micro-batches, processes and resumed runs draw alike.
    """

    row: dict[str, Any]
    target: dict[str, NDArray[Any]] | None
    view: View
    labelled: bool
    rng: np.random.Generator


Batch = dict[str, "torch.Tensor"]


@dataclass(frozen=True)
class Exported:
    """A student as a plain function of tensors, which is what leaves for other runtimes.

    Attributes:
        module: `forward` takes the inputs in order and returns a tensor, or a tuple of them.
        inputs: example inputs by name, with a batch axis first.
        outputs: names of what it returns.
    """

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Predictor:
    """A model that can be asked, whichever runtime runs it: arrays by name in, arrays by name out.

    Attributes:
        ask: `Exported.module` in numpy: inputs by name, first axis the batch; outputs by name.
        runtime: such as `torch` or `onnx-int8`.
        model: the torch model itself where that is what runs; for students whose answers are more than one forward
            pass. None for exported files.
    """

    ask: Callable[[Mapping[str, NDArray[Any]]], Answers]
    runtime: str = "torch"
    model: nn.Module | None = None


class Student(ABC):
    """What is trained. Write `@settings class X(Student)` in `distill/students/x.py`."""

    name: ClassVar[str]
    """Its file's name."""
    version: ClassVar[int] = 1
    """Raised when the same recipe trains another model: finished trainings are done again."""
    reads: ClassVar[tuple[pa.Field, ...]] = ()
    """Columns that a row has to have; see `limbeck.records.columns`. A property where they depend on settings."""
    reads_if_there: ClassVar[tuple[pa.Field, ...]] = ()
    """Columns that it sees besides, where the dataset has them."""
    pictures: ClassVar[tuple[str, ...]] = ()
    """Of `reads`, pictures that views crop and flip."""
    dealt_by: ClassVar[tuple[str, ...] | None] = None
    """Columns that `takes` and `together` look at, of every training row before each phase; None is all, and slow."""
    terms: ClassVar[Mapping[str, Term]] = {}
    """The loss, term by term. A property where they depend on settings."""
    metrics: ClassVar[tuple[Metric, ...]] = ()
    """What it is judged by, the main one first. A property where they depend on settings."""
    phases: ClassVar[tuple[str, ...]] = ("train",)
    """Trainings one after the other, each from the end of the last; `[train.phases.NAME]` sets each."""
    adapters: ClassVar[tuple[str, ...]] = ("lora",)
    """Kinds of `[train] adapter` that its model can have; `prompt` takes one with `soft_ids`, see `distill.adapters`."""
    formats: ClassVar[tuple[str, ...]] = ("safetensors",)
    """Formats of `distill.exports` that it can leave in."""
    library: ClassVar[str] = "transformers"
    """Library that loads what `save` writes, for the card."""
    task: ClassVar[str] = ""
    """The Hub's name of what it does, such as `image-to-image`, for the card."""
    shown: ClassVar[tuple[str, ...]] = ()
    """Settings that only `card_sections` reads: changing them doesn't start a training anew."""
    judge_role: ClassVar[str | None] = None
    """Role that a model of `[evaluate] judge` plays; None asks no judge (`work.judge()`), and rows judge by their truth."""

    def check(self, work: Work) -> list[str]:
        """What makes this dataset or teacher unusable (vocabularies that differ, say), each as one sentence.

        Called before anything is computed; models may be looked at (`work.spec`), not loaded.
        """
        return []

    def taught_by(self, work: Work) -> Teacher | None:
        """What is cached of the teacher; None where there is none. Not loaded yet."""
        return None

    def texts(self, work: Work, dealt: Sequence[Pools]) -> Iterable[str]:
        """Texts whose states are asked of the teacher: of the rows of these pools, one for each seed."""
        return ()

    @abstractmethod
    def build(self, work: Work) -> nn.Module:
        """A fresh model on the CPU, float32. torch's random numbers are seeded: same seed, same weights."""

    def begin(self, model: nn.Module, phase: str, work: Work) -> None:  # noqa: B027 - most have nothing to prepare
        """Prepares a model for a phase: `requires_grad_` of what is trained, `eval` of what is frozen."""

    def takes(self, row: dict[str, Any], phase: str) -> int:
        """How often a walk through the training rows comes by a row in a phase: True or 1 is once, False or 0 never.

        Both of this and of `together` a row holds the columns `dealt_by` at least.
        """
        return True

    def exchangeable(self, row: dict[str, Any]) -> Hashable:
        """Rows of one kind may have each other's targets in the sham arm; those of no other: as long an answer, say."""
        return None

    @property
    def gathers(self) -> int:
        """How many rows of one `together` follow each other in the walk through the training rows.

        More than 1 reads them all.
        """
        return 1

    def together(self, row: dict[str, Any]) -> Hashable:
        """What gathered rows have in common; None where a row goes alone."""
        return None

    def length(self, row: dict[str, Any]) -> float:
        """Rows of about one length share a micro-batch, so that little is padded, unless they are gathered.

        Cutting a batch changes no result.
        """
        return 0

    def paces(self, phase: str) -> Mapping[str, float]:
        """Beginnings of parameters' names to the share of the learning rate that those learn at, where it isn't all."""
        return {}

    def teacher_passes(self, phase: str) -> float:
        """Forward passes of a teacher that is asked while the student trains, for each row of a step; 0 where none is."""
        return 0.0

    @property
    def prepares_apart(self) -> bool:
        """Whether `batch` may run in other processes than the one that trains: not where it opens something on the device."""
        return True

    @abstractmethod
    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """Examples to tensors on the CPU; may run in a worker process, see `prepares_apart`. A micro-batch is one call."""

    @abstractmethod
    def counts(self, batch: Batch) -> dict[str, float]:
        """How many items (or tokens) each term is a mean over, in this batch; 0 where a term says nothing.

        The trainer adds them up over all micro-batches and processes and divides sums by sums, so that nothing
        depends on how a batch was cut.
        """

    @abstractmethod
    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Each term as a *sum* over the batch, scalar float32. Terms that no arm asks for may be left out.

        `model` may be wrapped: call it, and read nothing off it (`distill.trainer.bare` gives what is inside).
        `work.terms` holds the terms that this arm asks for.
        """

    def predictor(self, model: nn.Module, work: Work) -> Predictor:
        """A torch model to be asked."""
        from distill.exports import torch_predictor

        return torch_predictor(self.exported(model, work), model, work.device)

    @abstractmethod
    def answer(self, predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """What the model says about held-out rows: the costly half of an evaluation."""

    def glance(self, model: nn.Module, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, float]:
        """Figures of the development rows during a training; by default the whole evaluation."""
        answers = self.answer(self.predictor(model, work), rows, work)
        return self.score(answers, rows, work, self.teacher_answers(rows, work)).values

    def glanced_by(self, phase: str) -> Metric:
        """The one of `glance`'s figures by which the best weights of a phase are chosen."""
        return self.metrics[0]

    def teacher_answers(self, rows: Sequence[dict[str, Any]], work: Work) -> Answers | None:
        """The same of the teacher, out of the cache; None where it can't be asked what the student is asked."""
        return None

    def baselines(self, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, Answers]:
        """Answers without any training (another method, a blind guess), scored and reported beside the student's."""
        return {}

    @abstractmethod
    def score(
        self, answers: Answers, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None
    ) -> Scores:
        """Scores answers against the rows' truth (and agreement with the teacher, where its answers are given)."""

    @abstractmethod
    def save(self, model: nn.Module, folder: Path, work: Work) -> None:
        """Writes what `from_pretrained` of the standard library loads: safetensors and configs."""

    @abstractmethod
    def load(self, folder: Path, work: Work) -> nn.Module:
        """The model of such a folder, by that very `from_pretrained`."""

    def exported(self, model: nn.Module, work: Work) -> Exported:
        """The model as a plain function of tensors; only students with other formats than safetensors need it."""
        raise NotImplementedError(f"{self.name} has no plain function of tensors")

    def card_sections(self, report: dict[str, Any], folder: Path, work: Work) -> str:
        """Further sections of the card, in Markdown; pictures for them go into `folder`."""
        return ""

    def usage(self, work: Work) -> str:
        """Lines of Python that load and use the saved folder, for the card."""
        return ""


def terms_for(student: Student, signals: Sequence[str], weights: Mapping[str, float]) -> dict[str, float]:
    """The terms that an arm may see, with their weights.

    Args:
        student: whose terms.
        signals: `label`, `teacher`, or both.
        weights: of the recipe, over those that the student declares.

    >>> class S: terms = {"ce": Term("label"), "kd": Term("teacher", 2.0), "dkd": Term("both")}
    >>> terms_for(S, ["label"], {}), terms_for(S, ["teacher"], {"kd": 3.0})
    ({'ce': 1.0}, {'kd': 3.0})
    """
    allowed = {*signals} | ({"both"} if {*signals} >= {"label", "teacher"} else set())
    return {
        name: float(weights.get(name, term.weight)) for name, term in student.terms.items() if term.signal in allowed
    }


def sensible_arms(student: Student) -> tuple[str, ...]:
    """Arms in which this student learns anything, and learns something else than in the arm before.

    >>> class S: terms = {"ce": Term("label")}
    >>> sensible_arms(S)
    ('labels',)
    """
    signals = {term.signal for term in student.terms.values()}
    if "both" in signals or signals == {"label", "teacher"}:
        return tuple(name for name, arm in ARMS.items() if terms_for(student, arm.signals, {}))
    return ("labels",) if signals == {"label"} else ("teacher",)
