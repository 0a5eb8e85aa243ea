"""The taxonomy of edits: canonical names, what each means, and one worked example for prompts.

Filters hold thresholds by these names; the instruction writer's quotas are given in them. The ten types of the
storybook are a subset with the same names.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from limbeck.errors import SettingError


@dataclass(frozen=True)
class EditType:
    """One kind of edit.

    Attributes:
        name: canonical name, as in the `edit_type` column.
        group: `object`, `scene`, `look`, `person` or `text`.
        meaning: what the edit does, in the imperative.
        example: a caption, an instruction for it, and the caption after the edit.
        is_local: only one region changes, so most of the picture has to stay as it was.
    """

    name: str
    group: str
    meaning: str
    example: tuple[str, str, str]
    is_local: bool = True


_TYPES = (
    EditType("recolour", "object", "change the colour of one thing",
             ("a red kite above a beach", "make the kite green", "a green kite above a beach")),
    EditType("replace", "object", "replace one thing by another of a different kind",
             ("a bowl of apples on a table", "turn the apples into lemons", "a bowl of lemons on a table")),
    EditType("add", "object", "add one new thing",
             ("a quiet harbour with two boats", "add a lighthouse", "a quiet harbour with two boats and a lighthouse")),
    EditType("remove", "object", "take one thing away",
             ("a cat and a dog on a sofa", "remove the dog", "a cat on a sofa")),
    EditType("resize", "object", "make one thing larger or smaller",
             ("a small balloon over a field", "make the balloon huge", "a huge balloon over a field")),
    EditType("move", "object", "put one thing elsewhere in the picture",
             ("a chair to the left of a window", "move the chair to the right of the window",
              "a chair to the right of a window")),
    EditType("count", "object", "change how many there are of one thing",
             ("two swans on a lake", "make it five swans", "five swans on a lake")),
    EditType("material", "object", "change what one thing is made of",
             ("a wooden bench in a park", "make the bench out of marble", "a marble bench in a park")),
    EditType("text", "text", "change words that are written in the picture",
             ('a shop sign that says "bakery"', 'change the sign to say "books"', 'a shop sign that says "books"')),
    EditType("action", "person", "change what a person or an animal is doing",
             ("a girl sitting on a swing", "have the girl stand on the swing", "a girl standing on a swing")),
    EditType("expression", "person", "change the expression of a face",
             ("a portrait of a serious fisherman", "make him smile", "a portrait of a smiling fisherman")),
    EditType("clothing", "person", "change what somebody wears",
             ("a man in a suit on a bridge", "dress the man in a raincoat", "a man in a raincoat on a bridge")),
    EditType("ground", "scene", "change what the things stand on",
             ("a house on grass", "put the house on sand", "a house on sand"), is_local=False),
    EditType("background", "scene", "change the place behind the subject",
             ("a bicycle against a brick wall", "put the bicycle in front of a forest", "a bicycle in front of a forest"),
             is_local=False),
    EditType("time", "scene", "change the time of day",
             ("a street market at noon", "make it night", "a street market at night"), is_local=False),
    EditType("weather", "scene", "change the weather",
             ("a village on a clear day", "make it rain", "a village in the rain"), is_local=False),
    EditType("season", "scene", "change the season",
             ("a path through a green summer wood", "make it autumn", "a path through a golden autumn wood"),
             is_local=False),
    EditType("style", "look", "change the style the picture is made in",
             ("a photo of a mountain lake", "make it a watercolour", "a watercolour of a mountain lake"),
             is_local=False),
    EditType("lighting", "look", "change the light or the overall tone",
             ("a kitchen in bright light", "light the kitchen with candles", "a kitchen in candlelight"),
             is_local=False),
    EditType("viewpoint", "look", "change the distance or the angle it is seen from",
             ("a castle on a hill", "show the castle from above", "a castle on a hill, seen from above"),
             is_local=False),
)

EDIT_TYPES: dict[str, EditType] = {kind.name: kind for kind in _TYPES}
STORYBOOK_TYPES = ("recolour", "replace", "add", "remove", "resize", "move", "ground", "time", "weather", "style")
_ALIASES = {"recolor": "recolour", "color": "recolour", "colour": "recolour", "attribute": "recolour",
            "swap": "replace", "delete": "remove", "insert": "add", "size": "resize", "position": "move",
            "texture": "material", "pose": "action", "clothes": "clothing", "time_of_day": "time",
            "tone": "lighting", "light": "lighting", "camera": "viewpoint"}


def canonical(name: str) -> str:
    """The canonical name of an edit type, also of common synonyms.

    >>> canonical("Color"), canonical("remove")
    ('recolour', 'remove')

    Raises:
        SettingError: no such type; the nearest names are in the message.
    """
    key = name.strip().lower().replace(" ", "_").replace("-", "_")
    key = _ALIASES.get(key, key)
    if key in EDIT_TYPES:
        return key
    near = difflib.get_close_matches(key, [*EDIT_TYPES, *_ALIASES], n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(EDIT_TYPES)}"
    raise SettingError(f"unknown edit type {name!r}; {hint}")
