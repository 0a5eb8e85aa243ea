"""Marks on any picture. Oracles: masks drawn by hand, numbers under the marks, and what the detector and segmenter said."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from question_rows import DirectRun, made, storybook
from tiny_detectors import tiny_grounding_dino, tiny_sam2

import limbeck
from generators.marked_pictures import MarkedPictures
from generators.object_masks import ObjectMasks, numbered
from limbeck import models
from limbeck.models.roles import Found
from limbeck.models.spec import ModelSpec
from limbeck.questions.photo import masks_of
from limbeck.stage import Drop
from limbeck.storybook import Scene, parse_caption, render
from limbeck.turns import answers, faults, text_of

WIDTH, HEIGHT = 240, 160
BOXES = [
    {"image": 0, "name": "dog", "box": [0.05, 0.3, 0.35, 0.9]},
    {"image": 0, "name": "bus", "box": [0.45, 0.1, 0.95, 0.6]},
    {"image": 0, "name": "kite", "box": [0.4, 0.8, 0.42, 0.82]},
]


def encoded(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def pixels_of(boxes):
    masks = np.zeros((len(boxes), HEIGHT, WIDTH), bool)
    for mask, box in zip(masks, boxes, strict=True):
        x0, y0, x1, y1 = (round(v * n) for v, n in zip(box["box"], (WIDTH, HEIGHT) * 2, strict=True))
        mask[y0:y1, x0:x1] = True
    return masks


def photo(boxes=BOXES, **more):
    image = np.random.default_rng(1).integers(60, 200, (HEIGHT, WIDTH, 3), np.uint8)
    return {"id": "p", "image": encoded(image), "boxes": boxes, "mask_image": numbered(pixels_of(boxes)), **more}


def test_marks_lie_on_their_things_and_answers_follow_the_numbers():
    stage = MarkedPictures(of="masks", per_scene=12, vocabulary=("cat", "bench", "car", "boat"))
    rows = [row for i in range(12) for row in made(stage, [photo(id=f"p{i}")])]
    assert {row["template"] for row in rows} == {"marks.what", "marks.number", "marks.is", "marks.beside"}
    masks = pixels_of(BOXES)
    for row in rows:
        assert faults(row["messages"], len(row["images"])) == []
        assert row["clean_images"] == [photo()["image"]]
        assert row["scenes"] == []
        assert row["boxes"] == BOXES
        assert {m["name"] for m in row["marks"]} == {"dog", "bus"}, "a kite of 5 px has no room"
        names = {m["number"]: m["name"] for m in row["marks"]}
        for mark in row["marks"]:
            index = [b["name"] for b in BOXES].index(mark["name"])
            assert masks[index][int(mark["y"] * HEIGHT), int(mark["x"] * WIDTH)]
        clean, marked = (np.asarray(Image.open(io.BytesIO(b))) for b in (row["clean_images"][0], row["images"][0]))
        assert not (clean != marked).any(-1)[~masks[:2].any(0)].any(), "nothing outside the marked things changes"
        value, program = json.loads(row["answer_value"]), json.loads(row["program"])
        if row["template"] == "marks.what":
            assert value == names[program[2][2]]
        elif row["template"] == "marks.number":
            assert names[value] == program[1][1][3]
        elif row["template"] == "marks.is":
            assert value == (names[program[1][2][2]] == program[2])
        else:
            _, side, (_, _, a), _ = program
            assert value == ((names[a] == "dog") == (side == "left"))
        if row["answer_type"] == "choice":
            assert len(row["options"]) == 4
    numbers = {tuple(sorted((m["name"], m["number"]) for m in row["marks"])) for row in rows}
    assert len(numbers) == 2, "numbers are dealt"


def test_two_of_a_name_are_never_taken_for_one():
    twins = [*BOXES[:2], {"image": 0, "name": "dog", "box": [0.05, 0.0, 0.4, 0.25]}]
    rows = [row for i in range(8) for row in made(MarkedPictures(of="masks", per_scene=9), [photo(twins, id=f"t{i}")])]
    assert {json.loads(row["program"])[1][1][3] for row in rows if row["template"] == "marks.number"} == {"bus"}
    near = [
        {"image": 0, "name": n, "box": [0.4 + d, y, 0.6 + d, y + 0.4]}
        for n, d, y in (("dog", 0, 0), ("bus", 0.02, 0.5))
    ]
    rows = [row for i in range(8) for row in made(MarkedPictures(of="masks", per_scene=9), [photo(near, id=f"n{i}")])]
    assert rows
    assert "marks.beside" not in {row["template"] for row in rows}, "neither is left of the other"


def test_korean_needs_korean_names():
    korean = {"dog": "개", "bus": "버스", "kite": "연", "cat": "고양이"}
    both = MarkedPictures(
        of="masks", per_scene=8, languages={"en": 1, "ko": 1}, korean_names=korean, vocabulary=("cat",)
    )
    rows = [row for i in range(4) for row in made(both, [photo(id=f"k{i}")])]
    assert {row["language"] for row in rows} == {"en", "ko"}
    said = " ".join(text_of(m) for row in rows if row["language"] == "ko" for m in row["messages"])
    assert not any(name in said for name in ("dog", "bus", "kite", "cat"))
    assert "버스는" in said or "개는" in said or "개입니다" in said
    only = MarkedPictures(of="masks", languages={"ko": 1}, korean_names={"dog": "개"})
    (drop,) = only.generate([photo()], DirectRun())
    assert (drop.reason, "bus" in drop.detail) == ("no_words", True)
    assert {row["language"] for row in made(MarkedPictures(of="masks"), [photo()])} == {"en"}


def test_a_choice_has_something_to_choose_from():
    alone = MarkedPictures(
        of="masks",
        per_scene=4,
        languages={"ko": 1},
        korean_names={"dog": "개"},
        vocabulary=("cat",),
        forms={"choice": 1},
    )
    rows = [row for i in range(4) for row in made(alone, [photo(BOXES[:1], id=f"a{i}")])]
    assert "marks.what" in {row["template"] for row in rows}
    assert {row["answer_type"] for row in rows if row["template"] == "marks.what"} == {"word"}, "cat has no Korean name"


def test_bad_pictures_and_masks_are_counted():
    stage = MarkedPictures(of="masks")
    rows = [
        photo(id="a", image=b"none"), photo(id="b", mask_image=None), photo(id="c", mask_image=encoded(np.zeros((5, 5), np.uint8))),
        {**photo(id="d"), "boxes": None}, photo(BOXES[2:], id="e"), photo(id="f", mask_image=b"none"),
        photo(id="g", mask_image=encoded(np.zeros((HEIGHT, WIDTH), np.uint8))),
    ]  # fmt: skip
    assert [drop.reason for drop in stage.generate(rows, DirectRun())] == [
        "no_picture",
        "no_masks",
        "no_masks",
        "no_masks",
        "no_room",
        "no_masks",
        "no_masks",
    ]


class Detector:
    def __init__(self, *found):
        self.found, self.asked = found, []

    def detect(self, image, names, *, min_score):
        self.asked.append((image.size, tuple(names), min_score))
        return [found for found in self.found if found.score >= min_score]


class Segmenter:
    def segment(self, image, boxes):
        return pixels_of([{"box": box} for box in boxes]) if boxes else np.zeros((0, image.height, image.width), bool)


class TwoModels(DirectRun):
    def __init__(self, **models):
        super().__init__("object_masks")
        self.models = models

    def model(self, name):
        return self.models[name]


def test_boxes_are_thinned_and_numbered():
    dog, same, bus, speck = (
        Found("dog", (0.05, 0.3, 0.35, 0.9), 0.9), Found("dog", (0.06, 0.31, 0.36, 0.9), 0.8),
        Found("bus", (0.05, 0.3, 0.35, 0.9), 0.7), Found("kite", (0.4, 0.8, 0.405, 0.81), 0.6),
    )  # fmt: skip
    detector = Detector(dog, same, bus, speck, Found("bus", (0.5, 0, 1, 1), 0.2))
    run = TwoModels(detector=detector, segmenter=Segmenter())
    (row,) = made(ObjectMasks(detector="detector", names=("dog", "bus", "kite")), [photo()], run)
    assert [(box["name"], box["box"]) for box in row["boxes"]] == [
        ("dog", [0.05, 0.3, 0.35, 0.9]),
        ("bus", [0.05, 0.3, 0.35, 0.9]),
    ]
    assert detector.asked == [((WIDTH, HEIGHT), ("dog", "bus", "kite"), 0.35)]
    assert masks_of(np.asarray(Image.open(io.BytesIO(row["mask_image"]))), 2).any((1, 2)).tolist() == [False, True]
    empty = TwoModels(detector=Detector(), segmenter=Segmenter())
    (nothing,) = ObjectMasks(detector="detector", names=("dog",)).generate([photo()], empty)
    (broken,) = ObjectMasks(detector="detector", names=("dog",)).generate([photo(image=b"x")], empty)
    assert [d.reason for d in (nothing, broken)] == ["nothing_found", "no_picture"]
    (given,) = made(ObjectMasks(), [photo()], TwoModels(segmenter=Segmenter()))
    assert [box["name"] for box in given["boxes"]] == ["dog", "bus"]
    for wrong in ({"detector": "d"}, {"detector": "d", "names": ("",)}, {"most": 300}, {"min_score": 2}):
        with pytest.raises(ValidationError):
            ObjectMasks(**wrong)


def test_smaller_masks_are_in_front():
    masks = np.zeros((2, 6, 6), bool)
    masks[0, 2:4, 2:4] = True
    masks[1] = True
    found = masks_of(np.asarray(Image.open(io.BytesIO(numbered(masks)))), 2)
    assert (found[0] == masks[0]).all()
    assert (found[1] == ~masks[0]).all()


RECIPE = """
[dataset]
name = "photos"
record = "VisualInstruction"
license = "cc0-1.0"

