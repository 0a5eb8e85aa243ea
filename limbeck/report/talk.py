"""A canonical row of a visual instruction as the `Talk` that the report shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limbeck.report.data import Talk, Turn

TALK = (
    "messages", "question_type", "template", "language", "answer_type", "answer_value", "program", "scenes", "boxes",
    "marks", "pair_id", "verdicts",
)  # fmt: skip
"""Columns that it needs besides the pictures."""


def talk_of(row: Mapping[str, Any]) -> Talk:
    """The conversation of a row; pictures that aren't stored are drawn where their scenes are known.

    Args:
        row: with `messages` and `images`, and those of `TALK` that there are.
    """
    verdicts = {v["turn"]: v for v in row.get("verdicts") or ()}
    turns: list[Turn] = []
    answers = 0
    for message in row["messages"]:
        parts = tuple(part["image"] if part["type"] == "image" else part["text"] or "" for part in message["content"])
        verdict: Mapping[str, Any] = {}
        if message["role"] == "assistant":
            verdict, answers = verdicts.get(answers) or {}, answers + 1
        turns.append(Turn(message["role"], parts, verdict.get("verdict") or "", verdict.get("detail") or ""))
    value = row.get("answer_value")
    return Talk(
        tuple(turns),
        tuple(row.get("images") or ()) or _drawn(row.get("scenes") or ()),
        tuple(
            (b["image"] or 0, b["name"] or "", tuple(b["box"]))
            for b in row.get("boxes") or ()
            if len(b["box"] or ()) == 4
        ),
        tuple((m["image"] or 0, m["number"], m["name"] or "", m["x"], m["y"]) for m in row.get("marks") or ()),
        row.get("language") or "",
        row.get("template") or "",
        " ".join(text for text in (row.get("answer_type"), None if value is None else f"= {value}") if text),
        row.get("program") or "",
        row.get("pair_id") or "",
    )


def _drawn(scenes: Any) -> tuple[bytes, ...]:
    from limbeck.pictures import png
    from limbeck.storybook import Scene, render

    try:
        return tuple(png(render(Scene.from_json(scene)).image) for scene in scenes)
    except (TypeError, ValueError, KeyError):  # not a scene of this version's storybook
        return ()
