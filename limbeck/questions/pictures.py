"""Draws questions about two pictures, and minimal pairs: one question whose answer an edit turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from limbeck.questions import places, things
from limbeck.questions.ask import Ask, coin, pick, the
from limbeck.questions.ask import things as all_things
from limbeck.questions.program import Ambiguous, Value, answer
from limbeck.questions.view import View
from limbeck.storybook.edits import Edit, sample_edit
from limbeck.storybook.scene import Scene, split_of
from limbeck.storybook.world import KINDS

Drawer = Callable[[Sequence[View], random.Random], Ask | None]
DRAWERS_OF_ONE = {**things.DRAWERS, **places.DRAWERS}
"""Every question about one picture."""

TURNED_BY: dict[str, tuple[str, ...]] = {
    "recolour": ("attribute.is_colour", "attribute.colour", "existence.described", "comparison.same_colour"),
    "replace": ("existence.random", "existence.popular", "place.what", "relation.next", "relation.between"),
    "add": ("existence.random", "existence.popular", "count.all"),
    "remove": ("existence.random", "existence.popular", "count.all"),
    "resize": ("attribute.is_size", "attribute.size", "comparison.is_taller", "comparison.taller", "comparison.more"),
    "move": ("place.where", "place.is", "relation.is", "comparison.further"),
    "ground": ("setting.ground", "setting.is_ground"),
    "time": ("setting.time", "setting.is_time"),
    "weather": ("setting.weather", "setting.is_weather"),
}
"""Which questions an edit of each type can turn."""
_TRIES = 16


def edited(scene: Scene, seed: int, types: Sequence[str] = tuple(TURNED_BY)) -> tuple[Edit, Scene] | None:
    """An edit of a scene and the scene after it, which is of the same split: no content of the test set leaks.

    Args:
        scene: to change.
        seed: of the drawing.
        types: types of edit to choose from.
    """
    rng = np.random.default_rng(seed)
    for _ in range(_TRIES):
        edit = sample_edit(rng, scene, types[int(rng.integers(len(types)))])
        after = edit.apply(scene) if edit else None
        if edit and after and split_of(after) == split_of(scene):
            return edit, after
    return None


def turning(
    before: View, after: View, type: str, rng: random.Random, usable: Sequence[str] = tuple(DRAWERS_OF_ONE)
) -> tuple[Ask, Value, Value] | None:
    """A question that an edit of this type turns, with its answers before and after; None where no try finds one."""
    names = [name for name in TURNED_BY[type] if name in usable]
    for _ in range(_TRIES if names else 0):
        ask = DRAWERS_OF_ONE[pick(rng, names)](before if coin(rng) else after, rng)
        if ask is None:
            continue
        try:
            values = answer(ask.program, [before]), answer(ask.program, [after])
        except Ambiguous:
            continue
        if None not in values and values[0] != values[1]:
            return (ask, *values)
    return None


def which_shows(views: Sequence[View], rng: random.Random) -> Ask | None:
    """Which picture shows a cat? Only where one of them does."""
    kinds = sorted(set(views[0].of_kind) ^ set(views[1].of_kind))
    if not kinds:
        return None
    kind = pick(rng, kinds)
    program = ["either", ["exists", ["only", all_things(0), "kind", kind]], "first", "second"]
    return Ask("two_pictures", "two.which", program, {"kind": kind})


def which_shows_described(views: Sequence[View], rng: random.Random) -> Ask | None:
    """Which picture shows a red ball? Only where one of them does."""
    pairs = sorted(
        {(t.colour, t.kind) for t in views[0].scene.things} ^ {(t.colour, t.kind) for t in views[1].scene.things}
    )
    if not pairs:
        return None
    colour, kind = pick(rng, pairs)
    program = [
        "either", ["exists", ["only", ["only", all_things(0), "kind", kind], "colour", colour]], "first", "second"
    ]  # fmt: skip
    return Ask("two_pictures", "two.which_described", program, {"kind": kind, "colour": colour})


def which_shows_more(views: Sequence[View], rng: random.Random) -> Ask | None:
    """Which picture shows more things on the ground?"""
    if len(views[0].scene.things) == len(views[1].scene.things):
        return None
    program = ["either", ["more", ["count", all_things(0)], ["count", all_things(1)]], "first", "second"]
    return Ask("two_pictures", "two.more", program, {})


def both_show(views: Sequence[View], rng: random.Random) -> Ask | None:
    """Is there a cat in both pictures? A no has it in one of them, or in neither."""
    yes = coin(rng)
    kinds = [k for k in KINDS if (k in views[0].of_kind and k in views[1].of_kind) == yes]
    in_one = set(views[0].of_kind) ^ set(views[1].of_kind)
    if not yes and in_one:
        kinds = sorted(in_one)
    if not kinds:
        return None
    kind = pick(rng, kinds)
    program = ["same", ["count", ["only", ["both", 0, 1], "kind", kind]], 2]
    return Ask("two_pictures", "two.both", program, {"kind": kind})


def _same(field: str) -> Drawer:
    def draw(views: Sequence[View], rng: random.Random) -> Ask | None:
        shared = [k for k in views[0].of_kind if k in views[1].of_kind]
        yes = coin(rng)
        shared = [
            k for k in shared
            if (getattr(views[0].of_kind[k], field) == getattr(views[1].of_kind[k], field)) == yes
        ]  # fmt: skip
        if not shared or (yes and rng.random() > 0.12):
            return None
        kind = pick(rng, shared)
        program = ["same", ["get", field, the(kind, 0)], ["get", field, the(kind, 1)]]
        return Ask("two_pictures", f"two.same_{field}", program, {"kind": kind})

    return draw


def _same_setting(field: str) -> Drawer:
    def draw(views: Sequence[View], rng: random.Random) -> Ask | None:
        yes = getattr(views[0].scene, field) == getattr(views[1].scene, field)
        if yes and rng.random() > 0.12:
            return None
        return Ask("two_pictures", f"two.same_{field}", ["same", ["setting", field, 0], ["setting", field, 1]], {})

    return draw


def what_changed(views: Sequence[View], rng: random.Random) -> Ask:
    """What is different in the second picture?"""
    return Ask("two_pictures", "two.changed", ["changed", 0, 1], {})


DRAWERS_OF_TWO: dict[str, Drawer] = {
    "two.which": which_shows,
    "two.which_described": which_shows_described,
    "two.more": which_shows_more,
    "two.both": both_show,
    "two.same_colour": _same("colour"),
    "two.same_size": _same("size"),
    "two.same_place": _same("place"),
    "two.same_time": _same_setting("time"),
    "two.same_ground": _same_setting("ground"),
    "two.same_weather": _same_setting("weather"),
    "two.changed": what_changed,
}
"""Every question about two pictures, of which the second is the first after an edit, or the other way round."""