[source]
images = "photos"

[models]
detector = "./dino"
segmenter = "./sam"

[[stages]]
use = "object_masks"
detector = "detector"
names = ["house", "tree", "cat"]
min_score = 0.0
min_area = 0.0
most = 4

[[stages]]
use = "marked_pictures"
of = "masks"
vocabulary = ["ball", "boat"]

[[stages]]
use = "answers_true"
"""


def test_photos_to_marked_rows_through_both_models_in_a_build(tmp_path):
    """The whole line with tiny models of the real architectures; what they find is noise, and every step is real."""
    tiny_grounding_dino(tmp_path / "dino", spread=2.0)
    tiny_sam2(tmp_path / "sam")
    (tmp_path / "photos").mkdir()
    for i, row in enumerate(storybook(4)):
        Image.fromarray(render(Scene.from_json(row["scene"]), 160).image).save(tmp_path / "photos" / f"{i}.png")
        (tmp_path / "photos" / f"{i}.txt").write_text(row["caption"])
    (tmp_path / "recipe.toml").write_text(RECIPE)
    built = limbeck.build(tmp_path / "recipe.toml", tmp_path / "out")
    rows = list(built.rows())
    assert rows
    for row in rows:
        assert all(m["name"] in ("house", "tree", "cat") for m in row["marks"])
        assert len(row["clean_images"]) == len(row["images"]) == 1
        assert row["clean_images"] != row["images"]
        assert [v["verdict"] for v in row["verdicts"]] == ["unchecked"], "nobody knows what a photo shows"
    assert (built.path / "report" / "index.html").read_text().count('class="spot"') > 0


def test_a_storybook_scene_through_exact_models():
    """Detector and segmenter that know the scene give the marks that the scene itself does."""
    scene = parse_caption("a big red ball on the left and a big blue house on the right, on grass, by day")
    picture = render(scene, 224)
    boxes = [tuple(float(v) / 224 for v in box) for box in picture.boxes]
    found = [Found(thing.kind, box, 0.9) for thing, box in zip(scene.things, boxes, strict=True)]

    class Exact:
        def segment(self, image, asked):
            assert [tuple(box) for box in asked] == boxes
            return picture.masks

    row = {"id": "s", "image": encoded(picture.image)}
    run = TwoModels(detector=Detector(*found), segmenter=Exact())
    (masked,) = made(ObjectMasks(detector="detector", names=("ball", "house")), [row], run)
    rows = made(MarkedPictures(of="masks", per_scene=8, vocabulary=("cat", "tree")), [{**row, **masked, "id": "s/0"}])
    assert len(rows) >= 6
    for asked in rows:
        for mark in asked["marks"]:
            thing = next(i for i, t in enumerate(scene.things) if t.kind == mark["name"])
            assert picture.masks[thing][int(mark["y"] * 224), int(mark["x"] * 224)]
        assert answers(asked["messages"])[0]
    assert not [
        r
        for r in MarkedPictures(of="masks").generate([{**row, **masked, "id": "s/0"}], DirectRun())
        if isinstance(r, Drop)
    ]


def test_models_play_the_roles_that_the_stage_asks_for(tmp_path):
    from limbeck.stage import model_settings

    assert model_settings(ObjectMasks) == {"detector": "detect", "segmenter": "segment"}
    for role, folder in (("detect", tiny_grounding_dino(tmp_path / "d")), ("segment", tiny_sam2(tmp_path / "s"))):
        assert models.unfit(ModelSpec(id=str(folder)), role) is None
