"""Edits: one change to a scene graph, in words and in truth.

An edit is data (`type`, the thing it speaks of, the new value), so `apply` gives the exact scene after it,
`instruction` words it in one of several ways, and `parse_instruction` reads any of those ways back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from limbeck.storybook.grammar import PLACE_PHRASE, describe
from limbeck.storybook.scene import Scene, Thing
from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, PLACES, SIZES, STYLES, TIMES, WEATHERS

EDIT_TYPES = (
    "recolour", "replace", "add", "remove", "resize", "move", "ground", "time", "weather", "style",
)  # fmt: skip

_SETTING_VALUES = {"ground": GROUNDS, "time": TIMES, "weather": WEATHERS, "style": STYLES}
_GROUND_WORDS = {"grass": "grass", "sand": "sand", "snow": "snow", "water": "water"}
_TIME_WORDS = {"day": "day", "sunset": "sunset", "night": "night"}
_SIZE_VERB = {"big": "enlarge", "small": "shrink"}


@dataclass(frozen=True)
class Edit:
    """One change: `type`, the `kind` of thing it speaks of ("" for settings), and its new `value`.

    For `add` the whole new thing is in `thing`; for `remove` the value is "".
    """

    type: str
    kind: str = ""
    value: str = ""
    thing: Thing | None = None

    def apply(self, scene: Scene) -> Scene | None:
        """The scene after the edit, or None where it makes no sense in this scene or changes nothing.

        >>> Edit("recolour", "ball", "blue").apply(Scene((Thing("ball", "red", "big", "left"),))).things[0].colour
        'blue'
        """
        if self.type in _SETTING_VALUES:
            same = getattr(scene, self.type) == self.value
            return None if same else replace(scene, **{self.type: self.value})
        if self.type == "add":
            if not self.thing or scene.thing(self.thing.kind) or self.thing.place not in scene.free_places():
                return None
            return replace(scene, things=(*scene.things, self.thing))
        old = scene.thing(self.kind)
        if old is None:
            return None
        others = tuple(t for t in scene.things if t is not old)
        if self.type == "remove":
            return replace(scene, things=others) if others else None
        field = {"recolour": "colour", "replace": "kind", "resize": "size", "move": "place"}[self.type]
        if getattr(old, field) == self.value:
            return None
        try:
            return replace(scene, things=(*others, replace(old, **{field: self.value})))
        except ValueError:  # the place is taken, or the kind is there already
            return None


def _wordings(edit: Edit) -> list[str]:
    """Every way to word an edit."""
    kind, value = edit.kind, edit.value
    match edit.type:
        case "recolour":
            return [
                f"make the {kind} {value}",
                f"paint the {kind} {value}",
                f"turn the {kind} {value}",
                f"change the colour of the {kind} to {value}",
            ]
        case "replace":
            return [
                f"replace the {kind} with a {value}",
                f"turn the {kind} into a {value}",
                f"swap the {kind} for a {value}",
            ]
        case "add":
            assert edit.thing
            new = describe(edit.thing)
            return [f"add {new}", f"put {new}", f"draw {new}"]
        case "remove":
            return [f"remove the {kind}", f"take away the {kind}", f"erase the {kind}"]
        case "resize":
            return [f"make the {kind} {value}", f"{_SIZE_VERB[value]} the {kind}"]
        case "move":
            where = PLACE_PHRASE[value].removeprefix("on ").removeprefix("in ")
            return [f"move the {kind} to {where}", f"put the {kind} {PLACE_PHRASE[value]}"]
        case "ground":
            word = _GROUND_WORDS[value]
            return [f"change the ground to {word}", f"make the ground {word}", f"put it on {word}"]
        case "time":
            word = _TIME_WORDS[value]
            return [f"make it {word}", f"change the time to {word}", f"turn it to {word}"]
        case "weather":
            words = {"clear": "clear", "cloudy": "cloudy", "rainy": "rainy"}[value]
            return [f"make the weather {words}", f"make the sky {words}"]
        case "style":
            return [f"make the style {value}", f"redraw it in {value} style"]
    raise ValueError(f"{edit.type!r} is no edit type; there are {', '.join(EDIT_TYPES)}")


def instruction(edit: Edit, rng: np.random.Generator | None = None) -> str:
    """The edit as an instruction; the plainest wording without an rng.

    >>> instruction(Edit("time", value="night"))
    'make it night'
    """
    ways = _wordings(edit)
    return ways[0] if rng is None else ways[int(rng.integers(len(ways)))]


def _all_edits() -> list[Edit]:
    of_things = [
        Edit(type, kind, value)
        for type, values in (
            ("recolour", COLOURS), ("replace", KINDS), ("resize", SIZES), ("move", PLACES), ("remove", ("",)),
        )
        for kind in KINDS
        for value in values
        if value != kind
    ]  # fmt: skip
    added = [
        Edit("add", kind, thing=Thing(kind, colour, size, place))
        for kind in KINDS
        for colour in COLOURS
        for size in SIZES
        for place in PLACES
    ]
    settings = [Edit(type, "", value) for type, values in _SETTING_VALUES.items() for value in values]
    return [*of_things, *added, *settings]


_BY_WORDING: dict[str, Edit] = {}


def parse_instruction(text: str) -> Edit | None:
    """The edit an instruction asks for, or None where it is none of the wordings.

    >>> parse_instruction("Paint the house pink.")
    Edit(type='recolour', kind='house', value='pink', thing=None)
    """
    if not _BY_WORDING:
        _BY_WORDING.update({wording: edit for edit in _all_edits() for wording in _wordings(edit)})
    return _BY_WORDING.get(re.sub(r"\s+", " ", text.lower().strip().rstrip(".!")))


def sample_edit(rng: np.random.Generator, scene: Scene, type: str | None = None) -> Edit | None:
    """Draws an edit that changes this scene, or None where the type is impossible in it.

    Args:
        rng: source of all randomness.
        scene: the scene to change.
        type: one of `EDIT_TYPES`; any possible one if None.
    """
    for name in [type] if type else [EDIT_TYPES[i] for i in rng.permutation(len(EDIT_TYPES))]:
        candidates = _candidates(rng, scene, name)
        if candidates:
            return candidates[int(rng.integers(len(candidates)))]
    return None


def _candidates(rng: np.random.Generator, scene: Scene, type: str) -> list[Edit]:
    if type in _SETTING_VALUES:
        return [Edit(type, "", v) for v in _SETTING_VALUES[type] if v != getattr(scene, type)]
    present = [t.kind for t in scene.things]
    absent = [k for k in KINDS if k not in present]
    if type == "add":
        places = scene.free_places()
        if not places:
            return []
        kind = absent[int(rng.integers(len(absent)))]
        colour, size = COLOURS[int(rng.integers(len(COLOURS)))], SIZES[int(rng.integers(len(SIZES)))]
        return [Edit("add", kind, thing=Thing(kind, colour, size, place)) for place in places]
    thing = scene.things[int(rng.integers(len(scene.things)))]
    values: dict[str, list[str]] = {
        "recolour": [c for c in COLOURS if c != thing.colour],
        "replace": absent,
        "resize": [s for s in SIZES if s != thing.size],
        "move": scene.free_places(),
        "remove": [""] if len(scene.things) > 1 else [],
    }
    return [Edit(type, thing.kind, v) for v in values[type]]
