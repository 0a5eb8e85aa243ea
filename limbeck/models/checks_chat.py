"""Checks of a chat model: it answers in the schema that it is sent, and the same question alike."""

from __future__ import annotations

import asyncio
from typing import Any

from limbeck.answers import read_object
from limbeck.errors import LimbeckError
from limbeck.models.roles import ChatAnswer, ChatModel
from limbeck.prompts import SHORT_EDIT, messages
from limbeck.storybook.source import rows
from limbeck.verification import Check

_QUESTIONS = 8
_LEAST = 7
_PROMPT = (
    "[system]\nYou write image edits. Answer with one JSON object and nothing else.\n[user]\nCaption: $caption\n"
    'Think of one edit of kind "$edit_type". Answer as {"edit": the instruction in a few words, '
    '"output": the caption after the edit}.'
)
_SCHEMA: dict[str, Any] = {
    "title": "edit",
    "type": "object",
    "properties": {"edit": {"type": "string"}, "output": {"type": "string"}},
    "required": ["edit", "output"],
    "additionalProperties": False,
}


def checks(model: ChatModel, role: str) -> tuple[str, list[Check]]:
    """How it runs, and what was found."""
    prompt = SHORT_EDIT if getattr(model, "prompt_style", "full") == "short" else _PROMPT
    asked = [messages(prompt, caption=row["caption"], edit_type="recolour") for row in rows(_QUESTIONS, 11, things=1)]
    first, again = asyncio.run(_twice(model, asked))
    inside = [answer for answer in first if _wrong(answer) is None]
    why = next((f"; {wrong}" for wrong in map(_wrong, first) if wrong), "")
    found = [
        Check(
            "answers in the schema",
            len(inside) >= _LEAST,
            f"{len(inside)} of {_QUESTIONS}{why}",
            f"{_LEAST} of {_QUESTIONS}",
        )
    ]
    same = sum(a.text == b.text for a, b in zip(first, again, strict=True))
    local = hasattr(model, "_model")
    expected = f"{_QUESTIONS} of {_QUESTIONS}" if local else "any; a server owes none"
    found.append(
        Check("the same seed, the same answer", same == _QUESTIONS or not local, f"{same} of {_QUESTIONS}", expected)
    )
    counted = sum(answer.usage.completion_tokens > 0 for answer in first)
    found.append(
        Check(
            "tokens are counted", counted == _QUESTIONS, f"{counted} of {_QUESTIONS}", f"{_QUESTIONS} of {_QUESTIONS}"
        )
    )
    weights = getattr(model, "_model", None)
    return ("" if weights is None else f"{str(weights.dtype).removeprefix('torch.')} on {weights.device}"), found


async def _twice(model: ChatModel, asked: list[Any]) -> list[list[ChatAnswer]]:
    """All questions at once, with a seed each; then all again."""

    async def ask() -> list[ChatAnswer]:
        calls = (
            model.complete(question, schema=_SCHEMA, temperature=0.7, max_tokens=256, seed=i)
            for i, question in enumerate(asked)
        )
        return list(await asyncio.gather(*calls))

    try:
        return [await ask(), await ask()]
    finally:
        if hasattr(model, "aclose"):
            await model.aclose()


def _wrong(answer: ChatAnswer) -> str | None:
    """Why an answer isn't in the schema, or None."""
    if answer.finish_reason == "length":
        return "one didn't end within 256 tokens"
    try:
        found = read_object(answer.text)
    except (ValueError, LimbeckError) as error:
        return f"one was {answer.text[:60]!r} ({error})"
    right = set(found) == {"edit", "output"} and all(
        isinstance(value, str) and value.strip() for value in found.values()
    )
    return None if right else f"one was {answer.text[:60]!r}"
