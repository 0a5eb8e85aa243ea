"""What a text says about a picture, claim by claim, and whether the picture bears it out.

    "There is no cat; the big ball is red and stands to the left of a house."
      not there: cat / there: ball, big / colour of the ball: red / there: house / ball left of house

The readers (`claims_english`, `claims_korean`) know the storybook's words, their synonyms, and common things that a
storybook never shows. What they don't understand makes no claim; a claim that can't be decided (a hedge, a guess, a thing
without a name) is unchecked. They read texts, not programs, and share nothing with what worded a closed answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["supported", "contradicted", "unchecked"]
STRANGER = "?"
"""Stands before the name of a thing that no storybook picture shows."""
ANYTHING = "thing"
FIELDS = ("colour", "size", "place")


class World(Protocol):
    """What claims are held against: a `Scene`, or a `Seen` picture."""

    @property
    def things(self) -> Sequence[Any]:
        """Each with kind, colour, size and place, from left to right."""

    ground: str
    time: str
    weather: str


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        about: `there`, `is`, `beside`, `between`, `taller`, `count`, `more` or `setting`.
        kind: of the thing it is about; `thing` for any, "" where the text names none.
        having: colour, size, place, or of a setting ground, time, weather.
        other: the second kind of a relation, or the second size of `more`.
        third: the third kind of `between`.
        value: side of `beside`, number of `count`.
        negated: whether the text denies it.
        hedged: whether it is a guess, a wish or a question.
        sentence: which sentence of the text.
    """

    about: str
    kind: str = ""
    having: dict[str, str] = field(default_factory=dict)
    other: str = ""
    third: str = ""
    value: Any = None
    negated: bool = False
    hedged: bool = False
    sentence: int = 0

    def __str__(self) -> str:
        parts = [self.about, self.kind, *self.having.values(), self.value, self.other, self.third]
        return ("not " if self.negated else "") + " ".join(str(part) for part in parts if part not in ("", None))


def extract(text: str, language: str) -> list[Claim]:
    """The claims of a text, in order.

    >>> [str(c) for c in extract("The red ball is on the left.", "en")]
    ['there ball red', 'is ball left']
    >>> [str(c) for c in extract("고양이는 없습니다.", "ko")]
    ['not there cat']
    """
    if language == "ko":
        from limbeck.questions.claims_korean import claims_of
    else:
        from limbeck.questions.claims_english import claims_of
    return claims_of(text)


def verdict(claim: Claim, worlds: Sequence[World]) -> State:
    """Whether the pictures bear a claim out; with several, whether any does."""
    states = [_one(claim, world) for world in worlds]
    for state in ("supported", "unchecked"):
        if state in states:
            return state
    return "contradicted" if states else "unchecked"


def checked(text: str, language: str, worlds: Sequence[World]) -> list[tuple[Claim, State]]:
    """Every claim of a text with its verdict."""
    return [(claim, verdict(claim, worlds)) for claim in extract(text, language)]


def _one(claim: Claim, world: World) -> State:
    true = _TESTS[claim.about](claim, world)
    if true is None:
        return "unchecked"
    if true != claim.negated:
        return "supported"
    return "unchecked" if claim.hedged else "contradicted"


def _matching(world: World, kind: str, having: dict[str, str]) -> list[Any]:
    return [
        thing for thing in world.things
        if kind in (ANYTHING, thing.kind) and all(getattr(thing, name) == value for name, value in having.items())
    ]  # fmt: skip


def _there(claim: Claim, world: World) -> bool | None:
    if claim.kind in SKY:
        return SKY[claim.kind](world)
    return bool(_matching(world, claim.kind, claim.having))


def _is(claim: Claim, world: World) -> bool | None:
    if not claim.kind or claim.kind == ANYTHING:
        return bool(_matching(world, ANYTHING, claim.having)) or None
    return bool(_matching(world, claim.kind, claim.having))


def _at(world: World, kind: str) -> int | None:
    return next((i for i, thing in enumerate(world.things) if thing.kind == kind), None)


def _beside(claim: Claim, world: World) -> bool | None:
    if ANYTHING in (claim.kind, claim.other) or not claim.kind or not claim.other:
        return None
    a, b = _at(world, claim.kind), _at(world, claim.other)
    if a is None or b is None:
        return False
    return a < b if claim.value == "left" else a > b


def _between(claim: Claim, world: World) -> bool | None:
    if ANYTHING in (claim.kind, claim.other, claim.third) or not (claim.kind and claim.other and claim.third):
        return None
    a, b, c = (_at(world, kind) for kind in (claim.kind, claim.other, claim.third))
    return None not in (a, b, c) and (b < a < c or c < a < b)


def _taller(claim: Claim, world: World) -> bool | None:
    """Decided where sizes differ, or where the world has heights."""
    found = [_matching(world, kind, {}) for kind in (claim.kind, claim.other)]
    if not all(found) or ANYTHING in (claim.kind, claim.other):
        return False if not all(found) else None
    a, b = found[0][0], found[1][0]
    if hasattr(a, "y0"):
        return a.y1 - a.y0 > b.y1 - b.y0
    return None


def _count(claim: Claim, world: World) -> bool | None:
    return len(_matching(world, claim.kind or ANYTHING, claim.having)) == claim.value


def _more(claim: Claim, world: World) -> bool | None:
    sizes = [thing.size for thing in world.things]
    return sizes.count(claim.value) > sizes.count(claim.other)


def _setting(claim: Claim, world: World) -> bool | None:
    return all(getattr(world, name) == value for name, value in claim.having.items())


SKY = {
    "sun": lambda world: world.time != "night" and world.weather != "rainy",
    "moon": lambda world: world.time == "night" and world.weather != "rainy",
    "star": lambda world: world.time == "night" and world.weather != "rainy",
    "cloud": lambda world: world.weather != "clear",
}
"""What hangs in the sky, and when the storybook draws it."""
_TESTS = {
    "there": _there, "is": _is, "beside": _beside, "between": _between, "taller": _taller, "count": _count,
    "more": _more, "setting": _setting,
}  # fmt: skip
