"""Answers held against their pictures. Oracles: errors injected by rules of their own, and rows made false by hand."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from question_rows import DirectRun, made, storybook

from filters.answers_true import AnswersTrue
from generators.visual_questions import VisualQuestions
from limbeck.pictures import png
from limbeck.questions.injected import inject
from limbeck.questions.pictures import edited
from limbeck.questions.rows import question_row
from limbeck.questions.things import DRAWERS
from limbeck.questions.view import View, told_json
from limbeck.storybook import Scene, parse_caption, render
from limbeck.storybook.edits import instruction
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


def drawn_pairs(n, seed):
    """Edit pairs as the best of painters draws them: what captions leave open is drawn anew, and differently."""
    for row in storybook(n, seed):
        scene = Scene.from_json(row["scene"])
        if change := edited(scene, 1):
            yield {"id": row["id"], "original_prompt": row["caption"], "edit_prompt": instruction(change[0]),
                   "original_image": png(render(scene).image), "edited_image": png(render(change[1]).image)}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ko"])
def test_of_edit_pairs_true_answers_stay_and_wrong_ones_go(language):
    """The scenes come from words, the pictures from elsewhere: none of the good rows goes, 95% of 200 injected errors do."""
    stage = VisualQuestions(of="edit_pairs", per_scene=10, languages={language: 1})
    rows = made(stage, list(drawn_pairs(30, seed=21)))
    assert all("variation" not in json.loads(scene) for row in rows for scene in row["scenes"])
    check = AnswersTrue()
    good = check.score(rows, DirectRun())
    assert Counter(out["fault"] for out in good) == {None: len(rows)}
    assert all(out["checked"] and out["verdicts"][0]["verdict"] == "right" for out in good)
    rng = random.Random(5)
    rng.shuffle(rows)
    spoilt = [(name, bad) for row in rows if (found := inject(row, rng, rows)) for name, bad in [found] if bad][:200]
    assert len(spoilt) == 200
    assert sum(name == "other_picture" for name, _ in spoilt) >= 10
    bad = check.score([bad for _, bad in spoilt], DirectRun())
    missed = Counter(name for (name, _), out in zip(spoilt, bad, strict=True) if not out["fault"])
    assert sum(missed.values()) <= 0.05 * 200, missed
    assert "other_picture" not in missed


def test_pictures_of_scenes_that_words_tell_by_hand():
    told = {"scenes": [told_json(SCENE)], "images": [png(render(replace(SCENE, variation=9), 96).image)]}
    good = row("Yes, the ball is red.", IS_RED, True) | told
    assert reasons(row("Yes, the ball is red.", IS_RED, True) | told | {"scenes": [SCENE.to_json()]}) == [
        ("picture_differs",)
    ], "pixel by pixel it is another one"
    others = {
        "time": "a big red ball on the left and a small blue house on the right, on grass, by day",
        "ground": "a big red ball on the left and a small blue house on the right, on snow, at night",
        "weather": "a big red ball on the left and a small blue house on the right, on grass, at night, in the rain",
        "blue": "a big red ball on the left and a small green house on the right, on grass, at night",
        "no pixel": "a small blue house on the right, on grass, at night",
    }
    for text in others.values():
        assert parse_caption(text) is not None, text
    pictures = [png(render(replace(parse_caption(text), variation=4)).image) for text in others.values()]
    changed = [good | {"images": [picture]} for picture in (*pictures, b"none", png(np.zeros((8, 8, 3), np.uint8)))]
    assert reasons(good, good | {"images": []}) == [(), ()]
    assert reasons(*changed) == [("picture_differs",)] * len(changed)
    details = [out["detail"] for out in AnswersTrue().score(changed, DirectRun())]
    assert all(name in detail for name, detail in zip(others, details, strict=False)), details
    no = row("No, the ball is blue.", IS_RED, True) | told
    assert reasons(no, no | {"answer_value": "false"}) == [("answer_wrong",), ("value_wrong",)]


def test_a_few_dark_pixels_that_a_painter_left_make_no_pastel_picture_plain():
    """`mini:diffusion` leaves up to 17 of 4,096; a plain picture has 48 at least."""
    scene = parse_caption("a big red ball on the left, on grass, by day, in pastel")
    pixels = render(replace(scene, variation=3)).image.copy()
    pixels[5, 5:22] = 100
    pastel = row("Yes, the ball is red.", IS_RED, True) | {"images": [png(pixels)], "scenes": [told_json(scene)]}
    plain = png(render(replace(scene, variation=3, style="plain")).image)
    assert reasons(pastel, pastel | {"images": [plain]}) == [(), ("picture_differs",)]


def test_questions_that_the_wording_spoils_would_be_found():
    """A template that says its thing's colour wrongly is caught by the claims, though value and words are right."""
    view = View(SCENE)
    ask = DRAWERS["attribute.is_size"](view, random.Random(1))
    good = question_row(ask, True, [view], [view.png], "en", "sentence", random.Random(2))
    spoilt = good | {"messages": [good["messages"][0], assistant("Yes, the purple ball is big.")], "id": "x"}
    assert reasons(spoilt | {"program": json.dumps(["same", ["get", "size", BALL], "big"]), "answer_value": "true"})[0]
