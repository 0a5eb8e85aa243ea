"""A picture whose things are known by boxes, names and masks alone: what questions about marks need of a `View`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PhotoThing:
    """A thing in a photo.

    Attributes:
        kind: its name.
        box: (x0, y0, x1, y1), shares of width and height.
    """

    kind: str
    box: tuple[float, ...]


@dataclass(frozen=True)
class _Things:
    things: tuple[PhotoThing, ...]


class PhotoView:
    """One photo.

    Attributes:
        scene: its `things`, in the order of its boxes.
        marks: numbers drawn into it: number to index of the thing.
        kinds: names that a question may use besides: a picture's own, and the vocabulary.
        json: "" as there is no scene.
    """

    json = ""

    def __init__(
        self, boxes: Sequence[Mapping], vocabulary: Sequence[str] = (), words: Mapping[str, str] | None = None
    ) -> None:  # fmt: skip
        """Takes boxes as rows have them.

        Args:
            boxes: each with `name` and `box`.
            vocabulary: what things of other pictures are called.
            words: names in another language.
        """
        words = words or {}
        self.scene = _Things(tuple(PhotoThing(words.get(b["name"], b["name"]), tuple(b["box"])) for b in boxes))
        self.marks: dict[int, int] = {}
        self.kinds = tuple(
            dict.fromkeys([*(words.get(name, name) for name in vocabulary), *(t.kind for t in self.scene.things)])
        )
        counts = Counter(thing.kind for thing in self.scene.things)
        self.of_kind = {thing.kind: thing for thing in self.scene.things if counts[thing.kind] == 1}

    def index(self, thing: PhotoThing) -> int:
        """The thing's position."""
        return next(i for i, other in enumerate(self.scene.things) if other is thing)


def masks_of(mask_image: np.ndarray, count: int) -> np.ndarray:
    """(count, H, W) bool: the pixels of each thing of a `mask_image`.

    >>> masks_of(np.array([[0, 1], [2, 2]]), 2)[1].tolist()
    [[False, False], [True, True]]

    Args:
        mask_image: (H, W), 0 or 1 + the index of a thing.
        count: how many things there are.
    """
    return mask_image[None] == np.arange(1, count + 1)[:, None, None]
