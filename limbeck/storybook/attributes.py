"""A scene as class indices, one per attribute: what `mini:reader` predicts and truth is compared in.

Per place (left, middle, right): kind (the last class is "nothing there"), colour and size; then ground, time,
weather and style.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from limbeck.storybook.scene import Scene, Thing
from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, PLACES, SIZES, STYLES, TIMES, WEATHERS

FIELDS = {
    **{
        f"{place}_{what}": n
        for place in PLACES
        for what, n in (("kind", len(KINDS) + 1), ("colour", len(COLOURS)), ("size", len(SIZES)))
    },
    "ground": len(GROUNDS),
    "time": len(TIMES),
    "weather": len(WEATHERS),
    "style": len(STYLES),
}
"""How many classes each attribute has, in order."""

NOTHING = len(KINDS)


def attributes(scene: Scene) -> NDArray[np.int64]:
    """(len(FIELDS),) class indices; colour and size of an empty place are -1.

    >>> attributes(Scene((Thing("ball", "red", "big", "left"),)))[:4].tolist()
    [0, 0, 1, 8]
    """
    out: list[int] = []
    for place in PLACES:
        thing = next((t for t in scene.things if t.place == place), None)
        if thing is None:
            out += [NOTHING, -1, -1]
        else:
            out += [KINDS.index(thing.kind), COLOURS.index(thing.colour), SIZES.index(thing.size)]
    out += [
        GROUNDS.index(scene.ground),
        TIMES.index(scene.time),
        WEATHERS.index(scene.weather),
        STYLES.index(scene.style),
    ]
    return np.array(out)


def scene_of(classes: NDArray[np.int64]) -> Scene | None:
    """The scene that class indices speak of, or None where it is none (no thing, or the same kind twice)."""
    things = []
    for i, place in enumerate(PLACES):
        kind, colour, size = (int(c) for c in classes[3 * i : 3 * i + 3])
        if kind != NOTHING:
            things.append(Thing(KINDS[kind], COLOURS[colour], SIZES[size], place))
    ground, time, weather, style = (int(c) for c in classes[9:])
    try:
        return Scene(tuple(things), GROUNDS[ground], TIMES[time], WEATHERS[weather], STYLES[style])
    except ValueError:
        return None
