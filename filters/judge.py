"""A chat model that sees rates each conversation against its picture by a rubric."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from annotated_types import Ge, Le
from pydantic import ValidationInfo, field_validator

from limbeck.answers import read_object
from limbeck.errors import BadAnswer, SettingError
from limbeck.pictures import image_block
from limbeck.prompts import messages, names, template_in
from limbeck.records import column, columns
from limbeck.stage import Decision, Drop, Failed, Filter, ModelRole, Reasons, Row, Run, settings
from limbeck.turns import text_of

AXES = ("true", "answers", "seen", "written")
SCHEMA: dict[str, Any] = {
    "title": "rating",
    "type": "object",
    "properties": {**{axis: {"type": "integer"} for axis in AXES}, "reason": {"type": "string"}},
    "required": [*AXES, "reason"],
    "additionalProperties": False,
}
_RUBRIC = (Path(__file__).parent / "prompts" / "judge.txt").read_text(encoding="utf-8")


@settings
class Judge(Filter):
    """Drops conversations that a seeing model rates low on any axis: true, answers, seen, written; each 1 to 5.

    A judge is an opinion. `answers_true` goes before it wherever truth is known, and errors put in on purpose say how
    much a judge is worth: `limbeck.calibration` gives the share of them that it finds, and of good rows that it
    drops, with intervals. Rate a sample and read its report before you let it decide.

    Differs: FineVision rates each turn on four axes with models that were given the text alone for two of them; this
    one always sees the picture and rates the row.
    """

    name: ClassVar = "judge"
    version: ClassVar = 1
    reads: ClassVar = columns("messages", "images")
    writes: ClassVar = (
        *(column(axis, pa.int32(), model="judge") for axis in AXES),
        column("judge_reason", pa.string(), model="judge"),
    )
    reasons: ClassVar = ("judged_untrue", "judged_poor")
    survivors_only: ClassVar = True

    judge: Annotated[str, ModelRole("chat")] = "judge"
    """The model; it has to see."""
    prompt: str = _RUBRIC
    """Template with $conversation, or the name of a .txt file that holds one, as seen from the recipe."""
    max_tokens: Annotated[int, Ge(16)] = 200
    """Upper bound of an answer, in tokens."""
    repair: Annotated[int, Ge(0), Le(4)] = 1
    """How often an answer that isn't a rating goes back."""
    min_true: Annotated[int, Decision(), Ge(1), Le(5)] = 4
    """Least rating of truth."""
    min_others: Annotated[int, Decision(), Ge(1), Le(5)] = 3
    """Least rating of the other axes."""

    @field_validator("prompt")
    @classmethod
    def _check_prompt(cls, value: str, info: ValidationInfo) -> str:
        value = template_in(value, info)
        if names(value) != {"conversation"}:
            raise SettingError(f"names {sorted(names(value))} in the prompt", expected="$conversation alone")
        return value

    async def score_one(self, row: Row, run: Run) -> Row | Drop | Failed:
        """One conversation's ratings.

        Raises:
            SettingError: the model doesn't see.
        """
        if not getattr(run.model(self.judge), "sees", False):
            raise SettingError(
                f"the model {self.judge!r} doesn't see",
                expected="one with `sees = true`",
                where=f"{run.stage_id}.judge",
            )
        conversation = messages(
            self.prompt, conversation="\n".join(f"{m['role']}: {text_of(m)}" for m in row["messages"])
        )
        conversation[-1]["content"] = [
            *map(image_block, row["images"] or ()),
            {"type": "text", "text": conversation[-1]["content"]},
        ]
        why = ""
        for attempt in range(1 + self.repair):
            answer = await run.chat(
                self.judge, conversation, row_id=row["id"], attempt=attempt, schema=SCHEMA, temperature=0.0,
                max_tokens=self.max_tokens,
            )  # fmt: skip
            try:
                return _ratings(answer.text)
            except ValueError as error:
                why = str(error)
                conversation = [
                    *conversation,
                    {"role": "assistant", "content": answer.text[:1000]},
                    {"role": "user", "content": f"That can't be used: {why}. Answer again, JSON only."},
                ]
        return Failed(row["id"], BadAnswer(f"no rating: {why}"))

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        low = ("judged_untrue",) if row["true"] < self.min_true else ()
        return low + (("judged_poor",) if min(row[axis] for axis in AXES[1:]) < self.min_others else ())


def _ratings(text: str) -> Row:
    found = read_object(text)
    ratings: Row = {}
    for axis in AXES:
        value = found.get(axis)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 5 or value != int(value):
            raise ValueError(f'"{axis}" is {value!r}; expected a whole number from 1 to 5')
        ratings[axis] = int(value)
    reason = found.get("reason")
    return ratings | {"judge_reason": reason if isinstance(reason, str) else ""}
