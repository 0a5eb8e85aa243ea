"""Visual instructions through the real runner. Oracle: rows of which the test knows what was done to them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import limbeck
from limbeck.loopback import Faults, LoopbackServer
from limbeck.pictures import png
from limbeck.questions.context import conversation_answer, description_answer
from limbeck.recipe import load
from limbeck.storybook import parse_caption, render

SPOIL = '''
"""Answers every other closed question wrongly, and says so in `template_is`."""
import json
from typing import ClassVar

import pyarrow as pa

from limbeck.records import column, columns
from limbeck.stage import Generator, settings

COLUMNS = ("messages", "images", "question_type", "template", "language", "answer_type", "answer_value", "program",
           "options", "scenes", "boxes", "pair_id", "image_hashes")
FLIP = {"Yes": "No", "No": "Yes", "네": "아니요", "아니요": "네"}


@settings
class Spoil(Generator):
    """Turns yes into no in every other row."""

    name: ClassVar = "spoil"
    reads: ClassVar = columns(*COLUMNS)
    writes: ClassVar = (*columns(*COLUMNS), column("spoilt", pa.bool_()))

    def generate(self, rows, run):
        for i, row in enumerate(rows):
            messages = json.loads(json.dumps(row["messages"]))
            answer = messages[1]["content"][0]
            spoilt = i % 2 == 0 and answer["text"] in FLIP
            if spoilt:
                answer["text"] = FLIP[answer["text"]]
            yield {**{name: row[name] for name in COLUMNS}, "id": f"{row['id']}/0", "messages": messages, "spoilt": spoilt}
'''
RECIPE = """
[dataset]
name = "questions"
record = "VisualInstruction"
license = "cc0-1.0"
languages = ["en", "ko"]

[source]
storybook = { rows = 40 }

[[stages]]
use = "visual_questions"
forms = { word = 1 }

[[stages]]
use = "./spoil.py:Spoil"

[[stages]]
use = "answers_true"
"""


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spoilt")
    (folder / "spoil.py").write_text(SPOIL)
    (folder / "recipe.toml").write_text(RECIPE)
    return limbeck.build(folder / "recipe.toml", folder / "out")


def test_closed_answers_are_checked_by_their_programs_in_a_build(spoilt):
    """The runner hands a stage only the columns it declares: programs, values and options have to be among them."""
    rows = list(spoilt.rows(verdict="all", columns=["spoilt", "verdicts"]))
    assert sum(row["spoilt"] for row in rows) > 40
    for row in rows:
        assert row["verdict"] == ("dropped" if row["spoilt"] else "kept"), row
        assert [v["verdict"] for v in row["verdicts"]] == ["wrong" if row["spoilt"] else "right"]
    assert Counter(r for row in rows for r in row["reasons"]).keys() == {"answer_wrong"}


@pytest.mark.parametrize("name", ["visual-questions", "visual-marks"])
def test_the_recipes_of_programs_lose_no_row_to_answers_true(name, tmp_path):
    built = limbeck.build(f"recipes/{name}.toml", tmp_path / "out", limit=24, report=False)
    funnel = {count.stage: count for count in built.funnel()}
    assert funnel["answers_true"].dropped == funnel["answers_true"].failed == 0
    assert funnel["balance"].kept > 0.8 * funnel["balance"].rows
    rows = list(built.rows(columns=["verdicts", "language", *(["marks"] if name == "visual-marks" else [])]))
    assert {v["verdict"] for row in rows for v in row["verdicts"]} == {"right"}
    assert {row["language"] for row in rows} == {"en", "ko"}
    assert all(row.get("marks") for row in rows) == (name == "visual-marks")


def test_all_visual_stages_follow_each_other(tmp_path):
    """Every filter of conversations in one line, each column where the next one looks for it."""
    text = RECIPE.replace('[[stages]]\nuse = "./spoil.py:Spoil"\n', "") + "".join(
        f'\n[[stages]]\nuse = "{name}"\n' for name in ("source_leak", "repeated_questions", "balance")
    )
    (tmp_path / "recipe.toml").write_text(text)
    assert len(load(tmp_path / "recipe.toml").stages) == 5
    built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out", limit=6)
    assert [count.stage for count in built.funnel()][1:] == [
        "visual_questions", "answers_true", "source_leak", "repeated_questions", "balance",
    ]  # fmt: skip


def test_the_domain_recipe_over_ones_own_pictures(tmp_path):
    """Pictures and domain reach the writer, its answers become rows, the judge rates what is left."""
    turns = conversation_answer(
        [("Where is the mark?", "Near the upper edge."), ("Is there a crack?", "No, the surface shows a pit.")]
    )
    leak = conversation_answer(
        [("Where is the mark?", "According to the caption it is above."), ("Large?", "It is small.")]
    )
    said, bodies = [turns, leak, turns], []

    def answer(body):
        bodies.append(body)
        if "rating" in json.dumps(body.get("response_format", "")):
            return '{"true": 5, "answers": 5, "seen": 4, "written": 5, "reason": ""}'
        return said.pop() if said else turns

    with LoopbackServer(Faults(), answer) as server:
        built = limbeck.build(
            "recipes/visual-domain.toml", tmp_path / "out", sets=[f"models.writer.base_url={server.base_url}"]
        )
    funnel = {count.stage: count for count in built.funnel()}
    assert funnel["visual_conversations"].kept == 3
    assert funnel["source_leak"].reasons == {"source_leak": 1}
    assert funnel["judge"].kept == 2
    asked = [body for body in bodies if "turns" in json.dumps(body["response_format"])]
    assert len(asked) == 3
    for body in asked:
        assert "cast metal parts" in body["messages"][0]["content"]
        kinds = [part["type"] for part in body["messages"][-1]["content"]]
        assert kinds == ["image_url", "text"]
    assert (built.path / "report" / "index.html").read_text().count("Near the upper edge.") >= 1


COCO = """
[dataset]
name = "coco"
record = "VisualInstruction"
license = "cc-by-4.0"

