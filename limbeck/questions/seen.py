"""The second implementation: answers a program from pixels and rendered labels alone. It knows no scene.

What it may read of a picture:

    image    (H, W, 3) uint8, the stored pixels: colours, sky, ground, style come from here
    labels   (H, W) uint8, what a renderer writes beside its picture: which kind of thing each pixel shows, 0 for none
    marks    where numbers were drawn

Everything else is measured: where a thing is and how tall from its labelled pixels, its colour by a vote of them, time and
weather from the top row, the ground from the bottom row. It shares no code with `limbeck.questions.program` and
imports neither the scene graph nor the renderer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.storybook.world import COLOURS, KINDS, RGB

Rgb = tuple[float, float, float]
SKY: dict[tuple[str, str], Rgb] = {
    ("day", "clear"): (0.455, 0.722, 0.961), ("day", "cloudy"): (0.475, 0.682, 0.871), ("day", "rainy"): (0.506, 0.604, 0.698),
    ("sunset", "clear"): (0.557, 0.365, 0.616), ("sunset", "cloudy"): (0.510, 0.373, 0.573),
    ("sunset", "rainy"): (0.427, 0.388, 0.482),
    ("night", "clear"): (0.063, 0.082, 0.243), ("night", "cloudy"): (0.071, 0.086, 0.208), ("night", "rainy"): (0.086, 0.094, 0.145),
}  # fmt: skip
"""Measured colour of the top row, by time and weather."""
GROUND: dict[tuple[str, str], Rgb] = {
    ("grass", "day"): (0.424, 0.663, 0.282), ("grass", "sunset"): (0.416, 0.557, 0.216), ("grass", "night"): (0.196, 0.329, 0.184),
    ("sand", "day"): (0.882, 0.773, 0.533), ("sand", "sunset"): (0.863, 0.647, 0.404), ("sand", "night"): (0.404, 0.384, 0.353),
    ("snow", "day"): (0.843, 0.902, 0.969), ("snow", "sunset"): (0.827, 0.757, 0.737), ("snow", "night"): (0.388, 0.451, 0.639),
    ("water", "day"): (0.251, 0.561, 0.729), ("water", "sunset"): (0.243, 0.471, 0.553), ("water", "night"): (0.118, 0.282, 0.482),
}  # fmt: skip
"""Measured colour of the bottom row by ground and time, in clear weather; rain takes a tenth of the light."""
LIGHT: dict[str, Rgb] = {"day": (1.0, 1.0, 1.0), "sunset": (0.97, 0.90, 0.86), "night": (0.80, 0.82, 0.92)}
"""What falls on things."""
TALL = {
    "ball": 0.90,
    "house": 1.00,
    "tree": 0.99,
    "car": 0.60,
    "boat": 0.86,
    "flower": 1.09,
    "mushroom": 0.98,
    "cat": 0.95,
}
"""Measured height of a thing, relative to a house of its size."""
BIG_FROM = 0.316
"""Height of a house, as a share of the picture's, from which it counts as big: between the two sizes, by ratio."""
_PASTEL_FLOOR = 104


class Unreadable(ValueError):
    """What the program asks can't be told from this picture."""


@dataclass(frozen=True)
class Patch:
    """One thing as seen.

    Attributes:
        kind: from the labels.
        colour: the palette colour with the most votes of its pixels.
        x0, y0, x1, y1: its box, as shares of the picture.
        picture: which of the pictures.
    """

    kind: str
    colour: str
    x0: float
    y0: float
    x1: float
    y1: float
    picture: int

    @property
    def size(self) -> str:
        """Big or small for its kind."""
        return "big" if (self.y1 - self.y0) / TALL[self.kind] >= BIG_FROM else "small"

    @property
    def place(self) -> str:
        """Left, middle or right third, by the middle of its box."""
        x = (self.x0 + self.x1) / 2
        return "left" if x < 0.35 else "right" if x > 0.65 else "middle"


