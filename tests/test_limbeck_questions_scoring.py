"""Scores of answers. Oracles: the rows' own answers, which are all right, and answers made wrong by hand."""

from __future__ import annotations

import random

from question_rows import made, storybook

from generators.marked_pictures import MarkedPictures
from generators.visual_questions import VisualQuestions
from limbeck.questions.injected import inject
from limbeck.questions.scoring import pairs_right, scored
from limbeck.turns import answers

ROWS = made(VisualQuestions(pictures=False, per_scene=16, two_pictures=4, minimal_pairs=3), storybook(120, seed=71))
ROWS += made(MarkedPictures(size_px=160, per_scene=6), storybook(12, seed=72))


def own(rows):
    return [answers(row["messages"])[0] for row in rows]


def test_the_rows_own_answers_are_all_right():
    score = scored(ROWS, own(ROWS))
    assert (score.right, score.unread) == (len(ROWS), 0)
    assert (score.share, score.pair_share) == (1, 1)
    assert score.pairs > 150
    assert abs(score.yes_share - 0.5) < 0.05
    assert sum(rows for rows, _ in score.by_type.values()) == len(ROWS)
    assert {"existence", "two_pictures", "marks", "false_premise", "point", "region"} <= set(score.by_type)


def test_silence_is_wrong_and_never_yes():
    for text in ("", "I can't tell.", "모르겠습니다."):
        score = scored(ROWS, [text] * len(ROWS))
        assert (score.yes_said, score.pairs_right) == (0, 0)
        assert score.right == 0
        assert score.unread > 0.9 * len(ROWS)


def test_always_yes_is_half_of_yes_or_no_and_no_pair():
    asked = [row for row in ROWS if row["answer_value"] in ("true", "false")]
    score = scored(asked, ["Yes" if row["language"] == "en" else "네" for row in asked])
    assert score.yes_share == 1
    assert abs(score.share - 0.5) < 0.05
    assert score.pairs > 40
    assert score.pairs_right == 0


def test_answers_spoilt_by_foreign_rules_are_wrong():
    """`value_of` reads the value of an answer; what is false about the rest of a sentence is `answers_true`'s matter."""
    rng = random.Random(2)
    spoilt = [
        (row, found[1])
        for row in ROWS
        if row["answer_type"] != "sentence" and (found := inject(row, rng, ROWS)) and found[0] != "other_picture"
    ]
    assert len(spoilt) > 300
    score = scored([row for row, _ in spoilt], own([bad for _, bad in spoilt]))
    assert score.right <= 0.01 * len(spoilt)


def test_a_pair_is_right_as_a_whole():
    rows = [{"pair_id": name} for name in ("a", "b", "a", None, "b")]
    assert pairs_right(rows, [True, True, False, True, True]) == {"a": False, "b": True}


def test_half_a_pair_is_none():
    """A filter may drop one row of a pair, or a sample cut it in two: what is left is no pair, right or wrong."""
    rows = [{"pair_id": name} for name in ("whole", "right half", "whole", "wrong half")]
    assert pairs_right(rows, [True, True, True, False]) == {"whole": True}
    paired = [row for row in ROWS if row["pair_id"]]
    halves = [row for i, row in enumerate(paired) if row["pair_id"] not in {r["pair_id"] for r in paired[:i]}]
    score = scored(halves, own(halves))
    assert (score.right, score.pairs, score.pair_share) == (len(halves), 0, 0.0)


def test_no_other_picture_to_put_in_is_no_error():
    """All rows are of one scene: its rule finds nothing, whatever the draw, and says so."""
    rows = made(VisualQuestions(two_pictures=0, minimal_pairs=0), storybook(1, seed=71))
    found = [inject(row, random.Random(seed), rows) for seed in range(40) for row in rows]
    assert {bad for name, bad in filter(None, found) if name == "other_picture"} == {None}
    assert any(bad for _, bad in filter(None, found))