[source]
coco = { images = "pictures", captions = "captions.json", instances = "instances.json" }

[[stages]]
use = "marked_pictures"
of = "masks"
vocabulary = ["cat", "bench", "kite"]
"""


def test_coco_annotations_become_marked_questions(tmp_path):
    """Marks lie inside the polygons; pictures that are missing or have no caption are counted, not fatal."""
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (200, 100), (90, 120, 150)).save(tmp_path / "pictures" / "a.png")
    Image.new("RGB", (200, 100), (90, 120, 150)).save(tmp_path / "pictures" / "b.png")
    images = [{"id": i, "file_name": name} for i, name in enumerate(("a.png", "b.png", "gone.png"))]

    def note(x0, x1, category):
        return {
            "image_id": 0,
            "category_id": category,
            "bbox": [x0, 20, x1 - x0, 60],
            "segmentation": [[x0, 20, x1, 20, x1, 80, x0, 80]],
        }

    (tmp_path / "instances.json").write_text(json.dumps({
        "images": images, "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "bus"}],
        "annotations": [note(10, 70, 1), note(120, 190, 2), note(300, 310, 1)],
    }))  # fmt: skip
    (tmp_path / "captions.json").write_text(
        json.dumps({"images": images, "annotations": [{"image_id": 0, "caption": "A dog and a bus."}]})
    )
    (tmp_path / "recipe.toml").write_text(COCO)
    built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out")
    assert built.funnel()[0].reasons == {"caption_missing": 1, "image_missing": 1}
    rows = list(built.rows(columns=["marks", "boxes", "language"]))
    assert rows
    for row in rows:
        assert [box["name"] for box in row["boxes"]] == ["dog", "bus"]
        for mark in row["marks"]:
            assert (10 < 200 * mark["x"] < 70) == (mark["name"] == "dog")


def drawn(text, side=64, variation=0):
    return png(render(replace(parse_caption(text), variation=variation), side).image)


def test_edit_pairs_that_limbeck_made_become_two_picture_questions_and_minimal_pairs(tmp_path):
    """A build of edit pairs is the source of a build of questions; both pictures are the pairs' own, none drawn from words."""
    ball, red = (
        "a big red ball on the left and a small blue house on the right, on grass, by day",
        "make the ball green",
    )
    green = ball.replace("red", "green")
    before, after = drawn(ball, variation=11), drawn(green, variation=11)
    table = [{"original_prompt": ball, "edit_prompt": red, "edited_prompt": green, "original_image": before, "edited_image": after},
             {"original_prompt": "a dog", "edit_prompt": "make it a cat", "edited_prompt": "a cat", "original_image": before,
              "edited_image": after}]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "pairs.parquet")
    (tmp_path / "pairs.toml").write_text(
        '[dataset]\nname = "pairs"\nlicense = "cc0-1.0"\n[source]\npairs = "pairs.parquet"\n[[stages]]\nuse = "image_integrity"\n'
    )
    pairs = limbeck.build(tmp_path / "pairs.toml", tmp_path / "pairs")
    assert sum(pairs.splits().values()) == 2
    (tmp_path / "recipe.toml").write_text(
        '[dataset]\nname = "q"\nrecord = "VisualInstruction"\nlicense = "cc0-1.0"\nlanguages = ["en", "ko"]\n[source]\nbuild = "pairs"\n'
        '[[stages]]\nuse = "visual_questions"\nof = "edit_pairs"\nminimal_pairs = 4\ntwo_pictures = 4\n[[stages]]\nuse = "answers_true"\n'
    )
    built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out")
    funnel = {count.stage: count for count in built.funnel()}
    assert funnel["visual_questions"].reasons == {"not_a_scene": 1}, "a pair of another world is counted"
    assert funnel["answers_true"].dropped == 0
    rows = list(built.rows())
    assert {image for row in rows for image in row["images"]} == {before, after}
    turned = [row for row in rows if row["pair_id"]]
    assert len(turned) >= 2
    assert len({row["answer_value"] for row in turned if row["pair_id"] == turned[0]["pair_id"]}) == 2


