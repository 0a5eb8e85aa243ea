"""The taxonomy of edits: canonical names, what each means, and worked examples for prompts.

Filters hold thresholds by these names; the instruction writer's quotas are given in them. The ten types of the
storybook are a subset with the same names.
"""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.errors import SettingError, did_you_mean

Example = tuple[str, str, str]
"""A caption, an instruction for it, and the caption after the edit."""


@dataclass(frozen=True)
class EditType:
    """One kind of edit.

    Attributes:
        name: canonical name, as in the `edit_type` column.
        group: `object`, `person`, `text`, `scene` or `look`.
        meaning: what the edit does, in the imperative.
        examples: worked examples.
    """

    name: str
    group: str
    meaning: str
    examples: tuple[Example, ...]

    @property
    def is_local(self) -> bool:
        """Whether one region changes and most of the picture has to stay as it was."""
        return self.group in ("object", "person", "text")


_TYPES = (
    EditType("recolour", "object", "change the colour of one thing", (
        ("a red kite above a beach", "make the kite green", "a green kite above a beach"),
        ("portrait of a woman with black hair", "give her silver hair", "portrait of a woman with silver hair"),
    )),
    EditType("replace", "object", "replace one thing by another of a different kind", (
        ("a bowl of apples on a table", "turn the apples into lemons", "a bowl of lemons on a table"),
        ("an owl on a branch at dusk", "swap the owl for a squirrel", "a squirrel on a branch at dusk"),
    )),
    EditType("add", "object", "add one new thing", (
        ("a quiet harbour with two boats", "add a lighthouse", "a quiet harbour with two boats and a lighthouse"),
        ("a desk by a window", "put a vase of tulips on the desk", "a desk with a vase of tulips by a window"),
    )),
    EditType("remove", "object", "take one thing away", (
        ("a cat and a dog on a sofa", "remove the dog", "a cat on a sofa"),
        ("a hiker with a backpack on a ridge", "take away the backpack", "a hiker on a ridge"),
    )),
    EditType("resize", "object", "make one thing larger or smaller", (
        ("a small balloon over a field", "make the balloon huge", "a huge balloon over a field"),
        ("a tall tower in an old town", "shrink the tower", "a low tower in an old town"),
    )),
    EditType("move", "object", "put one thing elsewhere in the picture", (
        ("a chair to the left of a window", "move the chair to the right", "a chair to the right of a window"),
        ("a lamp on the floor beside a bed", "put the lamp on the bed", "a lamp on a bed"),
    )),
    EditType("count", "object", "change how many there are of one thing", (
        ("two swans on a lake", "make it five swans", "five swans on a lake"),
        ("three candles on a cake", "leave only one candle", "one candle on a cake"),
    )),
    EditType("material", "object", "change what one thing is made of", (
        ("a wooden bench in a park", "make the bench out of marble", "a marble bench in a park"),
        ("a glass teapot on a tray", "turn it into a copper teapot", "a copper teapot on a tray"),
    )),
    EditType("action", "person", "change what a person or an animal is doing", (
        ("a girl sitting on a swing", "have the girl stand on the swing", "a girl standing on a swing"),
        ("a horse grazing in a meadow", "make the horse gallop", "a horse galloping through a meadow"),
    )),
    EditType("expression", "person", "change the expression of a face", (
        ("a portrait of a serious fisherman", "make him smile", "a portrait of a smiling fisherman"),
        ("a boy opening a present", "make the boy look surprised", "a surprised boy opening a present"),
    )),
    EditType("clothing", "person", "change what somebody wears", (
        ("a man in a suit on a bridge", "dress the man in a raincoat", "a man in a raincoat on a bridge"),
        ("a dancer on a stage", "give the dancer a red cape", "a dancer in a red cape on a stage"),
    )),
    EditType("text", "text", "change words that are written in the picture", (
        ("a shop sign that says bakery", "make the sign say books", "a shop sign that says books"),
        ("a mug with the word monday", "change the word to friday", "a mug with the word friday"),
    )),
    EditType("ground", "scene", "change what the things stand on", (
        ("a house on grass", "put the house on sand", "a house on sand"),
        ("a fox on a forest path", "cover the path with snow", "a fox on a snowy forest path"),
    )),
    EditType("background", "scene", "change the place behind the subject", (
        ("a bicycle against a brick wall", "put it in front of a forest", "a bicycle in front of a forest"),
        ("a violinist in a concert hall", "move the scene to a subway station", "a violinist in a subway station"),
    )),
    EditType("time", "scene", "change the time of day", (
        ("a street market at noon", "make it night", "a street market at night"),
        ("sailboats in a bay", "show it at sunset", "sailboats in a bay at sunset"),
    )),
    EditType("weather", "scene", "change the weather", (
        ("a village on a clear day", "make it rain", "a village in the rain"),
        ("a castle on a hill", "add thick fog", "a castle on a hill in thick fog"),
    )),
    EditType("season", "scene", "change the season", (
        ("a path through a green wood", "make it autumn", "a path through a golden autumn wood"),
        ("a farmhouse with a garden", "turn it to winter", "a farmhouse with a garden under snow"),
    )),
    EditType("style", "look", "change the style the picture is made in", (
        ("a photo of a mountain lake", "make it a watercolour", "a watercolour of a mountain lake"),
        ("a train crossing a viaduct", "as a pencil sketch", "a pencil sketch of a train crossing a viaduct"),
    )),
    EditType("lighting", "look", "change the light or the overall tone", (
        ("a kitchen in bright light", "light the kitchen with candles", "a kitchen in candlelight"),
        ("a statue in a courtyard", "light it from behind", "a backlit statue in a courtyard"),
    )),
    EditType("viewpoint", "look", "change the distance or the angle it is seen from", (
        ("a castle on a hill", "show the castle from above", "a castle on a hill, seen from above"),
        ("a ladybird on a leaf", "go very close", "a macro shot of a ladybird on a leaf"),
    )),
)  # fmt: skip

EDIT_TYPES: dict[str, EditType] = {kind.name: kind for kind in _TYPES}
STORYBOOK_TYPES = ("recolour", "replace", "add", "remove", "resize", "move", "ground", "time", "weather", "style")
_ALIASES = {"recolor": "recolour", "color": "recolour", "colour": "recolour", "attribute": "recolour",
            "swap": "replace", "delete": "remove", "insert": "add", "size": "resize", "position": "move",
            "texture": "material", "pose": "action", "clothes": "clothing", "time_of_day": "time",
            "tone": "lighting", "light": "lighting", "camera": "viewpoint"}  # fmt: skip


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
    raise SettingError(f"unknown edit type {name!r}", remedy=did_you_mean(key, [*EDIT_TYPES, *_ALIASES]))
