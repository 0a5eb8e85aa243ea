"""What a question asks, as a program in JSON, and its answer on scene graphs: the first implementation.

A program is nested lists, operation first; strings and numbers stand for themselves. Pictures are numbered from 0.

    ["all", p]  ["both", p, q]   the things of a picture, of both
    ["only", SET, field, v]    those whose kind, colour, size or place is v
    ["one", SET]               the only member; nothing where the set is empty
    ["exists", SET]  ["count", SET]
    ["get", field, THING]      an attribute; nothing where there is no thing
    ["setting", field, p]      ground, time or weather of a picture
    ["same", A, B]
    ["more", A, B]             whether the number A is greater than the number B, which it isn't equal to
    ["beside", side, A, B]     whether A is left (right) of B by at least `BESIDE` between their centres
    ["next", side, A]          the nearest thing on that side of A, or nothing
    ["between", A, B]          the thing between both, or nothing
    ["taller", A, B]           whether A is taller in the picture by at least the factor `TALLER`
    ["box", THING]  ["point", THING]      geometry, see `limbeck.questions.view`
    ["in_box", p, BOX]         the thing that is mostly in a box, where no other is to speak of
    ["at", p, POINT]           the thing at a point, or nothing
    ["nearest", p, POINT]      the thing whose box is nearest to a point, by at least `NEARER`
    ["changed", p, q]          what differs from picture p to q: number, kind, colour, size, place, ground, time, ...
    ["marked", p, n]           the thing that mark n is on;  ["mark", THING]  its number
    ["either", TEST, A, B]     A where the test holds, else B

`answer` gives a bool, int, string, box, point, or None for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from limbeck.questions.view import View
from limbeck.storybook.scene import Thing
from limbeck.storybook.world import PLACES

Program = list[Any]
Value = bool | int | str | list[float] | None

BESIDE = 0.15
"""Least horizontal distance of centres, as a share of the picture, for left and right."""
TALLER = 1.12
"""Least ratio of visible heights for taller."""
MOSTLY, BARELY = 0.75, 0.25
"""Least share of a thing's visible pixels that lie in a box for the thing to be meant by it, and the most of another's."""
NEARER = 0.08
"""Least difference of the distances of two things, as a share of the picture, for one to be nearest."""


class Ambiguous(ValueError):
    """The program asks about one thing where there are several, or about a difference too small to see."""


def answer(program: Program, views: Sequence[View]) -> Value:
    """Runs a program.

    >>> from limbeck.storybook import parse_caption
    >>> view = View(parse_caption("a big red ball on the left, on grass, by day"))
    >>> answer(["get", "colour", ["one", ["only", ["all", 0], "kind", "ball"]]], [view])
    'red'

    Args:
        program: see the module.
        views: the pictures it speaks of.

    Raises:
        Ambiguous: there is no one right answer.
    """
    value = _run(program, views)
    return value


def _run(node: Any, views: Sequence[View]) -> Any:
    if not isinstance(node, list) or not node or not isinstance(node[0], str):
        return node  # a constant: a string, a number, a box, a point
    return _OPERATIONS[node[0]](views, *(_run(part, views) for part in node[1:]))


_Members = list[tuple[int, Thing]]
_Found = tuple[int, Thing] | None


def _all(views: Sequence[View], picture: int) -> _Members:
    return [(picture, thing) for thing in views[picture].scene.things]


def _only(views: Sequence[View], members: _Members, field: str, value: str) -> _Members:
    return [(picture, thing) for picture, thing in members if getattr(thing, field) == value]


def _one(views: Sequence[View], members: _Members) -> _Found:
    if len(members) > 1:
        raise Ambiguous(f"{len(members)} things where one is meant")
    return members[0] if members else None


def _get(views: Sequence[View], field: str, found: _Found) -> str | None:
    return None if found is None else getattr(found[1], field)


def _setting(views: Sequence[View], field: str, picture: int) -> str:
    return getattr(views[picture].scene, field)


def _more(views: Sequence[View], a: int, b: int) -> bool:
    if a == b:
        raise Ambiguous("there are as many of both")
    return a > b


def _centre(thing: Thing) -> float:
    """Where a thing's middle is, as a share of the width: of a photo's thing by its box."""
    from limbeck.storybook.render import CENTRE

    box = getattr(thing, "box", None)
    return CENTRE[thing.place] if box is None else (box[0] + box[2]) / 2


def _beside(views: Sequence[View], side: str, a: _Found, b: _Found) -> bool:
    if a is None or b is None:
        return False
    distance = _centre(b[1]) - _centre(a[1])
    if abs(distance) < BESIDE:
        raise Ambiguous("neither is left of the other")
    return distance > 0 if side == "left" else distance < 0


def _next(views: Sequence[View], side: str, a: _Found) -> _Found:
    if a is None:
        return None
    picture, thing = a
    at, step = PLACES.index(thing.place), -1 if side == "left" else 1
    by_place = {PLACES.index(t.place): t for t in views[picture].scene.things}
    at += step
    while 0 <= at < len(PLACES):
        if at in by_place:
            return picture, by_place[at]
        at += step
    return None


def _between(views: Sequence[View], a: _Found, b: _Found) -> _Found:
    if a is None or b is None:
        return None
    low, high = sorted(PLACES.index(found[1].place) for found in (a, b))
    inner = [(a[0], t) for t in views[a[0]].scene.things if low < PLACES.index(t.place) < high]
    return inner[0] if inner else None


def _taller(views: Sequence[View], a: _Found, b: _Found) -> bool:
    if a is None or b is None:
        return False
    heights = [views[picture].height(thing) for picture, thing in (a, b)]
    if max(heights) < TALLER * min(heights):
        raise Ambiguous("both are about as tall")
    return heights[0] > heights[1]


def _in_box(views: Sequence[View], picture: int, box: list[float]) -> _Found:
    view = views[picture]
    x0, y0, x1, y1 = (round(v * view.size_px) for v in box)
    masks = view.picture.masks
    shares = (masks[:, y0:y1, x0:x1].sum((1, 2)) / masks.sum((1, 2))).tolist()
    inside = [i for i, share in enumerate(shares) if share >= MOSTLY]
    if len(inside) != 1 or any(BARELY < share < MOSTLY for share in shares):
        raise Ambiguous("the box cuts through things")
    return picture, view.scene.things[inside[0]]


def _at(views: Sequence[View], picture: int, point: list[float]) -> _Found:
    view = views[picture]
    column, row = (min(int(v * view.size_px), view.size_px - 1) for v in point)
    hit = [t for t, mask in zip(view.scene.things, view.picture.masks, strict=True) if mask[row, column]]
    return (picture, hit[0]) if hit else None


def _nearest(views: Sequence[View], picture: int, point: list[float]) -> _Found:
    view, (x, y) = views[picture], point
    distances = []
    for thing in view.scene.things:
        x0, y0, x1, y1 = view.box(thing)
        distances.append((math.hypot(max(x0 - x, 0, x - x1), max(y0 - y, 0, y - y1)), thing))
    distances.sort(key=lambda pair: pair[0])
    if len(distances) > 1 and distances[1][0] - distances[0][0] < NEARER:
        raise Ambiguous("two things are about as near")
    return picture, distances[0][1]


def _changed(views: Sequence[View], p: int, q: int) -> str | None:
    a, b = views[p].scene, views[q].scene
    changes = [name for name in ("ground", "time", "weather", "style") if getattr(a, name) != getattr(b, name)]
    if len(a.things) != len(b.things):
        changes.append("number")
    else:
        old, new = set(a.things) - set(b.things), set(b.things) - set(a.things)
        for one, two in zip(old, new, strict=False):  # an edit changes one thing; more are ambiguous below
            changes += [f for f in ("kind", "colour", "size", "place") if getattr(one, f) != getattr(two, f)]
    if len(changes) > 1:
        raise Ambiguous(f"several things change: {', '.join(changes)}")
    return changes[0] if changes else None


def _marked(views: Sequence[View], picture: int, number: int) -> _Found:
    view = views[picture]
    return (picture, view.scene.things[view.marks[number]]) if number in view.marks else None


def _mark(views: Sequence[View], found: _Found) -> int | None:
    if found is None:
        return None
    picture, thing = found
    view = views[picture]
    return next((number for number, i in view.marks.items() if i == view.index(thing)), None)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "all": _all,
    "both": lambda views, p, q: _all(views, p) + _all(views, q),
    "only": _only,
    "one": _one,
    "exists": lambda views, members: bool(members),
    "count": lambda views, members: len(members),
    "get": _get,
    "setting": _setting,
    "same": lambda views, a, b: a == b,
    "more": _more,
    "beside": _beside,
    "next": _next,
    "between": _between,
    "taller": _taller,
    "box": lambda views, found: None if found is None else views[found[0]].box(found[1]),
    "point": lambda views, found: None if found is None else views[found[0]].point(found[1]),
    "in_box": _in_box,
    "at": _at,
    "nearest": _nearest,
    "changed": _changed,
    "marked": _marked,
    "mark": _mark,
    "either": lambda views, test, a, b: a if test else b,
}


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes, 0 where either has no area.

    >>> overlap([0, 0, 2, 1], [1, 0, 3, 1])
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)
