"""Draws questions about where things are: place, relation, comparison, region, point, and the scene's setting."""

from __future__ import annotations

import random

from limbeck.questions.ask import Ask, Drawer, coin, lineup, other, pick, the, things
from limbeck.questions.program import TALLER, Ambiguous, answer
from limbeck.questions.view import View
from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, PLACES, TIMES, WEATHERS

SIDES = ("left", "right")
NATURAL_HEIGHT = {
    "ball": 0.90, "house": 1.00, "tree": 0.99, "car": 0.60, "boat": 0.86, "flower": 1.09, "mushroom": 0.98, "cat": 0.95,
}  # fmt: skip
"""How tall each kind is drawn, relative to the others of its size."""
FAIR_HEIGHT = 1.25
"""Kinds whose natural heights differ by more are never compared: the kinds alone would tell which is taller."""
KEEP_WEATHER = {"clear": 0.25, "cloudy": 1.0, "rainy": 1.0}
"""Two scenes in three are clear; so many of them are asked about the weather that each weather is as likely."""


def place_of(view: View, rng: random.Random) -> Ask:
    """Where is the ball?"""
    thing = pick(rng, view.scene.things)
    return Ask(
        "place", "place.where", ["get", "place", the(thing.kind)], {"kind": thing.kind},
        lineup(rng, PLACES, thing.place, 3),
    )  # fmt: skip


def is_place(view: View, rng: random.Random) -> Ask:
    """Is the ball on the left?"""
    thing = pick(rng, view.scene.things)
    place = thing.place if coin(rng) else other(rng, PLACES, thing.place)
    program = ["same", ["get", "place", the(thing.kind)], place]
    return Ask("place", "place.is", program, {"kind": thing.kind, "place": place})


def what_is_at_place(view: View, rng: random.Random) -> Ask:
    """What is on the left?"""
    thing = pick(rng, view.scene.things)
    program = ["get", "kind", ["one", ["only", things(), "place", thing.place]]]
    return Ask("place", "place.what", program, {"place": thing.place}, lineup(rng, KINDS, thing.kind, 4))


def is_beside(view: View, rng: random.Random) -> Ask | None:
    """Is the ball to the left of the house?"""
    pair = _two(view, rng)
    if pair is None:
        return None
    a, b, side = *pair, pick(rng, SIDES)
    return Ask("relation", "relation.is", ["beside", side, the(a), the(b)], {"kind": a, "kind2": b, "side": side})


def next_to(view: View, rng: random.Random) -> Ask | None:
    """What stands nearest to the left of the house?"""
    pair = _two(view, rng)
    if pair is None:
        return None
    side, kind = pick(rng, SIDES), pair[0]
    at = [PLACES.index(thing.place) for thing in view.scene.things]
    own = PLACES.index(view.of_kind[kind].place)
    beyond = [i for i in at if (i < own if side == "left" else i > own)]
    if not beyond:
        return None
    nearest = view.scene.things[at.index(max(beyond) if side == "left" else min(beyond))].kind
    program = ["get", "kind", ["next", side, the(kind)]]
    return Ask("relation", "relation.next", program, {"kind": kind, "side": side}, lineup(rng, KINDS, nearest, 4, kind))


def between(view: View, rng: random.Random) -> Ask | None:
    """What stands between the ball and the house?"""
    if len(view.scene.things) < 3:
        return None
    a, inner, b = (thing.kind for thing in view.scene.things)
    if coin(rng):
        a, b = b, a
    program = ["get", "kind", ["between", the(a), the(b)]]
    return Ask("relation", "relation.between", program, {"kind": a, "kind2": b}, lineup(rng, KINDS, inner, 4, a, b))


def further(view: View, rng: random.Random) -> Ask | None:
    """Which is further left, the ball or the house?"""
    pair = _two(view, rng)
    if pair is None:
        return None
    a, b, side = *pair, pick(rng, SIDES)
    program = ["either", ["beside", side, the(a), the(b)], a, b]
    return Ask("comparison", "comparison.further", program, {"kind": a, "kind2": b, "side": side})


def taller(view: View, rng: random.Random) -> Ask | None:
    """Which is taller, the ball or the house?"""
    pair = _fairly_taller(view, rng)
    if pair is None:
        return None
    a, b = pair
    return Ask("comparison", "comparison.taller", ["either", ["taller", the(a), the(b)], a, b], {"kind": a, "kind2": b})


def is_taller(view: View, rng: random.Random) -> Ask | None:
    """Is the ball taller than the house?"""
    pair = _fairly_taller(view, rng)
    if pair is None:
        return None
    a, b = pair
    return Ask("comparison", "comparison.is_taller", ["taller", the(a), the(b)], {"kind": a, "kind2": b})


def same_colour(view: View, rng: random.Random) -> Ask | None:
    """Do the ball and the house have the same colour? As many scenes are let go as keep the answers even."""
    pairs = [(a, b) for i, a in enumerate(view.scene.things) for b in view.scene.things[i + 1 :]]
    yes = coin(rng)
    if not yes and rng.random() > 0.235:
        return None
    pairs = [(a.kind, b.kind) for a, b in pairs if (a.colour == b.colour) == yes]
    if not pairs:
        return None
    a, b = pick(rng, pairs) if coin(rng) else pick(rng, pairs)[::-1]
    program = ["same", ["get", "colour", the(a)], ["get", "colour", the(b)]]
    return Ask("comparison", "comparison.same_colour", program, {"kind": a, "kind2": b})


