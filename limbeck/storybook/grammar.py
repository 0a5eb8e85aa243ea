"""Captions: a scene in words, and words back into a scene.

    a big red ball on the left and a small blue house on the right, on grass, at night, in the rain

`parse_caption` is exact: `parse_caption(caption(scene))` has the scene's content for every scene. It forgives case,
a final full stop and the order of the phrases after the things, and refuses everything else.
"""

from __future__ import annotations

import re

from limbeck.storybook.scene import Scene, Thing
from limbeck.storybook.world import COLOURS, KINDS, SIZES

PLACE_PHRASE = {"left": "on the left", "middle": "in the middle", "right": "on the right"}
GROUND_PHRASE = {"grass": "on grass", "sand": "on sand", "snow": "on snow", "water": "on water"}
TIME_PHRASE = {"day": "by day", "sunset": "at sunset", "night": "at night"}
WEATHER_PHRASE = {"clear": "", "cloudy": "under clouds", "rainy": "in the rain"}
STYLE_PHRASE = {"plain": "", "pastel": "in pastel"}

_THING = re.compile(
    rf"an? ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(KINDS)}) ({'|'.join(PLACE_PHRASE.values())})"
)
_SETTINGS = {
    phrase: (field, value)
    for field, phrases in (
        ("ground", GROUND_PHRASE),
        ("time", TIME_PHRASE),
        ("weather", WEATHER_PHRASE),
        ("style", STYLE_PHRASE),
    )
    for value, phrase in phrases.items()
    if phrase
}
_PLACE_OF = {phrase: place for place, phrase in PLACE_PHRASE.items()}


def describe(thing: Thing) -> str:
    """A thing in words.

    >>> describe(Thing("ball", "red", "big", "left"))
    'a big red ball on the left'
    """
    return f"a {thing.size} {thing.colour} {thing.kind} {PLACE_PHRASE[thing.place]}"


def caption(scene: Scene) -> str:
    """The caption of a scene; clear weather and plain style go without saying.

    >>> caption(Scene((Thing("cat", "pink", "small", "middle"),), ground="sand", time="night", style="pastel"))
    'a small pink cat in the middle, on sand, at night, in pastel'
    """
    things = [describe(t) for t in scene.things]
    listed = things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
    settings = (
        GROUND_PHRASE[scene.ground],
        TIME_PHRASE[scene.time],
        WEATHER_PHRASE[scene.weather],
        STYLE_PHRASE[scene.style],
    )
    return ", ".join([listed, *(phrase for phrase in settings if phrase)])


def parse_caption(text: str) -> Scene | None:
    """The scene a caption describes, or None where it is not of this grammar.

    >>> parse_caption("A big red ball on the left, on grass, at night.").time
    'night'
    >>> parse_caption("a dragon") is None
    True
    """
    rest = " ".join(text.lower().strip().rstrip(".").split())
    things: list[Thing] = []
    while match := _THING.match(rest):
        size, colour, kind, place = match.groups()
        things.append(Thing(kind, colour, size, _PLACE_OF[place]))
        rest = rest[match.end() :]
        joint = re.match(r",? and (?=an? )|, (?=an? )", rest)
        if not joint:
            break
        rest = rest[joint.end() :]
    settings: dict[str, str] = {}
    if rest and not rest.startswith(", "):
        return None
    for phrase in rest[2:].split(", ") if rest else []:
        field, value = _SETTINGS.get(phrase, ("", ""))
        if not field or field in settings:
            return None
        settings[field] = value
    if not {"ground", "time"} <= settings.keys():
        return None
    try:
        return Scene(tuple(things), **settings)
    except ValueError:
        return None


def words() -> list[str]:
    """Every word a caption can hold, sorted."""
    phrases = [*PLACE_PHRASE.values(), *_SETTINGS, *SIZES, *COLOURS, *KINDS, "a", "and"]
    return sorted({word for phrase in phrases for word in phrase.split()})
