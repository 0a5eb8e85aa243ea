"""An ask in words: its question, its answer, and the options of a multiple choice, in English or Korean."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from limbeck.questions import english, hangul
from limbeck.questions.ask import Ask
from limbeck.questions.program import Value
from limbeck.questions.template import Wording, pieces
from limbeck.questions.view import View

LANGUAGES: dict[str, ModuleType] = {"en": english, "ko": hangul}
Form = Literal["word", "sentence", "choice"]
"""A short answer, which the question asks for; a sentence; the letter of an option."""


@dataclass(frozen=True)
class Worded:
    """A question in words.

    Attributes:
        question: with the hint of its form and the options, without the picture.
        answer: the text.
        options: words to choose from, in order; empty unless the form is choice.
        answer_type: yes_no, word, number, phrase, box, point, sentence or choice: how the text is to be read.
        category: of the value behind it, see `Wording.answer`; `yes_no` where it is one.
    """

    question: str
    answer: str
    options: tuple[str, ...]
    answer_type: str
    category: str


def word(ask: Ask, value: Value, views: Sequence[View], language: str, form: Form, rng: random.Random) -> Worded:
    """Puts an ask into words.

    Args:
        ask: what is asked.
        value: its answer.
        views: the pictures, for what an answer adds ("no, the ball is red").
        language: `en` or `ko`.
        form: how it is to be answered. A false premise is always set right in a sentence, and a choice without
            options becomes a word.
        rng: chooses among wordings.
    """
    words = LANGUAGES[language]
    wording: Wording = words.TEMPLATES[ask.template]
    filler = _Filler(words, ask, value, views, wording.answer)
    question = filler.fill(_pick(rng, wording.questions))
    yes_no = isinstance(value, bool)
    category = "yes_no" if yes_no else wording.answer
    if form == "choice" and ask.options:
        options = tuple(filler.alone(category, option) for option in ask.options)
        lines = [f"{letter}. {option}" for letter, option in zip(words.LETTERS, options, strict=False)]
        asked = "\n".join([question, *lines, words.HINTS["choice"]])
        return Worded(asked, words.LETTERS[list(ask.options).index(value)], options, "choice", category)
    if form == "sentence" or wording.nothing:
        sentences = (
            (wording.yes if value else wording.no) if yes_no else wording.nothing if value is None else wording.says
        )
        return Worded(question, filler.fill(_pick(rng, sentences)), (), "sentence", category)
    if yes_no:
        return Worded(f"{question} {words.HINTS['yes_no']}", words.YES if value else words.NO, (), "yes_no", category)
    kind = _HINT_OF.get(wording.answer, "word")
    text = str(value) if kind == "number" else filler.alone(wording.answer, value)
    if kind in ("word", "phrase") and language == "en":
        text = english.inflect(text, "A")
    return Worded(f"{question} {words.HINTS[kind]}", text, (), kind, category)


_HINT_OF = {
    "number": "number",
    "mark": "number",
    "box": "box",
    "point": "point",
    "place": "phrase",
    "changed": "phrase",
}


def _pick(rng: random.Random, ways: Sequence[str]) -> str:
    return ways[int(rng.random() * len(ways))] if len(ways) > 1 else ways[0]


class _Filler:
    """Words for the slots of one ask."""

    def __init__(self, words: ModuleType, ask: Ask, value: Value, views: Sequence[View], category: str) -> None:
        self.words, self.slots, self.value, self.views, self.category = words, ask.slots, value, views, category

    def fill(self, template: str) -> str:
        out = []
        for before, slot, mark in pieces(template):
            out.append(before)
            if slot:
                text = self.slot(slot)
                out.append(self.words.inflect(text, mark) if mark else text)
        return "".join(out)

    def name(self, category: str, value: Any) -> str:
        """A value of a category in words."""
        if category == "box":
            return "[" + ", ".join(f"{v:.3f}" for v in value) + "]"
        if category == "point":
            return "(" + ", ".join(f"{v:.3f}" for v in value) + ")"
        return self.words.WORDS.get(category, {}).get(value, str(value))

    def alone(self, category: str, value: Any) -> str:
        """The same where it stands alone."""
        short = self.words.SHORT.get(category)
        return short[value] if short else self.name(category, value)

    def slot(self, slot: str) -> str:
        """The words for a slot: of the ask, the answer, or what the pictures show.

        `answer`, `answer_counted`, `answer_is`; `kind`, `kind2`, `colour`, `hue` and so on from the ask; `hue_kind`; `its_colour`
        of the thing of the asked kind, `its_colour2` of the second, `then_colour` in the second picture; `now_time`,
        `then_time`; `present`: all things of the picture; `marked_kind`; `other_side`.
        """
        if slot == "answer":
            return self.name(self.category, self.value)
        if slot == "answer_counted":
            return self.name("counted", self.value)
        if slot == "answer_is":
            return self.name(f"{self.category}_is", self.value)
        if slot == "present":
            return self.words.listed([(thing.colour, thing.kind) for thing in self.views[0].scene.things])
        if slot == "other_side":
            return self.name("side", "right" if self.slots["side"] == "left" else "left")
        if slot == "marked_kind":
            view = self.views[0]
            return self.name("kind", view.scene.things[view.marks[self.slots["mark"]]].kind)
        head, _, rest = slot.partition("_")
        if head == "its":
            return self._of_thing(rest, 0)
        if head in ("now", "then"):
            view = self.views[0 if head == "now" else 1]
            field = rest.removesuffix("_is")
            return (
                self.name(rest, getattr(view.scene, field)) if hasattr(view.scene, field) else self._of_thing(rest, 1)
            )
        if slot == "hue_kind":
            return f"{self.name('hue', self.slots['colour'])} {self.name('kind', self.slots['kind'])}"
        category = slot.rstrip("2")
        field = _SLOT_OF.get(category, category) + slot[len(category) :]
        return self.name(category, self.slots[field])

    def _of_thing(self, what: str, picture: int) -> str:
        number = "2" if what.endswith("2") else ""
        thing = self.views[picture].of_kind[self.slots["kind" + number]]
        what = what.removesuffix("2")
        if what == "hue_kind":
            return f"{self.name('hue', thing.colour)} {self.name('kind', thing.kind)}"
        return self.name(what, getattr(thing, _SLOT_OF.get(what, what)))


_SLOT_OF = {
    "hue": "colour", "size_is": "size", "size_asked": "size", "spot": "place", "hour": "time",
    "weather_is": "weather", "weather_asked": "weather",
}  # fmt: skip
"""Categories that are other words for a slot of another name."""
