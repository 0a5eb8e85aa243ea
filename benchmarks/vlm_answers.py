"""What `mini:vlm` says about pictures that it never saw: exact answers by question type, with and without the picture.

    python -m benchmarks.vlm_answers --scenes 60 --picture answers.webp

Scenes are the storybook's test split, questions are those of the stage `visual_questions`, answers are read as an evaluation
reads them. The model is asked as any chat model is, so a folder or a Hub id may stand in its place.
"""

from __future__ import annotations

import argparse
import asyncio
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.visual_blindness import made
from distill.vlm import asking, verdicts
from generators.visual_questions import VisualQuestions
from limbeck import models
from limbeck.models.spec import ModelSpec
from limbeck.pictures import decode, image_block

_GREEN, _RED = (0, 120, 60), (178, 24, 24)
_SIDE, _COLUMNS, _WIDTH, _LINES = 192, 4, 250, 6


def questions(n: int) -> list[dict[str, Any]]:
    """Closed questions about n scenes of the test split."""
    stage = VisualQuestions(per_scene=20, picture_first=1.0, two_pictures=1, minimal_pairs=1, languages={"en": 1.0})
    return [row for row in made(stage, n, "test") if asking.is_closed(row)]


def answers(chat: Any, rows: list[dict[str, Any]], how: str) -> list[str]:
    """What a chat model says to each, at temperature 0."""

    def told(question: asking.Question, message: dict[str, Any]) -> dict[str, Any]:
        parts = (
            image_block(question.images[p["image"]]) if p["type"] == "image" else {"type": "text", "text": p["text"]}
            for p in message["content"]
        )
        return {"role": message["role"], "content": list(parts)}

    async def everything() -> list[Any]:
        conversations = ([told(q, m) for m in q.messages] for q in asking.asked(rows, how))
        return await asyncio.gather(*(chat.complete(c, temperature=0.0, max_tokens=64) for c in conversations))

    return [answer.text.strip() for answer in asyncio.run(everything())]


def drawn(rows: list[dict[str, Any]], said: list[str], right: list[bool]) -> Image.Image:
    """Twelve questions about one picture each, what was said, and in red what is wrong, with the right answer."""
    font = ImageFont.load_default(13)
    height = _SIDE + 18 * _LINES
    chosen = [n for n, row in enumerate(rows) if len(row["images"]) == 1][:: max(1, len(rows) // 14)][:12]
    sheet = Image.new("RGB", (_COLUMNS * _WIDTH, -(-len(chosen) // _COLUMNS) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for place, n in enumerate(chosen):
        x, y = place % _COLUMNS * _WIDTH, place // _COLUMNS * height
        picture = decode(rows[n]["images"][0]).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        sheet.paste(picture, (x + (_WIDTH - _SIDE) // 2, y + 8))
        asked = " ".join(p["text"] for p in rows[n]["messages"][0]["content"] if p["type"] == "text")
        truth = "" if right[n] else f"  (right: {rows[n]['messages'][1]['content'][0]['text']})"
        y += _SIDE + 14
        for text, colour in ((asked, "black"), (said[n] + truth, _GREEN if right[n] else _RED)):
            for line in textwrap.wrap(" ".join(text.split()), 34)[:4]:
                pen.text((x + 8, y), line, colour, font)
                y += 16
    return sheet


def main() -> None:
    """Asks, counts and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini:vlm")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--picture", type=Path, help="where a picture of twelve answers goes")
    args = parser.parse_args()
    chat = models.load(ModelSpec(id=args.model, sees=True), "chat")
    rows = questions(args.scenes)
    said = {how: answers(chat, rows, how) for how in ("seen", "blind")}
    right = {
        how: [verdicts.read(row, text).right for row, text in zip(rows, s, strict=True)] for how, s in said.items()
    }
    kinds = defaultdict(list)
    for n, row in enumerate(rows):
        for kind in (row["question_type"], f"as {row['answer_type']}", "all"):
            kinds[kind].append(n)
    print(f"{'':20}{'rows':>6}{'right':>8}{'blind':>8}")
    for kind, which in sorted(kinds.items(), key=lambda item: (item[0] == "all", item[0].startswith("as "), item[0])):
        shares = (np.mean([right[how][n] for n in which]) for how in right)
        print(f"{kind:20}{len(which):6}" + "".join(f"{share:8.1%}" for share in shares))
    if args.picture:
        drawn(rows, said["seen"], right["seen"]).save(args.picture, quality=90)


if __name__ == "__main__":
    main()
