"""What a chat model that sees no picture is told of it: captions, and boxes as shares of width and height.

The short prompts are what miniatures are trained on. The full ones lie beside the generators.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

Task = Literal["conversation", "description", "reasoning"]
TASKS: tuple[Task, ...] = ("conversation", "description", "reasoning")
SHORT_VISUAL = "[user]\nwrite: $task\ncaption: $caption\nboxes: $boxes"
SCHEMAS: dict[Task, dict[str, Any]] = {
    "conversation": {
        "title": "conversation",
        "type": "object",
        "properties": {
            "turns": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
                    "required": ["question", "answer"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["turns"],
        "additionalProperties": False,
    },
    "description": {
        "title": "description",
        "type": "object",
        "properties": {"description": {"type": "string"}},
        "required": ["description"],
        "additionalProperties": False,
    },
    "reasoning": {
        "title": "reasoning",
        "type": "object",
        "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
        "required": ["question", "answer"],
        "additionalProperties": False,
    },
}
"""What an answer has to look like, by task."""


def short_boxes(boxes: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Boxes on one line, two decimals.

    >>> short_boxes([("ball", (0.016, 0.5, 0.391, 0.891)), ("cat", (0.5, 0.5, 0.75, 1.0))])
    'ball .02 .50 .39 .89; cat .50 .50 .75 1.0'
    """
    return "; ".join(f"{name} {' '.join(_short(v) for v in box)}" for name, box in boxes)


def long_boxes(boxes: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Boxes, one a line, three decimals, as LLaVA writes them.

    >>> long_boxes([("cat", (0.5, 0.5, 0.75, 1.0))])
    'cat: [0.500, 0.500, 0.750, 1.000]'
    """
    return "\n".join(f"{name}: [{', '.join(f'{v:.3f}' for v in box)}]" for name, box in boxes)


def conversation_answer(turns: Sequence[tuple[str, str]]) -> str:
    """The answer expected to a conversation prompt.

    >>> conversation_answer([("What is it?", "A cat.")])
    '{"turns": [{"question": "What is it?", "answer": "A cat."}]}'
    """
    return json.dumps({"turns": [{"question": q, "answer": a} for q, a in turns]}, ensure_ascii=False)


def description_answer(text: str) -> str:
    """The answer expected to a description prompt."""
    return json.dumps({"description": text}, ensure_ascii=False)


def reasoning_answer(question: str, answer: str) -> str:
    """The answer expected to a reasoning prompt."""
    return json.dumps({"question": question, "answer": answer}, ensure_ascii=False)


def _short(value: float) -> str:
    text = f"{value:.2f}"
    return text[1:] if text.startswith("0") else text[:3]
