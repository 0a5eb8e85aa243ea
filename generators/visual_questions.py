"""Asks about scenes whose truth is known: programs compute the answers, templates word them, no model is asked."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from limbeck.errors import SettingError
from limbeck.questions.ask import Ask
from limbeck.questions.pictures import DRAWERS_OF_ONE, DRAWERS_OF_TWO, TURNED_BY, edited, turning
from limbeck.questions.program import Ambiguous, Value, answer
from limbeck.questions.rows import PICTURE_FIRST, check_shares, draw, question_row
from limbeck.questions.view import View
from limbeck.questions.wording import LANGUAGES, Form
from limbeck.records import columns
from limbeck.stage import Drop, Generator, Row, Run, settings
from limbeck.storybook import Scene, parse_instruction
from limbeck.storybook.truth import asked_for

TYPES = tuple(dict.fromkeys(name.partition(".")[0] for name in DRAWERS_OF_ONE))
GEOMETRIC = ("region.", "point.", "comparison.taller", "comparison.is_taller")
"""Templates that need to know where exactly things are drawn."""
_TRIES = 6
_WORDING, _PAIR_WORDING = 10, 1000
"""Draws of a row from which its words come, by ordinal of the question or of the pair."""


@settings
class VisualQuestions(Generator):
    """Asks about each scene: single questions, questions about two pictures, minimal pairs.

    Types: existence (with absent things chosen at random, among what picture books show most, and among what a
    reader expects beside what is there), attribute, count, false_premise, place, relation, comparison, region, point,
    setting; two (a scene and an edit of it in one question); pairs (one question about a scene and about an edit of
    it that turns the answer: two rows with one `pair_id`).

    A question's words don't tell its answer: yes and no are drawn first, then a question that has that answer.
    Every row stores its program and value; `answers_true` computes the value anew from the pixels.

    Attributes:
        of: `scenes` draws pictures of storybook scenes; `edit_pairs` asks about the pictures of edit pairs whose
            captions and instructions are the storybook's, and about nothing that needs geometry. Those rows' `scenes`
            say no variation: words don't tell it.
        per_scene: single questions for each scene, at most; no question is asked twice.
        two_pictures: questions about two pictures for each scene.
        minimal_pairs: minimal pairs for each scene.
        types: share of each type of single question; empty: each template alike.
        languages: share of each language.
        forms: share of short answers, sentences and multiple choices.
        picture_first: share of questions that come after their pictures; with all of them a student may read each
            picture once for all its questions (`share_pictures`).
        size_px: side of the pictures drawn.
        pictures: False leaves the pictures out; the scenes can draw them again.
    """

    name: ClassVar = "visual_questions"
    version: ClassVar = 2
    writes: ClassVar = columns(
        "messages", "images", "question_type", "template", "language", "answer_type", "answer_value", "program",
        "options", "scenes", "boxes", "pair_id", "image_hashes",
    )  # fmt: skip
    reasons: ClassVar = ("not_a_scene", "nothing_to_ask")

    of: Literal["scenes", "edit_pairs"] = "scenes"
    per_scene: Annotated[int, Field(ge=0, le=64)] = 8
    two_pictures: Annotated[int, Field(ge=0, le=16)] = 1
    minimal_pairs: Annotated[int, Field(ge=0, le=16)] = 1
    types: dict[str, float] = Field(default_factory=dict)
    languages: dict[str, float] = Field(default_factory=lambda: {"en": 0.5, "ko": 0.5})
    forms: dict[Form, float] = Field(default_factory=lambda: {"word": 0.5, "sentence": 0.3, "choice": 0.2})
    picture_first: Annotated[float, Field(ge=0, le=1)] = PICTURE_FIRST
    size_px: Annotated[int, Field(ge=16, le=1024)] = 64
    pictures: bool = True

    @field_validator("types", "languages", "forms")
    @classmethod
    def _check_shares(cls, value: dict[str, float], info: Any) -> dict[str, float]:
        known = {"types": TYPES, "languages": tuple(LANGUAGES), "forms": ("word", "sentence", "choice")}
        name = info.field_name
        return check_shares(name, value, known[name], may_be_empty=name == "types")

    @field_validator("types")
    @classmethod
    def _check_geometry(cls, value: dict[str, float], info: Any) -> dict[str, float]:
        wanted = [kind for kind, share in value.items() if share > 0]
        if not wanted or info.data.get("of") != "edit_pairs":
            return value
        can_be = {name.partition(".")[0] for name in DRAWERS_OF_ONE if not name.startswith(GEOMETRIC)}
        if not can_be & set(wanted):
            raise SettingError(
                f"{' and '.join(sorted(wanted))} alone can't be asked about edit pairs: nobody knows where exactly things are",
                expected=f"a share of one or more of {', '.join(t for t in TYPES if t in can_be)}",
                remedy='name such a type too, or ask about storybook scenes with of = "scenes"',
            )
        return value

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The scene; or pictures, captions and instruction of an edit pair."""
        if self.of == "scenes":
            return columns("scene")
        return columns("original_prompt", "edit_prompt", "original_image", "edited_image")

    def generate(self, rows: list[Row], run: Run) -> Iterator[Row | Drop]:
        """The questions about each scene."""
        for row in rows:
            subject = self._of_scene(row, run) if self.of == "scenes" else self._of_pair(row)
            if isinstance(subject, Drop):
                yield subject
                continue
            ordinal = -1
            for ordinal, asked in enumerate(self._asks(subject, random.Random(run.seed(row["id"], 1)))):
                ask, value, which, pair = asked
                # Both rows of a minimal pair are worded by the same draws: only the answer may differ.
                rng = random.Random(run.seed(row["id"], _WORDING + ordinal if pair is None else _PAIR_WORDING + pair))
                pair_id = None if pair is None else f"{row['id']}/pair{pair}"
                yield {"id": f"{row['id']}/{ordinal}", **self._row(subject, ask, value, which, pair_id, rng)}
            if ordinal < 0:
                yield Drop(row["id"], "nothing_to_ask")

    def _of_scene(self, row: Row, run: Run) -> _Subject | Drop:
        try:
            scene = Scene.from_json(row["scene"])
        except (TypeError, ValueError, KeyError) as error:
            return Drop(row["id"], "not_a_scene", f"{type(error).__name__}: {error}")
        views, edit_type = [View(scene, self.size_px)], ""
        if self.two_pictures or self.minimal_pairs:
            change = edited(scene, run.seed(row["id"]))
            if change:
                views.append(View(change[1], self.size_px))
                edit_type = change[0].type
        return _Subject(views, edit_type)

    def _of_pair(self, row: Row) -> _Subject | Drop:
        scenes = asked_for(row["original_prompt"], row["edit_prompt"])
        if scenes is None:
            return Drop(row["id"], "not_a_scene", f"{row['original_prompt']} | {row['edit_prompt']}"[:200])
        views = [View(scene, self.size_px, told=True) for scene in scenes]
        return _Subject(views, parse_instruction(row["edit_prompt"]).type, (row["original_image"], row["edited_image"]))

    def _asks(self, subject: _Subject, rng: random.Random) -> Iterator[tuple[Ask, Value, tuple[int, ...], int | None]]:
        """Asks with their values, the pictures they are about, and the ordinal of their minimal pair."""
        names, ends = self._shares(geometry=not subject.stored)
        seen: set[str] = set()
        first, both = subject.views[:1], subject.views
        for _ in range(self.per_scene):
            for _ in range(_TRIES):
                name = names[bisect(ends, rng.random())]
                ask = DRAWERS_OF_ONE[name](first[0], rng)
                if ask is None or (key := f"{ask.template}{ask.slots}") in seen:
                    continue
                try:
                    value = answer(ask.program, first)
                except Ambiguous:
                    continue
                seen.add(key)
                yield ask, value, (0,), None
                break
        if len(both) < 2:
            return
        drawers = list(DRAWERS_OF_TWO.values())
        for _ in range(self.two_pictures):
            order = (0, 1) if rng.random() < 0.5 else (1, 0)
            pair = [both[i] for i in order]
            for _ in range(_TRIES):
                ask = drawers[int(rng.random() * len(drawers))](pair, rng)
                if ask is None or (key := f"{ask.template}{ask.slots}") in seen:
                    continue
                seen.add(key)
                yield ask, answer(ask.program, pair), order, None
                break
        for n in range(self.minimal_pairs if subject.edit_type in TURNED_BY else 0):
            found = turning(*both, subject.edit_type, rng, usable=names)
            if found is None or (key := f"pair{found[0].template}{found[0].slots}") in seen:
                continue
            seen.add(key)
            yield found[0], found[1], (0,), n
            yield found[0], found[2], (1,), n

    def _row(
        self, subject: _Subject, ask: Ask, value: Value, which: tuple[int, ...], pair: str | None, rng: random.Random
    ) -> Row:
        language, form = draw(rng, self.languages), draw(rng, self.forms)
        if pair is not None and form == "choice":
            form = "word"  # the options were drawn for one of the two answers
        views = [subject.views[i] for i in which]
        images = [subject.image(i) for i in which] if self.pictures else []
        return {**question_row(ask, value, views, images, language, form, rng, self.picture_first), "pair_id": pair}

    def _shares(self, geometry: bool) -> tuple[list[str], list[float]]:
        """Templates of single questions, and the upper end of each one's share of [0, 1)."""
        names, weights = [], []
        per_type = {t: sum(name.startswith(t + ".") for name in DRAWERS_OF_ONE) for t in TYPES}
        for name in DRAWERS_OF_ONE:
            if not geometry and name.startswith(GEOMETRIC):
                continue
            kind = name.partition(".")[0]
            share = self.types.get(kind, 0.0) / per_type[kind] if self.types else 1.0
            if share > 0:
                names.append(name)
                weights.append(share)
        ends = list(accumulate(weights))
        return names, [end / ends[-1] for end in ends[:-1]]


@dataclass(frozen=True)
class _Subject:
    """The pictures that one source row gives to ask about.

    Attributes:
        views: the scene, and the scene after an edit where there is one.
        edit_type: of that edit, or "".
        stored: encoded pictures of an edit pair; none where they are drawn.
    """

    views: list[View]
    edit_type: str = ""
    stored: tuple[bytes, ...] = ()

    def image(self, i: int) -> bytes:
        return self.stored[i] if self.stored else self.views[i].png
