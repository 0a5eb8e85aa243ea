"""Answers held against their pictures. Oracles: errors injected by rules of their own, and rows made false by hand."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest
from question_rows import DirectRun, made, storybook

from filters.answers_true import AnswersTrue
from generators.visual_questions import VisualQuestions
from limbeck.pictures import png
from limbeck.questions.injected import inject
from limbeck.questions.rows import question_row
from limbeck.questions.things import DRAWERS
from limbeck.questions.view import View
from limbeck.storybook import parse_caption, render
from limbeck.turns import assistant, user

SCENE = parse_caption("a big red ball on the left and a small blue house on the right, on grass, at night")
PICTURE = png(render(SCENE).image)


def row(
    answer, program, value, question="Is the ball red?", answer_type="sentence", template="attribute.is_colour", **more
):
    return {
        "id": "a", "messages": [user(0, question), assistant(answer)], "images": [PICTURE], "language": "en",
        "scenes": [SCENE.to_json()], "program": json.dumps(program), "answer_value": json.dumps(value),
        "answer_type": answer_type, "template": template, "options": [], "marks": None,
    } | more  # fmt: skip


def reasons(*rows, **settings):
    stage = AnswersTrue(**settings)
    return [stage.decide(row | out) for row, out in zip(rows, stage.score(list(rows), DirectRun()), strict=True)]


BALL = ["one", ["only", ["all", 0], "kind", "ball"]]
IS_RED = ["same", ["get", "colour", BALL], "red"]


def test_closed_answers_by_hand():
    assert reasons(
        row("Yes, the ball is red.", IS_RED, True),
        row("Yes, the ball is red.", IS_RED, False),
        row("No, the ball is blue.", IS_RED, True),
        row("Yes, the ball is blue.", IS_RED, True),
        row("Perhaps it is.", IS_RED, True),
        row("Yes, the ball is red.", IS_RED, True, question="Is the house red?"),
        row("Yes", IS_RED, True, answer_type="yes_no"),
        row("", IS_RED, True, answer_type="yes_no"),
    ) == [
        (), ("value_wrong",), ("answer_wrong",), ("claim_wrong",), ("answer_unreadable",), ("question_differs",), (),
        ("answer_unreadable",),
    ]  # fmt: skip


def test_false_premises_points_and_boxes_by_hand():
    colour = {"question": "What colour is the cat?", "template": "false_premise.colour"}
    cat = ["get", "colour", ["one", ["only", ["all", 0], "kind", "cat"]]]
    point = {"question": "Point to the ball.", "template": "point.to", "answer_type": "point"}
    view = View(SCENE)
    inside = view.point(SCENE.things[0])
    assert reasons(
        row("There is no cat; the picture shows a red ball and a blue house.", cat, None, **colour),
        row("The cat is red.", cat, "red", **colour),
        row("The cat is red.", cat, None, **colour),
        row(f"({inside[0]}, {inside[1]})", ["point", BALL], inside, **point),
        row("(0.9, 0.1)", ["point", BALL], inside, **point),
        row(str(view.box(SCENE.things[0])), ["box", BALL], view.box(SCENE.things[0]),
            question="Where is the ball?", template="region.box", answer_type="box"),
    ) == [(), ("value_wrong",), ("answer_wrong",), (), ("answer_wrong",), ()]  # fmt: skip


def test_open_answers_turn_by_turn():
    messages = [
        user(0, "What is there?"), assistant("A big red ball is on the left. A small house stands on the right."),
        user("And the weather?"), assistant("It is a clear night, so one could count the stars."),
        user("Any animal?"), assistant("A cat sits between them."),
    ]  # fmt: skip
    open_row = row("", None, None) | {"program": None, "messages": messages, "answer_type": "open"}
    (out,) = AnswersTrue().score([open_row], DirectRun())
    assert [v["verdict"] for v in out["verdicts"]] == ["right", "right", "wrong"]
    assert out["fault"] == "claim_wrong"
    assert 0.6 < out["supported"] < 1
    good = open_row | {"messages": messages[:4]}
    assert reasons(good) == [()]
    assert reasons(good | {"scenes": []}) == [()]
    assert reasons(good | {"scenes": []}, keep_unchecked=False) == [("unchecked",)]


def test_somebody_else_s_picture_is_noticed():
    other = png(render(parse_caption("a small pink cat in the middle, on snow, by day")).image)
    good = row("Yes, the ball is red.", IS_RED, True)
    assert reasons(
        good, good | {"images": [other]}, good | {"images": [b"none"]}, good | {"images": [PICTURE, PICTURE]},
        good | {"images": []},
    ) == [(), ("picture_differs",), ("picture_differs",), ("picture_differs",), ()]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ko"])
def test_injected_errors_are_found_and_good_answers_kept(language):
    """Of 250 errors in each language at least 95% are found; of the good rows they were made from, at most 2% are dropped."""
    stage = VisualQuestions(per_scene=10, two_pictures=1, languages={language: 1})
    rows = made(stage, storybook(40, seed=21))
    rng = random.Random(5)
    rng.shuffle(rows)
    pairs = [(name, row, bad) for row in rows if (found := inject(row, rng, rows)) for name, bad in [found] if bad][
        :250
    ]
    assert len(pairs) == 250
    assert len({name for name, *_ in pairs}) >= 8
    check = AnswersTrue()
    good = check.score([row for _, row, _ in pairs], DirectRun())
    bad = check.score([bad for _, _, bad in pairs], DirectRun())
    missed = Counter(name for (name, *_), out in zip(pairs, bad, strict=True) if not out["fault"])
    dropped = sum(out["fault"] is not None for out in good)
    assert sum(missed.values()) <= 0.05 * 250, missed
    assert dropped <= 0.02 * 250


def test_questions_that_the_wording_spoils_would_be_found():
    """A template that says its thing's colour wrongly is caught by the claims, though value and words are right."""
    view = View(SCENE)
    ask = DRAWERS["attribute.is_size"](view, random.Random(1))
    good = question_row(ask, True, [view], [view.png], "en", "sentence", random.Random(2))
    spoilt = good | {"messages": [good["messages"][0], assistant("Yes, the purple ball is big.")], "id": "x"}
    assert reasons(spoilt | {"program": json.dumps(["same", ["get", "size", BALL], "big"]), "answer_value": "true"})[0]