class Seen:
    """One picture as it is looked at.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) uint8, 0 or 1 + the class index of a kind.
        marks: number to (x, y), as shares of the picture.
        picture: its number in the question.
        hidden: (H, W) bool, pixels that marks cover: no colour is read there.
        stray: share of pixels that are darker than any of a pastel picture, up to which it is one: the renderer leaves
            none, a painter some.
    """

    def __init__(
        self, image: NDArray[np.uint8], labels: NDArray[np.uint8], marks: Mapping[int, Sequence[float]] | None = None,
        picture: int = 0, hidden: NDArray[np.bool_] | None = None, stray: float = 0.0,
    ) -> None:  # fmt: skip
        if image.shape[:2] != labels.shape:
            raise Unreadable(f"the picture is {image.shape[:2]}, its labels are {labels.shape}")
        self.image, self.labels, self.marks, self.picture = image, labels, dict(marks or {}), picture
        self.shown = np.ones(labels.shape, bool) if hidden is None else ~hidden
        self.stray = stray

    @cached_property
    def style(self) -> str:
        """Pastel pictures have no dark pixel, or none but strays."""
        dark = self.image[self.shown].min(-1) < _PASTEL_FLOOR
        return "pastel" if dark.mean() <= self.stray else "plain"

    @cached_property
    def canvas(self) -> NDArray[np.float32]:
        """(H, W, 3) the colours under the style."""
        shown = self.image.astype(np.float32) / 255
        if self.style == "plain":
            return shown
        faded = (shown - 0.42) / 0.58
        return (faded - 0.15 * faded.mean(-1, keepdims=True)) / 0.85

    @cached_property
    def sky(self) -> tuple[str, str]:
        """Time and weather."""
        top = np.median(self.canvas[0], axis=0)
        return min(SKY, key=lambda key: float(np.abs(top - SKY[key]).sum()))

    @property
    def time(self) -> str:
        """Day, sunset or night."""
        return self.sky[0]

    @property
    def weather(self) -> str:
        """Clear, cloudy or rainy."""
        return self.sky[1]

    @cached_property
    def ground(self) -> str:
        """Grass, sand, snow or water."""
        bottom = np.median(self.canvas[-1], axis=0) / (0.9 if self.weather == "rainy" else 1.0)
        return min(
            (g for g, t in GROUND if t == self.time), key=lambda g: float(np.abs(bottom - GROUND[g, self.time]).sum())
        )

    @property
    def things(self) -> list[Patch]:
        """`patches`, by the name that claims know."""
        return self.patches

    @cached_property
    def patches(self) -> list[Patch]:
        """What stands there, from left to right."""
        height, width = self.labels.shape
        found = []
        for label in np.unique(self.labels[self.labels > 0]).tolist():
            rows, columns = np.nonzero(self.labels == label)
            box = columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height
            colour = self._colour(self.canvas[(self.labels == label) & self.shown])
            found.append(Patch(KINDS[label - 1], colour, *(float(v) for v in box), self.picture))
        return sorted(found, key=lambda patch: patch.x0 + patch.x1)

    def _colour(self, pixels: NDArray[np.float32]) -> str:
        """The palette colour that most pixels (N, 3) are a lighter or darker shade of, under the light of the hour."""
        shades = np.array([RGB[c] for c in COLOURS], np.float32) * np.array(LIGHT[self.time], np.float32)  # (C, 3)
        strength = np.clip(pixels @ shades.T / (shades * shades).sum(1), 0.84, 1.07)  # (N, C)
        rest = np.abs(pixels[:, None] - strength[..., None] * shades).max(-1)  # (N, C)
        votes = np.bincount(rest.argmin(1)[rest.min(1) < 0.06], minlength=len(COLOURS))
        if not votes.any():
            raise Unreadable("no pixel has a colour of the palette")
        return COLOURS[int(votes.argmax())]

    def at(self, x: float, y: float) -> Patch | None:
        """What the pixel at a point shows."""
        height, width = self.labels.shape
        label = int(self.labels[min(int(y * height), height - 1), min(int(x * width), width - 1)])
        return next((patch for patch in self.patches if label and patch.kind == KINDS[label - 1]), None)

    def share_in(self, patch: Patch, box: Sequence[float]) -> float:
        """The share of a thing's pixels that lie in a box."""
        height, width = self.labels.shape
        mine = self.labels == 1 + KINDS.index(patch.kind)
        left, top, right, bottom = (round(v * n) for v, n in zip(box, (width, height, width, height), strict=True))
        return float(mine[top:bottom, left:right].sum() / mine.sum())


