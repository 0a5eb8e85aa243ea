"""Questions made by programs. Oracles: the second implementation on the stored pixels, hand-made scenes, invariants of pairs."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

import pytest
from pydantic import ValidationError
from question_rows import DirectRun, made, storybook

from filters.answers_true import AnswersTrue
from generators.marked_pictures import MarkedPictures
from generators.visual_descriptions import VisualDescriptions
from generators.visual_questions import VisualQuestions
from limbeck.errors import RecipeError
from limbeck.questions.pictures import DRAWERS_OF_ONE, DRAWERS_OF_TWO
from limbeck.recipe import load
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
    assert all("variation" not in json.loads(scene) for r in rows for scene in r["scenes"]), "words don't tell it"
    assert all("variation" in json.loads(scene) for r in ROWS for scene in r["scenes"])
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


@pytest.mark.parametrize(
    ("stage", "wrong", "found", "expected"),
    [
        (VisualQuestions, {"languages": {}}, "languages = {} leaves nothing to draw", "en, ko"),
        (VisualQuestions, {"forms": {}}, "forms = {} leaves nothing to draw", "word, sentence, choice"),
        (MarkedPictures, {"forms": {}}, "forms = {} leaves nothing to draw", "word, sentence, choice"),
        (VisualDescriptions, {"languages": {}}, "languages = {} leaves nothing to draw", "en, ko"),
        (VisualQuestions, {"of": "edit_pairs", "types": {"region": 1}}, "region alone can't be asked", "existence, attribute"),
        (
            VisualQuestions, {"of": "edit_pairs", "types": {"point": 1, "region": 2, "count": 0}},
            "point and region alone can't be asked", "existence, attribute",
        ),
    ],
)  # fmt: skip
def test_shares_that_leave_nothing_to_draw_are_told_at_once(stage, wrong, found, expected, tmp_path):
    """In the recipe, with the key, what was found and expected, and what to do; and not as an IndexError of a part."""
    written = "".join(f"{name} = {json.dumps(value).replace(':', ' =')}\n" for name, value in wrong.items())
    (tmp_path / "recipe.toml").write_text(
        '[dataset]\nname = "d"\nrecord = "VisualInstruction"\nlicense = "cc0-1.0"\nlanguages = ["en", "ko"]\n'
        '[source]\nstorybook = { rows = 1 }\n[models]\nwriter = "mini:llm"\n'
        f'[[stages]]\nuse = "{stage.name}"\n{written}'
    )
    with pytest.raises(RecipeError) as error:
        load(tmp_path / "recipe.toml")
    (problem,) = error.value.problems
    assert problem.key == f"stages[0].{list(wrong)[-1]}"
    assert found in problem.found
    assert f"; expected a share of one or more of {expected}" in problem.found
    assert problem.found.rsplit(". ", 1)[1].startswith(("Leave the setting out", "Name such a type too"))


def test_shares_that_may_be_empty_are_defaults():
    one = storybook(1)
    assert made(VisualQuestions(types={}), one) == made(VisualQuestions(), one)
    assert made(MarkedPictures(languages={}), one) == made(MarkedPictures(), one)
    assert VisualQuestions(of="edit_pairs", types={"region": 1, "count": 1}).types
    assert VisualQuestions(of="edit_pairs", types={"comparison": 1}).types, "some of them need no geometry"
