"""What the three stages written by a chat model share: symbolic context in, a checked conversation out.

LLaVA's recipe: a model that sees nothing is told captions and boxes and writes as if it saw the picture. Here the boxes
go into all three types, answers are JSON by a schema, an answer that can't be used goes back once with the reason, and
what is said is checked by the filters that follow.

Source: Liu et al. 2023, Visual Instruction Tuning (arXiv 2304.08485), section 3.
Differs: their conversations saw captions only, and their answers were cut at a separator, which drops odd ones silently.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator

from limbeck.answers import fold, is_refusal, junk, read_object, script
from limbeck.declined import declines
from limbeck.errors import SettingError
from limbeck.pictures import image_block
from limbeck.prompts import messages, names, template_in
from limbeck.questions.context import SCHEMAS, SHORT_VISUAL, Task, long_boxes, short_boxes
from limbeck.questions.rows import check_shares
from limbeck.questions.view import View
from limbeck.records import columns
from limbeck.stage import Drop, Generator, ModelRole, Row, Run, settings
from limbeck.storybook import Scene
from limbeck.turns import Message, assistant, user

if TYPE_CHECKING:
    from limbeck.models.roles import ChatAnswer

LANGUAGES = {"en": ("English", "LATIN"), "ko": ("Korean", "HANGUL")}
"""Name, and the script that an answer in it is written in."""
_NAMES = {"task", "caption", "boxes", "language", "domain"}
_MOST_CALLS = 16  # of one draw


class Rejected(Exception):
    """An answer that can't be used; `detail` is worded so that the model can mend it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Context:
    """What the writer may know of one picture.

    Attributes:
        caption: one caption, or several, one a line.
        boxes: name and (x0, y0, x1, y1) as shares of width and height.
        image: encoded.
        scene: JSON of the scene where the truth is known.
    """

    caption: str
    boxes: tuple[tuple[str, tuple[float, ...]], ...]
    image: bytes
    scene: str | None = None


