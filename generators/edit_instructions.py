"""A chat model writes an edit instruction and the edited caption for each caption: the text half of an edit pair."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect
from functools import cached_property
from hashlib import blake2b
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from limbeck.answers import fold, is_refusal, junk, read_object, script
from limbeck.declined import declines
from limbeck.edit_types import EDIT_TYPES, Example, canonical
from limbeck.errors import ModelError, SettingError
from limbeck.prompts import SHORT_EDIT, edit_answer, messages, names, template_in
from limbeck.records import columns
from limbeck.stage import Drop, Failed, Generator, ModelRole, Row, Run, settings

if TYPE_CHECKING:
    from limbeck.models.roles import ChatAnswer

FULL_EDIT = (Path(__file__).parent / "prompts" / "edit_instructions.txt").read_text(encoding="utf-8")
SCHEMA: dict[str, Any] = {
    "title": "edit",
    "type": "object",
    "properties": {"edit": {"type": "string"}, "output": {"type": "string"}},
    "required": ["edit", "output"],
    "additionalProperties": False,
}
_NAMES = {"caption", "caption_json", "edit_type", "meaning", "examples"}
_MOST_CALLS = 64  # of one draw: its attempts have numbers and seeds of their own below this


class _Rejected(Exception):
    """An answer that can't be used; `detail` is worded so that the model can mend it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@settings
