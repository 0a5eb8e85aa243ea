"""Questions made by programs. Oracles: the second implementation on the stored pixels, hand-made scenes, invariants of pairs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
from pydantic import ValidationError
from question_rows import DirectRun, made, storybook

from filters.answers_true import AnswersTrue
from generators.marked_pictures import MarkedPictures
from generators.visual_questions import VisualQuestions
from limbeck.questions.pictures import DRAWERS_OF_ONE, DRAWERS_OF_TWO
from limbeck.records import COLUMNS
from limbeck.storybook import Scene, render, split_of
from limbeck.turns import answers, faults, text_of

ROWS = made(VisualQuestions(per_scene=10, two_pictures=2), storybook(60))


def test_the_second_implementation_agrees_with_every_answer():
    rows = ROWS[:250] + made(MarkedPictures(size_px=160), storybook(8))
    found = AnswersTrue().score(rows, DirectRun())
    wrong = [
        (out["fault"], out["detail"], row["template"]) for row, out in zip(rows, found, strict=True) if out["fault"]
    ]
    assert wrong == []
    assert all(out["checked"] for out in found)


def test_every_template_is_asked_in_both_languages():
    rows = made(VisualQuestions(pictures=False, per_scene=24, two_pictures=6), storybook(120, seed=4))
    seen = {(row["template"], row["language"]) for row in rows}
    assert {template for template, _ in seen} == {*DRAWERS_OF_ONE, *DRAWERS_OF_TWO}
    assert len(seen) >= 2 * len({*DRAWERS_OF_ONE, *DRAWERS_OF_TWO}) - 4


def test_rows_are_whole():
    for row in ROWS:
        assert faults(row["messages"], len(row["images"])) == []
        assert len(row["images"]) == len(row["scenes"]) == len(row["image_hashes"])
        assert answers(row["messages"])[0].strip()
        assert "{" not in text_of(row["messages"][0])
        assert "{" not in answers(row["messages"])[0]
    assert ROWS[0].keys() - {"id"} == {field.name for field in VisualQuestions.writes}
    assert len({row["id"] for row in ROWS}) == len(ROWS)
    assert set(COLUMNS) >= {field.name for field in VisualQuestions.writes}


def test_minimal_pairs_differ_in_nothing_but_picture_and_answer():
    pairs = defaultdict(list)
    for row in ROWS:
        if row["pair_id"]:
            pairs[row["pair_id"]].append(row)
    assert len(pairs) >= 40
    for one, two in pairs.values():
        assert text_of(one["messages"][0]) == text_of(two["messages"][0])
        assert one["program"] == two["program"]
        assert one["images"] != two["images"]
        assert one["answer_value"] != two["answer_value"]
        assert answers(one["messages"]) != answers(two["messages"])
        scenes = [Scene.from_json(row["scenes"][0]) for row in (one, two)]
        assert scenes[0].variation == scenes[1].variation
        assert split_of(scenes[0]) == split_of(scenes[1]), "no content crosses the splits"


def test_yes_and_no_are_drawn_alike():
    """Of n tosses the yes share lies within 4.5 standard deviations of a half, for all yes-or-no rows of each type."""
    rows = made(VisualQuestions(pictures=False, per_scene=20, two_pictures=4, minimal_pairs=0), storybook(150, seed=9))
    said = Counter(
        (row["question_type"], row["answer_value"]) for row in rows if row["answer_value"] in ("true", "false")
    )
    assert {kind for kind, _ in said} == {
        "existence",
        "attribute",
        "place",
        "relation",
        "comparison",
        "setting",
        "two_pictures",
    }
    for kind in {kind for kind, _ in said}:
        yes, no = said[kind, "true"], said[kind, "false"]
        assert abs(yes - no) / 2 < 4.5 * (yes + no) ** 0.5 / 2, (kind, yes, no)


def test_rows_don_t_depend_on_their_company_and_come_again():
    source = storybook(6)
    together = made(VisualQuestions(), source)
    alone = [row for scene in source[::-1] for row in made(VisualQuestions(), [scene])]
    assert {row["id"]: row for row in together} == {row["id"]: row for row in alone}


def test_questions_about_edit_pairs_show_their_own_pictures():
    from limbeck.pictures import png

    before, after = (Scene.from_json(storybook(1)[0]["scene"]) for _ in range(2))
    caption, edit = "a big red ball on the left, on grass, by day", "make the ball blue"
    row = {"id": "p", "original_prompt": caption, "edit_prompt": edit,
           "original_image": png(render(before).image), "edited_image": png(render(after, 32).image)}  # fmt: skip
    rows = made(VisualQuestions(of="edit_pairs", per_scene=8, minimal_pairs=4, two_pictures=4), [row])
    assert {image for r in rows for image in r["images"]} == {row["original_image"], row["edited_image"]}
    assert not [r for r in rows if r["template"].startswith(("region", "point", "comparison.taller"))]
    turned = [r for r in rows if r["pair_id"] and r["template"] == "attribute.colour"]
    assert {r["answer_value"] for r in turned} <= {'"red"', '"blue"'}
    stage = VisualQuestions(of="edit_pairs")
    assert [d.reason for d in stage.generate([row | {"edit_prompt": "add a hat"}], DirectRun())] == ["not_a_scene"]


def test_what_is_no_scene_is_dropped():
    rows = [
        {"id": "a", "scene": "{}"},
        {"id": "b", "scene": None},
        {"id": "c", "scene": '{"things": [], "ground": "mud"}'},
    ]
    for stage in (VisualQuestions(), MarkedPictures()):
        assert [drop.reason for drop in stage.generate(rows, DirectRun())] == ["not_a_scene"] * 3


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_pictures_come_before_questions_as_often_as_asked(share):
    """Oracle: the first part of every question; nothing else changes."""
    here = {row["id"]: row for row in made(VisualQuestions(per_scene=10, picture_first=share), storybook(6))}
    usual = {row["id"]: row for row in made(VisualQuestions(per_scene=10), storybook(6))}
    for name, row in here.items():
        if len(row["images"]) == 1:
            assert (row["messages"][0]["content"][0]["type"] == "image") == bool(share)
        assert row["program"] == usual[name]["program"]
        assert answers(row["messages"]) == answers(usual[name]["messages"])


def test_shares_and_settings():
    only = made(VisualQuestions(types={"count": 1}, languages={"ko": 1}, forms={"word": 1}, two_pictures=0,
                                minimal_pairs=0), storybook(10))  # fmt: skip
    assert {row["question_type"] for row in only} == {"count"}
    assert {row["language"] for row in only} == {"ko"}
    assert {row["answer_type"] for row in only} == {"number"}
    assert all(isinstance(json.loads(row["answer_value"]), int) for row in only)
    for wrong in ({"types": {"counting": 1}}, {"languages": {"fr": 1}}, {"forms": {"word": 0}}, {"per_scene": -1}):
        with pytest.raises(ValidationError):
            VisualQuestions(**wrong)
