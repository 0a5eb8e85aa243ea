"""What a stage is: a frozen dataclass whose fields are its settings, and one idea.

    from limbeck.stage import Decision, Filter, ModelRole, settings

    @settings
    class ClipPair(Filter):
        '''Drops pairs whose pictures don't fit their captions.'''

        name: ClassVar = "clip_pair"
        version: ClassVar = 1
        reads: ClassVar = columns("original_image", "edited_image", "original_prompt", "edited_prompt")
        writes: ClassVar = columns("clip_sim_dir", model="matcher")
        reasons: ClassVar = ("direction_low",)

        matcher: Annotated[str, ModelRole("score")] = "matcher"      # name in the recipe's [models]
        min_direction: Annotated[float, Decision()] = 0.2            # a threshold: not in the part's key

        def score(self, rows, run): ...      # expensive: one dict of added columns for each row
        def decide(self, row): ...           # pure: the reasons against this row

A row is a dict of plain Python values with an `id`; pictures travel as encoded bytes. A stage sees rows and a `Run`
handle; never clocks, environment, the rest of the recipe or paths that no setting names. The runner owns parts, resume,
counts and order.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, dataclass_transform

import pydantic
import pydantic.dataclasses

from limbeck.errors import ContractError, ModelError
from limbeck.paths import beside

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pyarrow as pa

    from limbeck.models.roles import ChatAnswer, Role

Row = dict[str, Any]
Reasons = tuple[str, ...]
_Class = TypeVar("_Class", bound=type)


def beside_recipe(path: str, info: pydantic.ValidationInfo) -> Path:
    """Where a path among the settings leads while they are checked; a validator's `Run.path`.

    Relative ones begin at the recipe's folder, in settings of no recipe at the working folder.
    """
    return beside((info.context or {}).get("folder"), path)


@dataclass(frozen=True)
class Decision:
    """Marks a setting that only decides (a threshold, a count to keep): changing it recomputes no score."""


@dataclass(frozen=True)
class ModelRole:
    """Marks a setting that names one of the recipe's models; its fingerprint enters the key of every part."""

    role: Role


@dataclass(frozen=True)
class Drop:
    """A row that a stage turns away by its own rule.

    Attributes:
        id: the input row's id.
        reason: one of the stage's `reasons`.
        detail: what exactly, for a person.
    """

    id: str
    reason: str
    detail: str = ""

    def __bool__(self) -> bool:
        raise TypeError("a Drop has no truth value: test `isinstance(result, Drop)`")


@dataclass(frozen=True)
class Failed:
    """A row on which a model failed; it counts towards `run.max_error_rate` and `--retry-failed` tries it again."""

    id: str
    error: ModelError

    def __bool__(self) -> bool:
        raise TypeError("a Failed has no truth value: test `isinstance(result, Failed)`")


class Run(Protocol):
    """What a stage may ask of the runner."""

    stage_id: str
    """The stage's id in the recipe."""
    log: logging.Logger

    def model(self, name: str) -> Any:
        """The backend of one of the recipe's models, loaded on first use; `name` is what a `ModelRole` field holds."""

    def fingerprint(self, name: str) -> str:
        """That model's fingerprint, without loading it."""

    def computed(self, column: str, model: str) -> bool:
        """Whether the incoming rows hold `column` already, computed by a model with this model's fingerprint."""

    def path(self, setting: str) -> Path:
        """Where a path among the settings leads: relative ones begin at the recipe's folder."""

    def rng(self, row_id: str, draw: int = 0) -> np.random.Generator:
        """Random numbers that depend on recipe seed, stage, row and draw alone."""

    def seed(self, row_id: str, draw: int = 0) -> int:
        """The same as a 64-bit seed."""

    async def chat(
        self,
        name: str,
        messages: list[dict[str, Any]],
        *,
        row_id: str,
        draw: int = 0,
        attempt: int = 0,
        **parameters: Any,
    ) -> ChatAnswer:
        """Asks a chat model; a paid answer is journalled before it is returned, and never paid twice.

        Args:
            name: what a `ModelRole("chat")` field holds.
            messages: the conversation.
            row_id: the row it is asked for.
            draw: which of the row's independent answers.
            attempt: which try at this draw (a repair round is the next attempt).
            parameters: `schema`, `temperature`, `max_tokens`, `seed` of `ChatModel.complete`; without `seed` the
                runner's own `seed(row_id, draw)` is sent.

        Raises:
            ModelError: the model failed after the client's own retries.
        """

    def count(self, name: str, amount: float = 1) -> None:
        """Adds to a counter of the stage's report, such as pictures rendered."""