class EditInstructions(Generator):
    """Writes `per_caption` instructions for each caption, of types drawn by quota, and accepts only what differs.

    An answer that can't be used goes back once with the reason (`repair`), then the caption is asked afresh with a
    newly drawn type (`retries`), then the row is dropped with the last reason. A miniature gets `short_prompt` and
    no repair, as it was trained; every other model gets `prompt`.

    Differs: InstructPix2Pix samples a fine-tuned GPT-3 at temperature 0.7 and drops replies that don't parse or
    leave the caption as it was; types, repair and the checks of text are ours.

    Attributes:
        writer: the chat model.
        per_caption: instructions for each caption.
        edit_types: share of each type, any scale; empty: all that the writer knows, alike.
        examples: your own examples of a type, each caption, instruction, edited caption; they replace the built-in.
        prompt: template (see `limbeck.prompts`), or the name of a .txt file that holds one, as seen from the recipe.
        short_prompt: template for miniatures.
        temperature: 0 is greedy.
        max_tokens: upper bound of an answer; one that runs into it is malformed.
        repair: how often a bad answer goes back with the reason.
        retries: how often a caption is asked afresh after that.
        max_caption_chars: longer captions are dropped, unasked.
        max_edit_chars: longer instructions aren't accepted.
        max_output_chars: longer edited captions aren't accepted.
        same_script: whether an answer has to be in the caption's script, or in Latin letters.
        max_overlap: siblings whose instructions share more than this fraction of words are duplicates.
    """

    name: ClassVar = "edit_instructions"
    version: ClassVar = 2
    reads: ClassVar = columns("caption")
    writes: ClassVar = columns(
        "original_prompt", "edit_prompt", "edited_prompt", "edit_type", "text_model", "prompt_digest"
    )
    reasons: ClassVar = (
        "caption_empty", "caption_too_long", "outside_world",
        "malformed", "unchanged", "too_long", "language", "refused", "unsuitable", "duplicate",
    )  # fmt: skip

    writer: Annotated[str, ModelRole("chat")] = "writer"
    per_caption: Annotated[int, Field(ge=1)] = 1
    edit_types: dict[str, float] = Field(default_factory=dict)
    examples: dict[str, list[Example]] = Field(default_factory=dict)
    prompt: str = FULL_EDIT
    short_prompt: str = SHORT_EDIT
    temperature: Annotated[float, Field(ge=0)] = 0.7
    max_tokens: Annotated[int, Field(ge=8)] = 256
    repair: Annotated[int, Field(ge=0, le=4)] = 1
    retries: Annotated[int, Field(ge=0, le=8)] = 2
    max_caption_chars: Annotated[int, Field(ge=1)] = 1000
    max_edit_chars: Annotated[int, Field(ge=1)] = 200
    max_output_chars: Annotated[int, Field(ge=1)] = 1000
    same_script: bool = True
    max_overlap: Annotated[float, Field(gt=0, le=1)] = 0.8

    @field_validator("edit_types")
    @classmethod
    def _check_types(cls, value: dict[str, float]) -> dict[str, float]:
        if any(not share >= 0 for share in value.values()) or (value and not sum(value.values()) > 0):
            raise SettingError(f"shares {value}", expected="numbers from 0, not all of them 0")
        return {canonical(kind): share for kind, share in value.items()}

    @field_validator("examples")
    @classmethod
    def _check_examples(cls, value: dict[str, list[Example]]) -> dict[str, list[Example]]:
        return {canonical(kind): examples for kind, examples in value.items()}

    @field_validator("prompt", "short_prompt")
    @classmethod
    def _check_prompt(cls, value: str, info: ValidationInfo) -> str:
        value = template_in(value, info)
        if unknown := names(value) - _NAMES:
            raise SettingError(f"unknown ${sorted(unknown)[0]} in a prompt", expected=", ".join(sorted(_NAMES)))
        if not names(value) & {"caption", "caption_json"}:
            raise SettingError("a prompt without the caption", expected="$caption or $caption_json")
        return value

    async def generate_one(self, row: Row, run: Run) -> list[Row | Drop | Failed]:
        """The instructions of one caption, less those that duplicate an earlier one."""
        caption = row["caption"] or ""
        if not fold(caption):
            return [Drop(row["id"], "caption_empty")]
        if len(caption) > self.max_caption_chars:
            return [Drop(row["id"], "caption_too_long", f"{len(caption)} characters")]
        outside = getattr(run.model(self.writer), "check_prompt", lambda _: None)(caption)
        if outside is not None:
            return [Drop(row["id"], "outside_world", outside)]
        draws = (self._one_draw(row["id"], caption, ordinal, run) for ordinal in range(self.per_caption))
        return self._without_duplicates(await asyncio.gather(*draws))

    async def _one_draw(self, row_id: str, caption: str, ordinal: int, run: Run) -> Row | Drop | Failed:
        try:
            return await self._write(row_id, caption, ordinal, run)
        except ModelError as error:  # its siblings stay
            return Failed(f"{row_id}/{ordinal}", error)

    async def _write(self, row_id: str, caption: str, ordinal: int, run: Run) -> Row | Drop:
        """One instruction: asks, repairs, asks afresh; `attempt` numbers the calls, so each has its own seed."""
        short = getattr(run.model(self.writer), "prompt_style", "full") == "short"
        kinds, cumulative = self._quotas(run)
        first = (run.rng(row_id).random() + ordinal) / self.per_caption % 1.0  # siblings are spread over the types
        redrawn = run.rng(row_id, 1 + ordinal).random(self.retries)
        attempt, rejected = 0, _Rejected("malformed")
        for position in (first, *redrawn):
            kind = kinds[bisect(cumulative, position)]
            conversation = self._messages(kind, caption, short)
            for _ in range(1 if short else 1 + self.repair):
                answer = await run.chat(
                    self.writer, conversation, row_id=row_id, draw=ordinal, attempt=attempt, schema=SCHEMA,
                    temperature=self.temperature, max_tokens=self.max_tokens,
                    seed=run.seed(row_id, ordinal * _MOST_CALLS + attempt),
                )  # fmt: skip
                attempt += 1
                try:
                    edit, output = self.read(answer, caption)
                except _Rejected as error:
                    rejected = error
                    if error.reason in ("refused", "unsuitable"):  # no repair helps
                        break
                    conversation = [
                        *conversation,
                        {"role": "assistant", "content": answer.text[: 2 * self.max_output_chars]},
                        {"role": "user", "content": f"That can't be used: {error.detail}. Answer again, JSON only."},
                    ]
                    continue
                return {
                    "id": f"{row_id}/{ordinal}",
                    "original_prompt": caption,
                    "edit_prompt": edit,
                    "edited_prompt": output,
                    "edit_type": kind,
                    "text_model": run.fingerprint(self.writer),
                    "prompt_digest": self._digests[short],
                }
        return Drop(f"{row_id}/{ordinal}", rejected.reason, rejected.detail)

    def read(self, answer: ChatAnswer, caption: str) -> tuple[str, str]:
        """Instruction and edited caption of an answer that can be used.

        Raises:
            _Rejected: it can't be.
        """
        if answer.finish_reason == "content_filter" or is_refusal(answer.text):
            raise _Rejected("refused", answer.text[:100])
        if answer.finish_reason == "length":
            raise _Rejected("malformed", f"the answer did not end within {self.max_tokens} tokens")
        try:
            found = read_object(answer.text)
        except ValueError as error:
            raise _Rejected("malformed", str(error)) from None
        edit, output = (found.get(key) for key in ("edit", "output"))
        if not isinstance(edit, str) or not isinstance(output, str):
            raise _Rejected("malformed", 'expected an object with the strings "edit" and "output"')
        edit, output = " ".join(edit.split()), " ".join(output.split())
        if not edit and not output:
            raise _Rejected("unsuitable", "the writer finds no such edit for this caption")
        if declined := next((text for text in (edit, output) if declines(text) and not declines(caption)), None):
            raise _Rejected("refused", declined[:100])
        if not fold(edit) or not fold(output):
            raise _Rejected("malformed", '"edit" and "output" must not be empty')
        if fold(output) == fold(caption):
            raise _Rejected("unchanged", 'the "output" caption is the old one; it must describe the edited picture')
        for text, most in ((edit, self.max_edit_chars), (output, self.max_output_chars)):
            if len(text) > most:
                raise _Rejected("too_long", f"{len(text)} characters where {most} are allowed")
            if strange := junk(text, caption):
                raise _Rejected("malformed", f"plain text is expected, found {strange!r}")
            if self.same_script and (written := script(text)) not in (None, "LATIN", script(caption)):
                raise _Rejected("language", f"the answer is in {written.lower()} letters, the caption isn't")
        return edit, output

    def _quotas(self, run: Run) -> tuple[list[str], list[float]]:
        """Edit types in a fixed order, and the upper end of each one's share of [0, 1), the last left out.

        Raises:
            SettingError: the recipe asks for a type that a miniature wasn't taught.
        """
        taught = getattr(run.model(self.writer), "world", {}).get("edit_types") or list(EDIT_TYPES)
        shares = {kind: share for kind, share in self.edit_types.items() if share > 0} or dict.fromkeys(taught, 1.0)
        if unknown := shares.keys() - set(taught):
            raise SettingError(
                f"edit type {sorted(unknown)[0]!r} is one that {self.writer!r} was not taught",
                expected=", ".join(taught),
                where=f"{run.stage_id}.edit_types",
            )
        kinds = sorted(shares)
        ends = list(accumulate(shares[kind] for kind in kinds))
        return kinds, [end / ends[-1] for end in ends[:-1]]

    def _messages(self, kind: str, caption: str, short: bool) -> list[dict[str, Any]]:
        examples = self.examples.get(kind, EDIT_TYPES[kind].examples)
        return messages(
            self.short_prompt if short else self.prompt,
            caption=" ".join(caption.split()),
            caption_json=json.dumps(caption, ensure_ascii=False),
            edit_type=kind,
            meaning=EDIT_TYPES[kind].meaning,
            examples="\n".join(
                f"Caption: {json.dumps(c, ensure_ascii=False)}\n{edit_answer(e, o)}" for c, e, o in examples
            ),
        )

    @cached_property
    def _digests(self) -> tuple[str, str]:
        """Digest of the full and of the short template."""
        full, short = (blake2b(text.encode(), digest_size=8).hexdigest() for text in (self.prompt, self.short_prompt))
        return full, short

    def _without_duplicates(self, results: list[Row | Drop | Failed]) -> list[Row | Drop | Failed]:
        kept: list[Row | Drop | Failed] = []
        seen: list[set[str]] = []
        for result in results:
            if isinstance(result, dict):
                words = set(fold(result["edit_prompt"]).split())
                if any(len(words & other) > self.max_overlap * len(words | other) for other in seen):
                    result = Drop(result["id"], "duplicate", result["edit_prompt"])
                else:
                    seen.append(words)
            kept.append(result)
        return kept
