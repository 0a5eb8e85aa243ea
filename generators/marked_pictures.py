"""Draws numbered marks into pictures (Set-of-Mark) and asks questions that use the numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from limbeck.marks import draw as draw_marks
from limbeck.marks import place
from limbeck.pictures import png
from limbeck.questions.numbered import DRAWERS
from limbeck.questions.program import answer
from limbeck.questions.rows import check_shares, draw, question_row
from limbeck.questions.view import View
from limbeck.questions.wording import LANGUAGES, Form
from limbeck.records import columns
from limbeck.stage import Drop, Generator, Row, Run, settings
from limbeck.storybook import Scene

_TRIES = 6


@settings
class MarkedPictures(Generator):
    """Asks about the numbers drawn into each scene's picture; the clean copy goes along in `image`.

    A mark lies wholly on the thing it numbers, marks never touch, and numbers are dealt at random. A thing without
    room for a legible number has none and is never asked about.

    Source: SoM-LLaVA (arXiv 2404.16375) trains on marked copies beside clean pictures, and is tested on clean ones.

    Attributes:
        per_scene: questions for each scene, at most.
        languages: share of each language.
        forms: share of short answers, sentences and multiple choices.
        size_px: side of the pictures; below 160 px small things have no room for a mark.
    """

    name: ClassVar = "marked_pictures"
    version: ClassVar = 1
    reads: ClassVar = columns("scene")
    writes: ClassVar = columns(
        "image", "messages", "images", "question_type", "template", "language", "answer_type", "answer_value", "program",
        "options", "scenes", "boxes", "marks", "pair_id", "image_hashes",
    )  # fmt: skip
    reasons: ClassVar = ("not_a_scene", "no_room")

    per_scene: Annotated[int, Field(ge=1, le=16)] = 3
    languages: dict[str, float] = Field(default_factory=lambda: {"en": 0.5, "ko": 0.5})
    forms: dict[Form, float] = Field(default_factory=lambda: {"word": 0.5, "sentence": 0.3, "choice": 0.2})
    size_px: Annotated[int, Field(ge=64, le=1024)] = 224

    @field_validator("languages", "forms")
    @classmethod
    def _check_shares(cls, value: dict[str, float], info: Any) -> dict[str, float]:
        known = {"languages": tuple(LANGUAGES), "forms": ("word", "sentence", "choice")}
        return check_shares(info.field_name, value, known[info.field_name])

    def generate(self, rows: list[Row], run: Run) -> Iterator[Row | Drop]:
        """Questions about each scene's marked picture."""
        for row in rows:
            try:
                view = View(Scene.from_json(row["scene"]), self.size_px)
            except (TypeError, ValueError, KeyError) as error:
                yield Drop(row["id"], "not_a_scene", f"{type(error).__name__}: {error}")
                continue
            rng = random.Random(run.seed(row["id"]))
            marks = place(view.picture.masks, rng)
            if not marks:
                yield Drop(row["id"], "no_room", f"no thing has room for a mark at {self.size_px} px")
                continue
            view.marks = {mark.number: mark.index for mark in marks}
            marked = png(draw_marks(view.picture.image, marks))
            drawn = [
                {"image": 0, "number": m.number, "name": view.scene.things[m.index].kind, "x": m.x, "y": m.y} for m in marks
            ]
            for ordinal, ask in enumerate(self._asks(view, rng)):
                value = answer(ask.program, [view])
                question = question_row(ask, value, [view], [marked], draw(rng, self.languages), draw(rng, self.forms), rng)
                yield {"id": f"{row['id']}/{ordinal}", "image": view.png, "marks": drawn, "pair_id": None, **question}

    def _asks(self, view: View, rng: random.Random) -> list[Any]:
        asks: dict[str, Any] = {}
        for _ in range(self.per_scene * _TRIES):
            ask = DRAWERS[draw(rng, dict.fromkeys(DRAWERS, 1.0))](view, rng)
            if ask is not None and len(asks) < self.per_scene:
                asks.setdefault(f"{ask.template}{ask.slots}", ask)
        return list(asks.values())
