"""A scene as the first implementation sees it: the scene graph, and the renderer's own geometry when asked for.

Convention: boxes are (x0, y0, x1, y1) and points (x, y), as shares of the picture's width and height in [0, 1], three
decimals, origin top left. Heights and areas are shares too.
"""

from __future__ import annotations

import json
from functools import cached_property

import numpy as np

from limbeck.pictures import png
from limbeck.storybook.render import Picture, render
from limbeck.storybook.scene import Scene, Thing
from limbeck.storybook.world import KINDS

DECIMALS = 3


class View:
    """One picture of one scene. The picture is drawn when its geometry is first needed.

    Attributes:
        scene: what it shows.
        size_px: side of the picture.
        marks: numbers drawn into it: number to index of the thing, see `limbeck.marks`.
        told: whether words alone tell the scene, and somebody else drew it.
        kinds: names that a question may use.
    """

    def __init__(
        self, scene: Scene, size_px: int = 64, marks: dict[int, int] | None = None, *, told: bool = False
    ) -> None:
        self.scene, self.size_px, self.marks, self.told = scene, size_px, marks or {}, told
        self.of_kind: dict[str, Thing] = {thing.kind: thing for thing in scene.things}
        self.kinds: tuple[str, ...] = KINDS

    @cached_property
    def picture(self) -> Picture:
        """The rendered picture with masks and boxes."""
        return render(self.scene, self.size_px)

    @cached_property
    def json(self) -> str:
        """The scene as JSON; a told one's says no variation, see `is_told`."""
        return told_json(self.scene) if self.told else self.scene.to_json()

    @cached_property
    def png(self) -> bytes:
        """The picture, encoded."""
        return png(self.picture.image)

    def index(self, thing: Thing) -> int:
        """The thing's position in the scene."""
        return self.scene.things.index(thing)

    def box(self, thing: Thing) -> list[float]:
        """Box of what is visible of a thing."""
        return [round(float(v) / self.size_px, DECIMALS) for v in self.picture.boxes[self.index(thing)]]

    def height(self, thing: Thing) -> float:
        """Height of that box."""
        _, y0, _, y1 = self.picture.boxes[self.index(thing)]
        return float(y1 - y0) / self.size_px

    def point(self, thing: Thing) -> list[float]:
        """A point well inside the visible part of a thing: centre of the pixel furthest from its outline."""
        row, column = deepest_pixel(self.picture.masks[self.index(thing)])
        return [round((column + 0.5) / self.size_px, DECIMALS), round((row + 0.5) / self.size_px, DECIMALS)]

    def labels(self) -> np.ndarray:
        """(H, W) uint8: 0 where nothing stands, else 1 + the class index of the visible thing's kind."""
        return label_map(self.scene, self.picture)


def told_json(scene: Scene) -> str:
    """JSON of a scene that is known from words: all but the variation, which no words say.

    >>> from limbeck.storybook import parse_caption
    >>> is_told(told_json(parse_caption("a big red ball on the left, on grass, by day")))
    True
    """
    fields = json.loads(scene.to_json())
    del fields["variation"]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def is_told(text: str) -> bool:
    """Whether JSON of a scene leaves its variation open: what its picture shows is known, but not pixel by pixel."""
    return "variation" not in json.loads(text)


def label_map(scene: Scene, picture: Picture) -> np.ndarray:
    """What a renderer writes beside its picture: (H, W) uint8, 1 + kind index of the visible thing, 0 elsewhere."""
    labels = np.zeros(picture.image.shape[:2], np.uint8)
    for thing, mask in zip(scene.things, picture.masks, strict=True):
        labels[mask] = 1 + KINDS.index(thing.kind)
    return labels


def deepest_pixel(mask: np.ndarray) -> tuple[int, int]:
    """(row, column) of the pixel of a mask that is furthest from anything outside it; ties go to the first.

    >>> deepest_pixel(np.pad(np.ones((3, 5), bool), 1))
    (2, 2)

    Args:
        mask: (H, W) bool with at least one true pixel.
    """
    from scipy.ndimage import distance_transform_edt

    distance = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(distance.argmax()), mask.shape)
    return int(row), int(column)
