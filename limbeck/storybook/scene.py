"""The scene graph: what a picture shows, as data.

A scene's *content* is everything its caption says. Its `variation` seeds what the caption leaves open (where
exactly a thing stands, the clouds, the shade of the sky), so one content has many pictures.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, PLACES, SIZES, STYLES, TIMES, WEATHERS

Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, order=True)
class Thing:
    """One thing of a scene; no two things of a scene share a kind or a place."""

    kind: str
    colour: str
    size: str
    place: str


@dataclass(frozen=True)
class Scene:
    """A scene graph. `things` are ordered from left to right.

    Raises:
        ValueError: an attribute is not of this world, there are not one to three things, or two share a kind or place.
    """

    things: tuple[Thing, ...]
    ground: str = "grass"
    time: str = "day"
    weather: str = "clear"
    style: str = "plain"
    variation: int = 0

    def __post_init__(self) -> None:
        """Checks every attribute and puts the things in order."""
        for value, allowed in self._values():
            if value not in allowed:
                raise ValueError(f"{value!r} is not of the storybook's world; it knows {', '.join(allowed)}")
        if not 1 <= len(self.things) <= len(PLACES):
            raise ValueError(f"a scene holds one to {len(PLACES)} things, found {len(self.things)}")
        for what in ("kind", "place"):
            if len({getattr(t, what) for t in self.things}) < len(self.things):
                raise ValueError(f"two things share a {what}: {[getattr(t, what) for t in self.things]}")
        ordered = tuple(sorted(self.things, key=lambda t: PLACES.index(t.place)))
        object.__setattr__(self, "things", ordered)

    def _values(self) -> list[tuple[str, tuple[str, ...]]]:
        of_things = [
            pair
            for t in self.things
            for pair in ((t.kind, KINDS), (t.colour, COLOURS), (t.size, SIZES), (t.place, PLACES))
        ]
        return [
            *of_things,
            (self.ground, GROUNDS),
            (self.time, TIMES),
            (self.weather, WEATHERS),
            (self.style, STYLES),
        ]

    def thing(self, kind: str) -> Thing | None:
        """The thing of that kind, or None."""
        return next((t for t in self.things if t.kind == kind), None)

    def free_places(self) -> list[str]:
        """Places where nothing stands, from left to right."""
        taken = {t.place for t in self.things}
        return [p for p in PLACES if p not in taken]

    def same_content(self, other: Scene) -> bool:
        """Whether both have the same caption."""
        return replace(self, variation=0) == replace(other, variation=0)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Scene:
        """The inverse of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        return cls(**{**fields, "things": tuple(Thing(**t) for t in fields["things"])})


def split_of(scene: Scene) -> Split:
    """The split a scene belongs to, by its content: 80% train, 8% validation, 12% test.

    The same content is never in two splits, whatever its variation.

    >>> split_of(Scene((Thing("ball", "red", "big", "left"),)))
    'train'
    """
    digest = hashlib.blake2b(replace(scene, variation=0).to_json().encode(), digest_size=4).digest()
    share = int.from_bytes(digest, "big") / 2**32
    return "train" if share < 0.80 else "validation" if share < 0.88 else "test"


def sample_scene(
    rng: np.random.Generator,
    *,
    things: int | None = None,
    split: Split | None = None,
) -> Scene:
    """Draws a scene, uniformly over attributes; two in three are clear, five in six plain.

    Args:
        rng: source of all randomness.
        things: how many things; one to three with equal chance if None.
        split: draw until the content belongs to this split.
    """
    while True:
        n = things or int(rng.integers(1, 4))
        kinds = rng.permutation(len(KINDS))[:n]
        places = rng.permutation(len(PLACES))[:n]
        scene = Scene(
            things=tuple(
                Thing(KINDS[k], COLOURS[rng.integers(len(COLOURS))], SIZES[rng.integers(len(SIZES))], PLACES[p])
                for k, p in zip(kinds, places, strict=True)
            ),
            ground=GROUNDS[rng.integers(len(GROUNDS))],
            time=TIMES[rng.integers(len(TIMES))],
            weather=WEATHERS[rng.choice(len(WEATHERS), p=(4 / 6, 1 / 6, 1 / 6))],
            style=STYLES[rng.choice(len(STYLES), p=(5 / 6, 1 / 6))],
            variation=int(rng.integers(2**32)),
        )
        if split is None or split_of(scene) == split:
            return scene