def more_of_size(view: View, rng: random.Random) -> Ask | None:
    """Are there more big things than small ones?"""
    sizes = [thing.size for thing in view.scene.things]
    if sizes.count("big") * 2 == len(sizes):
        return None
    size, size2 = ("big", "small") if coin(rng) else ("small", "big")
    program = ["more", ["count", ["only", things(), "size", size]], ["count", ["only", things(), "size", size2]]]
    slots = {"size": size, "size2": size2, "ground": view.scene.ground}
    return Ask("comparison", "comparison.more", program, slots)


def box_of(view: View, rng: random.Random) -> Ask:
    """Give the box of the ball."""
    kind = pick(rng, view.scene.things).kind
    return Ask("region", "region.box", ["box", the(kind)], {"kind": kind})


def what_is_in_box(view: View, rng: random.Random) -> Ask | None:
    """What stands in this box?"""
    found = _region(view, rng)
    if found is None:
        return None
    kind, box = found
    program = ["get", "kind", ["in_box", 0, box]]
    return Ask("region", "region.what", program, {"box": box}, lineup(rng, KINDS, kind, 4))


def colour_in_box(view: View, rng: random.Random) -> Ask | None:
    """What colour is the thing in this box?"""
    found = _region(view, rng)
    if found is None:
        return None
    kind, box = found
    program = ["get", "colour", ["in_box", 0, box]]
    return Ask("region", "region.colour", program, {"box": box}, lineup(rng, COLOURS, view.of_kind[kind].colour, 4))


def point_to(view: View, rng: random.Random) -> Ask:
    """Point to the ball."""
    kind = pick(rng, view.scene.things).kind
    return Ask("point", "point.to", ["point", the(kind)], {"kind": kind})


def nearest_to_point(view: View, rng: random.Random) -> Ask | None:
    """Which thing is nearest to this point? The point's height is drawn apart from the thing, whose shape it would tell."""
    thing = pick(rng, view.scene.things)
    x0, _, x1, _ = view.box(thing)
    point = [round((x0 + x1) / 2 + 0.06 * (2 * rng.random() - 1), 3), round(0.55 + 0.37 * rng.random(), 3)]
    try:
        kind = answer(program := ["get", "kind", ["nearest", 0, point]], [view])
    except Ambiguous:
        return None
    return Ask("point", "point.what", program, {"point": point}, lineup(rng, KINDS, str(kind), 4))


def _setting(name: str, values: tuple[str, ...]) -> dict[str, Drawer]:
    def which(view: View, rng: random.Random) -> Ask | None:
        value = getattr(view.scene, name)
        if name == "weather" and rng.random() > KEEP_WEATHER[value]:
            return None
        return Ask("setting", f"setting.{name}", ["setting", name, 0], {}, lineup(rng, values, value, 4))

    def is_so(view: View, rng: random.Random) -> Ask | None:
        value = getattr(view.scene, name)
        if name == "weather" and rng.random() > KEEP_WEATHER[value]:
            return None
        asked = value if coin(rng) else other(rng, values, value)
        return Ask("setting", f"setting.is_{name}", ["same", ["setting", name, 0], asked], {name: asked})

    return {f"setting.{name}": which, f"setting.is_{name}": is_so}


def _two(view: View, rng: random.Random) -> list[str] | None:
    kinds = [thing.kind for thing in view.scene.things]
    return rng.sample(kinds, 2) if len(kinds) > 1 else None


def _region(view: View, rng: random.Random) -> tuple[str, list[float]] | None:
    """A thing and a box around its place. The box's sides are drawn apart from the thing, whose shape they would tell."""
    thing = pick(rng, view.scene.things)
    x0, _, x1, _ = view.box(thing)
    middle, half = (x0 + x1) / 2, 0.16 + 0.03 * rng.random()
    box = [middle - half, 0.42 + 0.06 * rng.random(), middle + half, 0.93 + 0.05 * rng.random()]
    box = [round(min(max(v, 0.0), 1.0), 3) for v in box]
    try:
        kind = answer(["get", "kind", ["in_box", 0, box]], [view])
    except Ambiguous:
        return None
    return None if kind is None else (str(kind), box)


def _fairly_taller(view: View, rng: random.Random) -> list[str] | None:
    """Two kinds, one big and one small, of which either would be the taller one if sizes were exchanged."""
    pair = _two(view, rng)
    if pair is None or view.of_kind[pair[0]].size == view.of_kind[pair[1]].size:
        return None
    natural = sorted(NATURAL_HEIGHT[kind] for kind in pair)
    drawn = sorted(view.height(view.of_kind[kind]) for kind in pair)
    return pair if natural[1] <= FAIR_HEIGHT * natural[0] and drawn[1] >= TALLER * drawn[0] else None


DRAWERS: dict[str, Drawer] = {
    "place.where": place_of,
    "place.is": is_place,
    "place.what": what_is_at_place,
    "relation.is": is_beside,
    "relation.next": next_to,
    "relation.between": between,
    "comparison.further": further,
    "comparison.taller": taller,
    "comparison.is_taller": is_taller,
    "comparison.same_colour": same_colour,
    "comparison.more": more_of_size,
    "region.box": box_of,
    "region.what": what_is_in_box,
    "region.colour": colour_in_box,
    "point.to": point_to,
    "point.what": nearest_to_point,
    **_setting("ground", GROUNDS),
    **_setting("time", TIMES),
    **_setting("weather", WEATHERS),
}
