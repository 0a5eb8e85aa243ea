"""How each kind of thing is built: signed distances of a few primitives.

Convention: a thing lives in its own units. x runs right from its centre, y runs *up* from the ground it stands on,
1 unit is the thing's nominal height. A signed distance is negative inside. Distances of unions are exact outside,
which is all that anti-aliasing needs.

Source: primitives after Inigo Quilez, "2D distance functions".
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Part = tuple[str, Callable[[Field, Field], Field]]
"""A paint (`main`, `dark`, `light`, `wood`, `cream`, `leaf`, `ink`) and the signed distance of where it goes."""


def circle(cx: float, cy: float, r: float) -> Callable[[Field, Field], Field]:
    """Distance to a disc."""
    return lambda x, y: np.hypot(x - cx, y - cy) - r


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Callable[[Field, Field], Field]:
    """Distance to an ellipse, to first order."""

    def distance(x: Field, y: Field) -> Field:
        u, v = (x - cx) / rx, (y - cy) / ry
        k = np.hypot(u, v)
        return k * (k - 1) / np.maximum(np.hypot(u / rx, v / ry), 1e-6)

    return distance


def box(cx: float, cy: float, hx: float, hy: float, r: float = 0.0) -> Callable[[Field, Field], Field]:
    """Distance to a rectangle of half sizes (hx, hy) with corners rounded by r."""

    def distance(x: Field, y: Field) -> Field:
        qx, qy = np.abs(x - cx) - hx + r, np.abs(y - cy) - hy + r
        return np.hypot(np.maximum(qx, 0), np.maximum(qy, 0)) + np.minimum(np.maximum(qx, qy), 0) - r

    return distance


def polygon(*points: tuple[float, float]) -> Callable[[Field, Field], Field]:
    """Distance to a convex polygon, corners in clockwise order as seen (y up)."""

    def distance(x: Field, y: Field) -> Field:
        worst: Field | None = None
        for (ax, ay), (bx, by) in zip(points, (*points[1:], points[0]), strict=True):
            length = np.hypot(bx - ax, by - ay)
            side = ((x - ax) * (ay - by) + (y - ay) * (bx - ax)) / length
            worst = side if worst is None else np.maximum(worst, side)
        assert worst is not None
        return worst

    return distance


def union(*fields: Callable[[Field, Field], Field]) -> Callable[[Field, Field], Field]:
    """Distance to whichever is nearest."""
    return lambda x, y: np.minimum.reduce([f(x, y) for f in fields])


def both(*fields: Callable[[Field, Field], Field]) -> Callable[[Field, Field], Field]:
    """Distance to the intersection."""
    return lambda x, y: np.maximum.reduce([f(x, y) for f in fields])


_PETALS = [circle(0.21 * np.cos(a), 0.72 + 0.21 * np.sin(a), 0.165) for a in np.arange(6) * np.pi / 3]
_BALL = circle(0, 0.45, 0.45)
_CAP = both(ellipse(0, 0.42, 0.52, 0.56), lambda x, y: 0.42 - y)

PARTS: dict[str, list[Part]] = {
    "ball": [
        ("main", _BALL),
        ("light", both(_BALL, box(0, 0.45, 0.6, 0.085))),
        ("light", circle(-0.16, 0.68, 0.075)),
    ],
    "house": [
        ("main", box(0, 0.28, 0.40, 0.28)),
        ("dark", polygon((-0.52, 0.53), (0, 1.0), (0.52, 0.53))),
        ("cream", box(-0.17, 0.17, 0.10, 0.17)),
        ("cream", box(0.17, 0.31, 0.10, 0.10)),
    ],
    "tree": [
        ("wood", box(0, 0.2, 0.085, 0.2)),
        ("main", union(circle(0, 0.72, 0.27), circle(-0.21, 0.54, 0.22), circle(0.21, 0.54, 0.22))),
        ("light", circle(-0.10, 0.80, 0.07)),
    ],
    "car": [
        ("main", union(box(0, 0.27, 0.56, 0.15, 0.08), box(-0.02, 0.50, 0.33, 0.20, 0.12))),
        ("cream", box(-0.18, 0.50, 0.11, 0.09, 0.03)),
        ("cream", box(0.13, 0.50, 0.12, 0.09, 0.03)),
        ("ink", circle(-0.31, 0.13, 0.13)),
        ("ink", circle(0.31, 0.13, 0.13)),
    ],
    "boat": [
        ("wood", box(-0.04, 0.6, 0.03, 0.36)),
        ("cream", polygon((0.02, 0.34), (0.02, 0.98), (0.45, 0.34))),
        ("main", polygon((-0.08, 0.34), (-0.42, 0.34), (-0.08, 0.90))),
        ("main", polygon((-0.56, 0.28), (0.56, 0.28), (0.36, 0.0), (-0.36, 0.0))),
    ],
    "flower": [
        ("leaf", box(0, 0.27, 0.04, 0.27)),
        ("leaf", ellipse(-0.14, 0.22, 0.14, 0.06)),
        ("leaf", ellipse(0.14, 0.30, 0.14, 0.06)),
        ("main", union(*_PETALS)),
        ("cream", circle(0, 0.72, 0.12)),
    ],
    "mushroom": [
        ("cream", box(0, 0.24, 0.15, 0.24, 0.06)),
        ("main", _CAP),
        ("light", circle(-0.22, 0.60, 0.085)),
        ("light", circle(0.20, 0.56, 0.075)),
        ("light", circle(0.0, 0.80, 0.075)),
    ],
    "cat": [
        ("main", union(box(0.40, 0.34, 0.045, 0.24, 0.04), box(0.30, 0.10, 0.14, 0.05, 0.04))),
        ("main", ellipse(0, 0.28, 0.27, 0.28)),
        (
            "main",
            union(
                ellipse(0, 0.68, 0.27, 0.22),
                polygon((-0.26, 0.72), (-0.24, 1.0), (-0.04, 0.86)),
                polygon((0.04, 0.86), (0.24, 1.0), (0.26, 0.72)),
            ),
        ),
        ("light", ellipse(0, 0.20, 0.13, 0.15)),
        ("ink", circle(-0.10, 0.70, 0.045)),
        ("ink", circle(0.10, 0.70, 0.045)),
    ],
}
"""The parts of each kind, painted in this order."""

HALF_WIDTH = 0.62
"""No kind reaches further from its centre than this, in its own units."""

RELATIVE_HEIGHT = {"car": 0.86, "boat": 0.88, "cat": 0.95}
"""Wide kinds are drawn lower, so that every kind stays inside the picture."""
