"""A question before it has words, and the short hands for writing programs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from limbeck.questions.program import Program
from limbeck.questions.view import View

Slots = dict[str, Any]


@dataclass
class Ask:
    """What is asked.

    Attributes:
        type: what skill it needs: existence, attribute, count, place, relation, comparison, setting, region, point,
            false_premise, two_pictures, marks.
        template: which question of that type, with the negative's strategy: `existence.popular`.
        program: computes the answer.
        slots: what the wording is filled with, in the world's own English words; `limbeck.questions.wording`
            translates them.
        options: the values to choose from in a multiple choice; empty where that makes no sense or gives the
            answer away. Their prior is the same for each, so that a reader who sees no picture can't tell.
    """

    type: str
    template: str
    program: Program
    slots: Slots = field(default_factory=dict)
    options: Sequence[str] = ()


Drawer = Callable[[View, random.Random], Ask | None]
"""Draws a question about one picture, or None where the scene allows none of its kind.

Where the answer is yes or no, the drawer tosses a coin first and then looks for a question with that answer, with the
same distribution of wordings for both: a question must not tell its answer.
"""


def things(picture: int = 0) -> Program:
    """All things of a picture."""
    return ["all", picture]


def the(kind: str, picture: int = 0) -> Program:
    """The thing of a kind."""
    return ["one", ["only", ["all", picture], "kind", kind]]


def coin(rng: random.Random) -> bool:
    """True half of the time."""
    return rng.random() < 0.5


def other(rng: random.Random, values: Sequence[str], *not_these: str) -> str:
    """A value that is none of those."""
    left = [value for value in values if value not in not_these]
    return left[int(rng.random() * len(left))]


def pick(rng: random.Random, values: Sequence[Any]) -> Any:
    """One of the values, each as likely."""
    return values[int(rng.random() * len(values))]


def lineup(rng: random.Random, values: Sequence[str], right: str, n: int, *not_these: str) -> list[str]:
    """Options of a multiple choice: the right one and n - 1 others, in random order; none where nothing is wrong."""
    wrong = [value for value in values if value != right and value not in not_these]
    if not wrong:
        return []  # one option would tell the answer
    options = [right, *rng.sample(wrong, min(n - 1, len(wrong)))]
    rng.shuffle(options)
    return options