class Stage:
    """What generators and filters have in common. Write `@settings class X(Generator)` or `(Filter)`."""

    name: ClassVar[str]
    """Its file's name."""
    version: ClassVar[int] = 1
    """Raised when the same input gives other output."""
    reads: ClassVar[tuple[pa.Field, ...]] = ()
    """Columns it needs; see `limbeck.records.columns`. A property where they depend on settings."""
    reads_if_there: ClassVar[tuple[pa.Field, ...]] = ()
    """Columns that it sees besides where a stage before made them; a row lacks the key of one that isn't there."""
    writes: ClassVar[tuple[pa.Field, ...]] = ()
    """Columns it adds. Of a filter, those that aren't canonical are stored as `STAGE_ID.column`."""
    reasons: ClassVar[Reasons] = ()
    """Every reason for which it can drop a row."""
    fills: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Settings that give others their values where a recipe leaves those out, such as a preset of thresholds."""


class Generator(Stage):
    """Makes rows out of rows. It has one of

    - `generate(self, rows: list[Row], run: Run) -> Iterable[Row | Drop | Failed]`: a part's rows at once, in
      batches of its own;
    - `async generate_one(self, row: Row, run: Run) -> Iterable[Row | Drop | Failed]`: where it waits for somebody
      else; the runner has many under way.

    A child's id is `parent/ordinal`. A child is a dict of the new columns (columns of the parent may be repeated;
    the runner joins them anyway). A row for which nothing comes back has to come back as a `Drop`.
    A `ModelError` raised in `generate_one` fails that row; raised in `generate` it fails all rows of the part.
    """


class Filter(Stage):
    """Scores rows, then decides. Scores are stored for every row, so that a new threshold costs no computing.

    Scores (optional), one of

    - `score(self, rows: list[Row], run: Run) -> list[Row | Drop | Failed]`: the added columns for each row, in order;
    - `async score_one(self, row: Row, run: Run) -> Row | Drop | Failed`.

    A decision, one of these; pure functions of `decides_on` columns that return reasons, none for a row to keep:

    - `decide(self, row: Row) -> Reasons`, and optionally the same for whole columns, which is what the runner then
      uses: `decide_columns(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]`, reason to boolean mask;
    - `decide_group(self, siblings: list[Row]) -> list[Reasons]`: sees the rows still alive that share `group_by`;
    - `decide_all(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]`: sees all rows of the dataset that
      are still alive, in order. What follows it waits for every part.
    """

    survivors_only: ClassVar[bool] = False
    """True for a costly filter: rows that earlier filters drop aren't scored; a laxer threshold there has to be run."""
    group_by: ClassVar[str] = "parent_id"
    """Column that siblings share: `parent_id`, `source_id`, or any other; a ClassVar or a setting."""

    def decides_on(self) -> tuple[str, ...]:
        """Names of the columns that the decision reads: its own scores, unless it says more."""
        return tuple(field.name for field in self.writes)

    def decides_if_there(self) -> tuple[str, ...]:
        """Further columns for the decision where a stage before made them; without them it is made all the same."""
        return ()


@dataclass_transform(frozen_default=True)
def settings(cls: _Class) -> _Class:
    """Makes a stage's fields its settings: a frozen pydantic dataclass that refuses unknown keys and wrong types."""
    config = pydantic.ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False)
    return pydantic.dataclasses.dataclass(frozen=True, config=config)(cls)


@cache
def _marked(cls: type[Stage], marker: type) -> dict[str, Any]:
    fields = cls.__pydantic_fields__  # type: ignore[attr-defined]
    return {name: mark for name, info in fields.items() for mark in info.metadata if isinstance(mark, marker)}


def decision_settings(stage: Stage | type[Stage]) -> tuple[str, ...]:
    """Names of the settings that only decide."""
    return tuple(_marked(stage if isinstance(stage, type) else type(stage), Decision))


def model_settings(stage: Stage | type[Stage]) -> dict[str, Role]:
    """Names of the settings that name a model, each with its role."""
    marks = _marked(stage if isinstance(stage, type) else type(stage), ModelRole)
    return {name: mark.role for name, mark in marks.items()}


def settings_of(stage: Stage) -> dict[str, Any]:
    """A stage's settings as JSON-like values; `type(stage)(**settings_of(stage)) == stage`."""
    return pydantic.TypeAdapter(type(stage)).dump_python(stage, mode="json")


def models_of(stage: Stage) -> dict[str, tuple[str, Role]]:
    """The models a stage uses: setting to (name in the recipe, role); settings that hold none are left out."""
    named = ((setting, getattr(stage, setting), role) for setting, role in model_settings(stage).items())
    return {setting: (name, role) for setting, name, role in named if name}


def scores(stage: Stage) -> bool:
    """Whether a filter computes anything before it decides."""
    return hasattr(stage, "score") or hasattr(stage, "score_one")


def waits(stage: Stage) -> bool:
    """Whether a stage is written as a coroutine per row."""
    return hasattr(stage, "generate_one") or hasattr(stage, "score_one")


def decision_form(stage: Filter) -> Literal["row", "group", "all"]:
    """How a filter decides.

    Raises:
        ContractError: it has no decision, or several.
    """
    forms = {"row": "decide", "group": "decide_group", "all": "decide_all"}
    found = [form for form, method in forms.items() if hasattr(stage, method)]
    if len(found) != 1:
        raise ContractError(f"filter {stage.name!r} has {len(found)} of {', '.join(forms.values())}; expected one")
    return found[0]
