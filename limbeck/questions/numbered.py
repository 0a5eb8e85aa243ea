"""Draws questions that use the numbers of a marked picture, see `limbeck.marks`."""

from __future__ import annotations

import random

from limbeck.questions.ask import Ask, Drawer, coin, lineup, other, pick, the
from limbeck.questions.view import View
from limbeck.storybook.world import COLOURS


def what(view: View, rng: random.Random) -> Ask:
    """What is number 2?"""
    number = pick(rng, sorted(view.marks))
    kind = view.scene.things[view.marks[number]].kind
    program = ["get", "kind", ["marked", 0, number]]
    return Ask("marks", "marks.what", program, {"mark": number}, lineup(rng, view.kinds, kind, 4))


def number_of(view: View, rng: random.Random) -> Ask:
    """Which number is on the ball?"""
    kind = view.scene.things[view.marks[pick(rng, sorted(view.marks))]].kind
    return Ask("marks", "marks.number", ["mark", the(kind)], {"kind": kind})


def colour(view: View, rng: random.Random) -> Ask:
    """What colour is number 2?"""
    number = pick(rng, sorted(view.marks))
    program = ["get", "colour", ["marked", 0, number]]
    options = lineup(rng, COLOURS, view.scene.things[view.marks[number]].colour, 4)
    return Ask("marks", "marks.colour", program, {"mark": number}, options)


def is_kind(view: View, rng: random.Random) -> Ask | None:
    """Is number 2 a ball? Negatives name another kind, which may or may not be there."""
    number = pick(rng, sorted(view.marks))
    kind = view.scene.things[view.marks[number]].kind
    if len(view.kinds) < 2:
        return None
    asked = kind if coin(rng) else other(rng, view.kinds, kind)
    program = ["same", ["get", "kind", ["marked", 0, number]], asked]
    return Ask("marks", "marks.is", program, {"mark": number, "kind": asked})


def is_beside(view: View, rng: random.Random) -> Ask | None:
    """Is number 1 to the left of number 3?"""
    if len(view.marks) < 2:
        return None
    a, b = rng.sample(sorted(view.marks), 2)
    side = "left" if coin(rng) else "right"
    program = ["beside", side, ["marked", 0, a], ["marked", 0, b]]
    return Ask("marks", "marks.beside", program, {"mark": a, "mark2": b, "side": side})


DRAWERS: dict[str, Drawer] = {
    "marks.what": what,
    "marks.number": number_of,
    "marks.colour": colour,
    "marks.is": is_kind,
    "marks.beside": is_beside,
}
"""For views with at least one mark."""
OF_PHOTOS = ("marks.what", "marks.number", "marks.is", "marks.beside")
"""Those that names and boxes answer."""