@settings
class VisualWriter(Generator):
    """Base of the three stages. A final class adds `task`, its prompt, and `turns_of`.

    Reasons: `no_picture` and `not_a_scene` (nothing to write about); `outside_world` (a miniature doesn't know a word,
    a task or a language); `malformed`, `language`, `refused`, `too_few_turns`, `too_long`: the last answer's fault.
    An answer is refused where it declines as a whole, and where one that it holds does.
    """

    task: ClassVar[Task]
    writes: ClassVar = columns(
        "messages", "images", "question_type", "template", "language", "answer_type", "scenes", "boxes", "image_hashes",
        "text_model", "prompt_digest",
    )  # fmt: skip
    reasons: ClassVar = (
        "no_picture", "not_a_scene", "outside_world", "malformed", "language", "refused", "too_few_turns", "too_long",
    )  # fmt: skip

    writer: Annotated[str, ModelRole("chat")] = "writer"
    """The chat model that writes."""
    of: Literal["scenes", "boxes", "captions"] = "scenes"
    """Where the context comes from: storybook scenes; pictures with captions and boxes; pictures with captions alone."""
    sees: bool = False
    """Sends the picture along, to a model that can see."""
    per_picture: Annotated[int, Field(ge=1, le=8)] = 1
    """Conversations for each picture."""
    languages: dict[str, float] = Field(default_factory=lambda: {"en": 1.0})
    """Share of each language."""
    domain: str = ""
    """What the pictures are and what matters in them, told to the writer: "stained tissue slides; name no diagnosis"."""
    prompt: str = ""
    """Template, or the name of a .txt file that holds one, as seen from the recipe; by default the one beside the stage."""
    short_prompt: str = SHORT_VISUAL
    """Template for miniatures."""
    temperature: Annotated[float, Field(ge=0)] = 0.7
    """0 is greedy."""
    max_tokens: Annotated[int, Field(ge=16)] = 800
    """Upper bound of an answer, in tokens; one that runs into it is malformed."""
    repair: Annotated[int, Field(ge=0, le=4)] = 1
    """How often a bad answer goes back with the reason."""
    retries: Annotated[int, Field(ge=0, le=4)] = 1
    """How often it is asked afresh after that."""
    max_answer_chars: Annotated[int, Field(ge=1)] = 4000
    """Longer answers are not accepted."""
    size_px: Annotated[int, Field(ge=16, le=1024)] = 64
    """Side of a drawn scene."""

    @field_validator("languages")
    @classmethod
    def _check_languages(cls, value: dict[str, float]) -> dict[str, float]:
        return check_shares("languages", value, tuple(LANGUAGES))

    @field_validator("prompt", "short_prompt")
    @classmethod
    def _check_prompt(cls, value: str, info: ValidationInfo) -> str:
        value = template_in(value, info)
        if unknown := names(value) - _NAMES:
            raise SettingError(f"unknown ${sorted(unknown)[0]} in a prompt", expected=", ".join(sorted(_NAMES)))
        if "caption" not in names(value):
            raise SettingError("a prompt without the caption", expected="$caption")
        return value

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """Captions, and what tells where things are."""
        more = {"scenes": ("scene",), "boxes": ("image", "boxes"), "captions": ("image",)}
        return columns("caption", *more[self.of])

    def turns_of(self, found: dict[str, Any], language: str, rng: Any) -> list[tuple[str, str]]:
        """Questions and answers of an object that the writer wrote.

        Raises:
            Rejected: it isn't what was asked for.
        """
        raise NotImplementedError

    async def generate_one(self, row: Row, run: Run) -> list[Row | Drop]:
        """The conversations about one picture."""
        context = self._context(row)
        if isinstance(context, Drop):
            return [context]
        model = run.model(self.writer)
        out: list[Row | Drop] = []
        for ordinal in range(self.per_picture):
            rng = run.rng(row["id"], ordinal)
            shares = sum(self.languages.values())
            language = str(rng.choice(list(self.languages), p=[share / shares for share in self.languages.values()]))
            if why := _outside(model, self.task, language, context.caption):
                out.append(Drop(f"{row['id']}/{ordinal}", "outside_world", why))
                continue
            out.append(await self._written(row["id"], ordinal, context, language, run, rng))
        return out

    async def _written(
        self, row_id: str, ordinal: int, context: Context, language: str, run: Run, rng: Any
    ) -> Row | Drop:
        short = getattr(run.model(self.writer), "prompt_style", "full") == "short"
        rejected, attempt = Rejected("malformed"), 0
        for _ in range(1 + self.retries):
            conversation = self._messages(context, language, short)
            for _ in range(1 if short else 1 + self.repair):
                answer = await run.chat(
                    self.writer, conversation, row_id=row_id, draw=ordinal, attempt=attempt, schema=SCHEMAS[self.task],
                    temperature=self.temperature, max_tokens=self.max_tokens,
                    seed=run.seed(row_id, ordinal * _MOST_CALLS + attempt),
                )  # fmt: skip
                attempt += 1
                try:
                    turns = self.read(answer, language, rng)
                except Rejected as error:
                    rejected = error
                    if error.reason == "refused":
                        break
                    conversation = [
                        *conversation,
                        {"role": "assistant", "content": answer.text[: self.max_answer_chars]},
                        {"role": "user", "content": f"That can't be used: {error.detail}. Answer again, JSON only."},
                    ]
                    continue
                return self._row(f"{row_id}/{ordinal}", context, turns, language, answer.model, short)
        return Drop(f"{row_id}/{ordinal}", rejected.reason, rejected.detail)

    def read(self, answer: ChatAnswer, language: str, rng: Any) -> list[tuple[str, str]]:
        """Questions and answers of a model's answer.

        Raises:
            Rejected: it can't be used.
        """
        if answer.finish_reason == "content_filter" or is_refusal(answer.text):
            raise Rejected("refused", answer.text[:100])
        if answer.finish_reason == "length":
            raise Rejected("malformed", f"the answer did not end within {self.max_tokens} tokens")
        try:
            found = read_object(answer.text)
        except ValueError as error:
            raise Rejected("malformed", str(error)) from None
        if declined := next((text for text in _answers(found) if declines(text)), None):
            raise Rejected("refused", declined[:100])
        turns = [(" ".join(q.split()), " ".join(a.split())) for q, a in self.turns_of(found, language, rng)]
        wanted, letters = LANGUAGES[language]
        for text in (text for turn in turns for text in turn):
            if not fold(text):
                raise Rejected("malformed", "a question or an answer is empty")
            if len(text) > self.max_answer_chars:
                raise Rejected("too_long", f"{len(text)} characters where {self.max_answer_chars} are allowed")
            if strange := junk(text):
                raise Rejected("malformed", f"plain text is expected, found {strange!r}")
            if (written := script(text)) not in (None, letters):
                raise Rejected("language", f"write in {wanted}; found {str(written).lower()} letters")
        return turns

    def _context(self, row: Row) -> Context | Drop:
        caption = row["caption"] or ""
        if self.of == "scenes":
            try:
                view = View(Scene.from_json(row["scene"]), self.size_px)
            except (TypeError, ValueError, KeyError) as error:
                return Drop(row["id"], "not_a_scene", f"{type(error).__name__}: {error}")
            boxes = tuple((thing.kind, tuple(view.box(thing))) for thing in view.scene.things)
            return Context(caption, boxes, view.png, view.json)
        if not row["image"]:
            return Drop(row["id"], "no_picture")
        boxes = tuple((box["name"], tuple(box["box"])) for box in row.get("boxes") or ())
        return Context(caption, boxes, row["image"])

    def _messages(self, context: Context, language: str, short: bool) -> list[dict[str, Any]]:
        said = messages(
            self.short_prompt if short else self.prompt,
            task=self.task,
            caption=context.caption if not short else " ".join(context.caption.split()),
            boxes=short_boxes(context.boxes) if short else long_boxes(context.boxes) or "(none given)",
            language=LANGUAGES[language][0],
            domain=self.domain,
        )
        if self.sees:
            said[-1]["content"] = [image_block(context.image), {"type": "text", "text": said[-1]["content"]}]
        return said

    @cached_property
    def _digests(self) -> tuple[str, str]:
        """Digest of the full and of the short template."""
        full, short = (
            blake2b(t.encode(), digest_size=8).hexdigest() for t in (self.prompt + self.domain, self.short_prompt)
        )
        return full, short

    def _row(
        self, row_id: str, context: Context, turns: Sequence[tuple[str, str]], language: str, model: str, short: bool
    ) -> Row:
        said: list[Message] = []
        for i, (question, answer) in enumerate(turns):
            said += [user(0, question) if i == 0 else user(question), assistant(answer)]
        return {
            "id": row_id,
            "messages": said,
            "images": [context.image],
            "question_type": self.task,
            "template": self.task,
            "language": language,
            "answer_type": "open",
            "scenes": [context.scene] if context.scene else [],
            "boxes": [{"image": 0, "name": name, "box": list(box)} for name, box in context.boxes],
            "image_hashes": [blake2b(context.image, digest_size=16).hexdigest()],
            "text_model": model,
            "prompt_digest": self._digests[short],
        }