def look(program: Any, seens: Sequence[Seen]) -> Any:
    """Answers a program by looking; the operations are those of `limbeck.questions.program`.

    Raises:
        Unreadable: there is no one answer in the pixels.
    """
    if not (isinstance(program, list) and program and isinstance(program[0], str)):
        return program
    operation, *parts = program
    if operation == "either":
        return look(parts[1 if look(parts[0], seens) else 2], seens)
    values = [look(part, seens) for part in parts]
    match operation, values:
        case "all", [p]:
            return list(seens[p].patches)
        case "both", [p, q]:
            return [*seens[p].patches, *seens[q].patches]
        case "only", [patches, field, wanted]:
            return [patch for patch in patches if getattr(patch, field) == wanted]
        case "one", [patches]:
            if len(patches) > 1:
                raise Unreadable(f"{len(patches)} things are meant by one")
            return next(iter(patches), None)
        case "exists", [patches]:
            return len(patches) > 0
        case "count", [patches]:
            return len(patches)
        case "get", [field, patch]:
            return patch and getattr(patch, field)
        case "setting", [field, p]:
            return getattr(seens[p], field)
        case "same", [a, b]:
            return a == b
        case "more", [a, b]:
            return a > b
        case "beside" | "taller" | "next" | "between" | "nearest" | "in_box" | "at", _:
            return _where(operation, values, seens)
        case "box", [patch]:
            return patch and [patch.x0, patch.y0, patch.x1, patch.y1]
        case "point", [patch]:
            return patch  # any point on it is right: see `agrees`
        case "marked", [p, number]:
            return seens[p].at(*seens[p].marks[number]) if number in seens[p].marks else None
        case "mark", [patch]:
            seen = seens[patch.picture]
            return next((n for n, point in seen.marks.items() if seen.at(*point) == patch), None)
        case "changed", [p, q]:
            return _change(seens[p], seens[q])
    raise Unreadable(f"no operation {operation!r} with {len(values)} parts")


def _where(operation: str, values: list[Any], seens: Sequence[Seen]) -> Any:
    match operation, values:
        case "beside", [side, Patch() as a, Patch() as b]:
            return (_middle(a) < _middle(b)) == (side == "left")
        case "taller", [Patch() as a, Patch() as b]:
            return a.y1 - a.y0 > b.y1 - b.y0
        case "next", [side, Patch() as a]:
            sign = -1 if side == "left" else 1
            on_side = [p for p in seens[a.picture].patches if sign * (_middle(p) - _middle(a)) > 0.05]
            return min(on_side, key=lambda p: sign * _middle(p), default=None)
        case "between", [Patch() as a, Patch() as b]:
            low, high = sorted((_middle(a), _middle(b)))
            inner = [p for p in seens[a.picture].patches if low + 0.05 < _middle(p) < high - 0.05]
            return inner[0] if len(inner) == 1 else None
        case "nearest", [p, [x, y]]:
            return min(
                seens[p].patches, key=lambda t: max(t.x0 - x, x - t.x1, 0) ** 2 + max(t.y0 - y, y - t.y1, 0) ** 2
            )
        case "in_box", [p, box]:
            best = max(seens[p].patches, key=lambda patch: seens[p].share_in(patch, box))
            return best if seens[p].share_in(best, box) > 0.5 else None
        case "at", [p, [x, y]]:
            return seens[p].at(x, y)
    return False if operation in ("beside", "taller") else None


def _middle(patch: Patch) -> float:
    return (patch.x0 + patch.x1) / 2


def _change(a: Seen, b: Seen) -> str | None:
    for name in ("style", "time", "weather", "ground"):
        if getattr(a, name) != getattr(b, name):
            return name
    if len(a.patches) != len(b.patches):
        return "number"
    kinds_a, kinds_b = ({patch.kind: patch for patch in seen.patches} for seen in (a, b))
    if kinds_a.keys() != kinds_b.keys():
        return "kind"
    for field in ("colour", "size", "place"):
        if any(getattr(kinds_a[kind], field) != getattr(kinds_b[kind], field) for kind in kinds_a):
            return field
    return None


BOX_TOLERANCE = 0.002
"""Boxes are written with three decimals."""


def agrees(program: Any, value: Any, seens: Sequence[Seen]) -> bool:
    """Whether a claimed answer is what looking gives; a point is right anywhere on its thing.

    Raises:
        Unreadable: looking gives no answer.
    """
    found = look(program, seens)
    if isinstance(program, list) and program and program[0] == "point":
        if not isinstance(found, Patch) or not isinstance(value, list | tuple):
            return found is None and value is None
        return all(0 <= v <= 1 for v in value) and seens[found.picture].at(*value) == found
    if isinstance(found, list) and isinstance(value, list | tuple):
        return len(value) == len(found) and all(abs(a - b) <= BOX_TOLERANCE for a, b in zip(found, value, strict=True))
    return type(found) is type(value) and found == value