def test_a_dataset_of_pictures_and_captions_is_written_about(tmp_path):
    """Anything that `datasets` reads: here Parquet with a picture and a caption under names of its own."""
    (tmp_path / "photos").mkdir()
    scene = "a small pink cat in the middle, on snow, at night"
    table = [
        {"picture": {"bytes": drawn(scene), "path": None}, "sentence": "A cat sits in the snow."},
        {"picture": None, "sentence": "None."},
    ]
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "photos" / "train.parquet")
    with LoopbackServer(Faults(), lambda body: description_answer("A pink cat sits in the snow at night.")) as server:
        (tmp_path / "recipe.toml").write_text(
            '[dataset]\nname = "d"\nrecord = "VisualInstruction"\nlicense = "cc0-1.0"\n[source]\ndataset = "photos"\n'
            'columns = { image = "picture", caption = "sentence" }\n'
            f'[models]\nwriter = {{ base_url = "{server.base_url}", model = "m" }}\n'
            '[[stages]]\nuse = "visual_descriptions"\nof = "captions"\n'
        )
        built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out")
    (row,) = built.rows()
    assert row["images"] == [drawn(scene)]
    assert row["messages"][1]["content"][0]["text"] == "A pink cat sits in the snow at night."
    assert sum(built.funnel()[0].reasons.values()) == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("The picture shows a cat.", "malformed"), ('{"caption": "A cat."}', "malformed"),
        (description_answer("눈 위에 고양이가 있습니다."), "language"), ("I'm sorry, but I can't help with that.", "refused"),
    ],
)  # fmt: skip
def test_what_an_endpoint_gets_wrong_is_counted_in_the_build(said, reason, tmp_path):
    """Prose, another schema, the wrong language, a refusal: a reason each, no crash, nothing lost."""
    with LoopbackServer(Faults(), lambda body: said) as server:
        (tmp_path / "recipe.toml").write_text(
            '[dataset]\nname = "d"\nrecord = "VisualInstruction"\nlicense = "cc0-1.0"\n[source]\nstorybook = { rows = 3 }\n'
            f'[models]\nwriter = {{ base_url = "{server.base_url}", model = "m" }}\n[[stages]]\nuse = "visual_descriptions"\n'
        )
        built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out")
    assert built.funnel()[1].reasons == {reason: 3}
    assert list(built.rows()) == []
