"""Draws questions about what is there: existence, attributes, counts, and false premises."""

from __future__ import annotations

import random

from limbeck.questions.ask import Ask, Drawer, coin, lineup, other, pick, the, things
from limbeck.questions.view import View
from limbeck.storybook.world import COLOURS, KINDS, SIZES

POPULAR = ("house", "tree", "cat", "ball")
"""What picture books show most: POPE's popular negatives. The storybook itself draws every kind alike, so a count of
its scenes has no popular kind; these are what a reader who guesses would say."""
COMPANION = {
    "house": "car", "car": "boat", "boat": "ball", "ball": "cat", "cat": "house",
    "tree": "mushroom", "mushroom": "flower", "flower": "tree",
}  # fmt: skip
"""What a reader expects beside a thing: POPE's adversarial negatives. Each kind is the companion of one other, so no
kind is asked for more often than another."""
THIN_NO = {"popular": 0.74, "adversarial": 0.33}
"""How often a scene allows a yes where it nearly always allows a no: a no is drawn as rarely."""


def _existence(strategy: str) -> Drawer:
    def draw(view: View, rng: random.Random) -> Ask | None:
        yes = coin(rng)
        if not yes and rng.random() > THIN_NO.get(strategy, 1.0):
            return None
        candidates = [k for k in _CANDIDATES[strategy](view) if (k in view.of_kind) == yes]
        if not candidates:
            return None
        kind = pick(rng, candidates)
        program = ["exists", ["only", things(), "kind", kind]]
        return Ask("existence", f"existence.{strategy}", program, {"kind": kind})

    return draw


_CANDIDATES = {
    "random": lambda view: KINDS,
    "popular": lambda view: POPULAR,
    "adversarial": lambda view: [COMPANION[kind] for kind in view.of_kind],
}


def existence_described(view: View, rng: random.Random) -> Ask:
    """Is there a red ball? Negatives have the wrong colour, or a kind that isn't there."""
    thing = pick(rng, view.scene.things)
    kind, colour = thing.kind, thing.colour
    if not coin(rng):
        if coin(rng):
            colour = other(rng, COLOURS, colour)
        else:
            kind = other(rng, KINDS, *view.of_kind)
    program = ["exists", ["only", ["only", things(), "kind", kind], "colour", colour]]
    return Ask("existence", "existence.described", program, {"kind": kind, "colour": colour})


def colour_of(view: View, rng: random.Random) -> Ask:
    """What colour is the ball?"""
    thing = pick(rng, view.scene.things)
    return Ask(
        "attribute", "attribute.colour", ["get", "colour", the(thing.kind)], {"kind": thing.kind},
        lineup(rng, COLOURS, thing.colour, 4),
    )  # fmt: skip


def size_of(view: View, rng: random.Random) -> Ask:
    """Is the ball big or small?"""
    thing = pick(rng, view.scene.things)
    return Ask("attribute", "attribute.size", ["get", "size", the(thing.kind)], {"kind": thing.kind})


def is_colour(view: View, rng: random.Random) -> Ask:
    """Is the ball red? Negatives name another colour."""
    thing = pick(rng, view.scene.things)
    colour = thing.colour if coin(rng) else other(rng, COLOURS, thing.colour)
    program = ["same", ["get", "colour", the(thing.kind)], colour]
    return Ask("attribute", "attribute.is_colour", program, {"kind": thing.kind, "colour": colour})


def is_size(view: View, rng: random.Random) -> Ask:
    """Is the ball big? Negatives name the other size."""
    thing = pick(rng, view.scene.things)
    size = thing.size if coin(rng) else other(rng, SIZES, thing.size)
    program = ["same", ["get", "size", the(thing.kind)], size]
    return Ask("attribute", "attribute.is_size", program, {"kind": thing.kind, "size": size})


def kind_of_colour(view: View, rng: random.Random) -> Ask | None:
    """What is the red thing? Only where one thing is red."""
    colours = [thing.colour for thing in view.scene.things]
    single = [thing for thing in view.scene.things if colours.count(thing.colour) == 1]
    if not single:
        return None
    thing = pick(rng, single)
    program = ["get", "kind", ["one", ["only", things(), "colour", thing.colour]]]
    return Ask(
        "attribute", "attribute.kind", program, {"colour": thing.colour, "ground": view.scene.ground},
        lineup(rng, KINDS, thing.kind, 4),
    )  # fmt: skip


def count_all(view: View, rng: random.Random) -> Ask:
    """How many things stand on the ground?"""
    return Ask("count", "count.all", ["count", things()], {"ground": view.scene.ground})


def count_colour(view: View, rng: random.Random) -> Ask:
    """How many of them are red? The colour asked for is there in half of the questions."""
    colours = {thing.colour for thing in view.scene.things}
    colour = pick(rng, sorted(colours)) if coin(rng) else other(rng, COLOURS, *colours)
    program = ["count", ["only", things(), "colour", colour]]
    return Ask("count", "count.colour", program, {"colour": colour, "ground": view.scene.ground})


def count_size(view: View, rng: random.Random) -> Ask:
    """How many of them are small?"""
    size = pick(rng, SIZES)
    program = ["count", ["only", things(), "size", size]]
    return Ask("count", "count.size", program, {"size": size, "ground": view.scene.ground})


def false_colour(view: View, rng: random.Random) -> Ask:
    """What colour is the cat? Half of the time there is none, and the answer says so."""
    kind = pick(rng, list(view.of_kind)) if coin(rng) else other(rng, KINDS, *view.of_kind)
    return Ask("false_premise", "false_premise.colour", ["get", "colour", the(kind)], {"kind": kind})


def false_place(view: View, rng: random.Random) -> Ask:
    """Where is the cat? Half of the time there is none."""
    kind = pick(rng, list(view.of_kind)) if coin(rng) else other(rng, KINDS, *view.of_kind)
    return Ask("false_premise", "false_premise.place", ["get", "place", the(kind)], {"kind": kind})


DRAWERS: dict[str, Drawer] = {
    "existence.random": _existence("random"),
    "existence.popular": _existence("popular"),
    "existence.adversarial": _existence("adversarial"),
    "existence.described": existence_described,
    "attribute.colour": colour_of,
    "attribute.size": size_of,
    "attribute.is_colour": is_colour,
    "attribute.is_size": is_size,
    "attribute.kind": kind_of_colour,
    "count.all": count_all,
    "count.colour": count_colour,
    "count.size": count_size,
    "false_premise.colour": false_colour,
    "false_premise.place": false_place,
}