def _answers(found: dict[str, Any]) -> Iterator[str]:
    """What an object answers, questions left out: whatever else may be wrong with it.

    >>> list(_answers({"turns": [{"question": "Is it?", "answer": "It is."}, None], "description": "A cat."}))
    ['A cat.', 'It is.']
    """
    turns = found.get("turns")
    for part in (found, *(turns if isinstance(turns, list) else ())):
        if isinstance(part, dict):
            yield from (part[name] for name in ("description", "answer") if isinstance(part.get(name), str))


def text_field(found: dict[str, Any], *names: str) -> list[str]:
    """Strings of an object.

    Raises:
        Rejected: one is missing, or isn't a string.
    """
    values = [found.get(name) for name in names]
    if not all(isinstance(value, str) for value in values):
        wanted = " and ".join(json.dumps(name) for name in names)
        raise Rejected(
            "malformed", f"expected an object with {wanted}, as {'strings' if len(names) > 1 else 'a string'}"
        )
    return values  # type: ignore[return-value]


def _outside(model: Any, task: Task, language: str, caption: str) -> str | None:
    """Why a miniature can't be asked, or None."""
    world = getattr(model, "world", None)
    if not world:
        return None
    if task not in world.get("visual_tasks", ()):
        return f"this miniature was not taught to write a {task}"
    if language not in world.get("languages", ("en",)):
        return f"this miniature writes {', '.join(world.get('languages', ('en',)))}, not {language}"
    return model.check_prompt(caption) if hasattr(model, "check_prompt") else None
