"""The second implementation. Oracles: the scenes that were drawn, programs worked out by hand, and no shared imports."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest

from limbeck.questions import seen as module
from limbeck.questions.program import Ambiguous, answer
from limbeck.questions.seen import Seen, Unreadable, agrees, look
from limbeck.questions.view import View
from limbeck.storybook import parse_caption, sample_scene

VIEW = View(parse_caption("a big red ball on the left, a small blue house in the middle and a big pink cat on the right, on sand, at sunset, in the rain"))  # fmt: skip
AFTER = View(parse_caption("a big green ball on the left, a small blue house in the middle and a big pink cat on the right, on sand, at sunset, in the rain"))  # fmt: skip


def seen(view, picture=0, marks=None):
    return Seen(view.picture.image, view.labels(), marks, picture)


def the(kind, picture=0):
    return ["one", ["only", ["all", picture], "kind", kind]]


def test_it_reads_every_attribute_off_the_pixels():
    rng = np.random.default_rng(12)
    for _ in range(60):
        view = View(sample_scene(rng), int(rng.choice([64, 96])))
        found, scene = seen(view), view.scene
        assert (found.ground, found.time, found.weather, found.style) == (
            scene.ground,
            scene.time,
            scene.weather,
            scene.style,
        )
        assert [(t.kind, t.colour, t.size, t.place) for t in found.things] == [
            (t.kind, t.colour, t.size, t.place) for t in scene.things
        ]


@pytest.mark.parametrize(
    ("program", "value"),
    [
        (["exists", ["only", ["all", 0], "kind", "cat"]], True),
        (["exists", ["only", ["only", ["all", 0], "kind", "cat"], "colour", "red"]], False),
        (["count", ["only", ["all", 0], "size", "big"]], 2),
        (["get", "colour", the("ball")], "red"),
        (["get", "colour", the("tree")], None),
        (["get", "kind", ["between", the("cat"), the("ball")]], "house"),
        (["get", "kind", ["next", "right", the("ball")]], "house"),
        (["get", "kind", ["next", "left", the("ball")]], None),
        (["beside", "left", the("house"), the("cat")], True),
        (["taller", the("house"), the("ball")], False),
        (["either", ["beside", "right", the("ball"), the("cat")], "ball", "cat"], "cat"),
        (["setting", "weather", 0], "rainy"),
        (["changed", 0, 1], "colour"),
        (["same", ["get", "colour", the("ball", 0)], ["get", "colour", the("ball", 1)]], False),
        (["same", ["count", ["only", ["both", 0, 1], "kind", "cat"]], 2], True),
        (["get", "kind", ["nearest", 0, [0.2, 0.7]]], "ball"),
        (["get", "kind", ["in_box", 0, [0.62, 0.42, 1.0, 0.97]]], "cat"),
        (["get", "kind", ["at", 0, [0.5, 0.1]]], None),
    ],
)  # fmt: skip
def test_both_implementations_give_what_is_worked_out_by_hand(program, value):
    views = [VIEW, AFTER]
    assert answer(program, views) == value
    seens = [seen(view, i) for i, view in enumerate(views)]
    assert look(program, seens) == value
    assert agrees(program, value, seens)
    assert not agrees(program, not value if isinstance(value, bool) else "nonsense", seens)


def test_points_and_boxes():
    looked = [seen(VIEW)]
    point, box = VIEW.point(VIEW.scene.things[0]), VIEW.box(VIEW.scene.things[0])
    assert agrees(["point", the("ball")], point, looked)
    assert not agrees(["point", the("cat")], point, looked)
    assert not agrees(["point", the("ball")], [0.5, 0.05], looked)
    assert agrees(["box", the("ball")], box, looked)
    assert not agrees(["box", the("ball")], [box[0] + 0.02, *box[1:]], looked)
    assert agrees(["box", the("tree")], None, looked)


def test_marks_are_found_by_what_is_under_them():
    point = VIEW.point(VIEW.scene.things[2])
    VIEW.marks = {4: 2}
    looked = [seen(VIEW, marks={4: point})]
    for program, value in (
        (["get", "kind", ["marked", 0, 4]], "cat"), (["mark", the("cat")], 4), (["mark", the("ball")], None),
        (["get", "kind", ["marked", 0, 9]], None),
    ):  # fmt: skip
        assert answer(program, [VIEW]) == value
        assert look(program, looked) == value


def test_what_has_no_one_answer_is_ambiguous():
    twins = View(parse_caption("a big red ball on the left and a big red house on the right, on grass, by day"))
    for program in (
        ["get", "kind", ["one", ["only", ["all", 0], "colour", "red"]]], ["get", "kind", ["in_box", 0, [0, 0.5, 0.2, 1]]],
        ["get", "kind", ["nearest", 0, [0.5, 0.7]]], ["more", 1, 1],
    ):  # fmt: skip
        with pytest.raises(Ambiguous):
            answer(program, [twins])
    with pytest.raises(Unreadable):
        look(["get", "kind", ["one", ["only", ["all", 0], "colour", "red"]]], [seen(twins)])
    with pytest.raises(Unreadable):
        Seen(np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4), np.uint8))
    with pytest.raises(Unreadable):
        look(["vanish", 1], [seen(twins)])


def test_it_shares_nothing_with_the_first():
    imported = {
        name
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.ImportFrom)
        for name in [node.module]
        if name.startswith("limbeck")
    }
    assert imported == {"limbeck.storybook.world"}
