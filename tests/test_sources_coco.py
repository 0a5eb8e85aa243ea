"""COCO-style sources. Oracles: boxes and masks worked out by hand, and every kind of broken annotation."""

from __future__ import annotations

import io
import json
import logging
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from limbeck.errors import SourceError
from limbeck.recipe import SourceTable
from limbeck.sources import fields, rows
from limbeck.sources.coco_masks import paint
from limbeck.stage import Drop


@pytest.fixture
def coco(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (100, 50), (10, 20, 30)).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    names = ["a.png", "b.png", "c.png", "gone.png", "broken.png", "../outside.png"]
    images = [{"id": i, "file_name": name, "width": 100, "height": 50} for i, name in enumerate(names)]

    def note(image, box, category=1, **more):
        return {"image_id": image, "bbox": box, "category_id": category, "iscrowd": 0, **more}

    instances = {
        "images": images,
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "bus"}],
        "annotations": [
            note(0, [10, 5, 20, 10], segmentation=[[10, 5, 30, 5, 30, 15, 10, 15]]),
            note(0, [90, 40, 30, 30], 2),  # over the edge
            note(0, [10, 5, 0, 10]),
            note(0, [120, 5, 10, 10]),
            note(0, [1, 1, 5, 5], 77),
            note(0, [1, 1, 5, 5], iscrowd=1),
            note(0, [1, 1, "x", 5]),
            note(99, [1, 1, 5, 5]),
        ],
    }
    captions = {"images": images, "annotations": [
        {"image_id": 0, "caption": "A dog\n beside a bus."}, {"image_id": 0, "caption": "A bus."},
        {"image_id": 1, "caption": "  "}, *({"image_id": i, "caption": "A thing."} for i in (2, 3, 4, 5)),
    ]}  # fmt: skip
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    return tmp_path


def source(**more):
    return SourceTable(coco={"images": "pictures", "captions": "captions.json", "instances": "instances.json"} | more)


def test_rows_and_drops(coco, caplog):
    with caplog.at_level(logging.WARNING):
        found = list(rows(source(), coco, 7))
    assert [row.reason if isinstance(row, Drop) else row["id"] for row in found] == [
        "0", "caption_missing", "2", "image_missing", "image_unreadable", "image_missing",
    ]  # fmt: skip
    first = found[0]
    assert first["caption"] == "A dog beside a bus.\nA bus."
    assert first["boxes"] == [
        {"image": 0, "name": "dog", "box": [0.1, 0.1, 0.3, 0.3]},
        {"image": 0, "name": "bus", "box": [0.9, 0.8, 1.0, 1.0]},
    ]
    mask = np.asarray(Image.open(io.BytesIO(first["mask_image"])))
    assert mask.shape == (50, 100)
    assert mask[10, 20] == 1
    assert set(np.unique(mask)) == {0, 1}
    assert found[2]["boxes"] == []
    for why in (
        "1 of an unknown category", "1 of an unknown picture", "1 without area", "1 outside the picture", "1 without four numbers",
    ):  # fmt: skip
        assert why in caplog.text


def test_what_is_left_out_is_said_where_a_limit_ends_the_rows(coco, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(list(islice(rows(source(), coco, 7), 1))) == 1
    assert "1 without area" in caplog.text


# What pycocotools 2.0.11 makes of 7 rows, 9 columns: a block of rows 2 to 4, columns 1 to 6, with a hole; a dot.
BLOCK = np.zeros((7, 9), bool)
BLOCK[2:5, 1:7] = True
BLOCK[3, 3] = False
BLOCK[6, 8] = True
RUNS = [9, 3, 4, 3, 4, 1, 1, 1, 4, 3, 4, 3, 4, 3, 15, 1]


@pytest.mark.parametrize("counts", ["93400NM0320000;N", RUNS])
def test_run_lengths_are_masks(counts):
    mask = Image.new("L", (9, 7), 0)
    assert paint(mask, {"counts": counts, "size": [7, 9]}, 3) == ""
    assert (np.asarray(mask) == 3 * BLOCK).all()


@pytest.mark.parametrize("wrong", [
    [1.0, 2.0, 3.0, 2.0, 3.0, 4.0], [["a"] * 6], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5, 6, 7]], [None], 7, "polygon",
    {"counts": RUNS, "size": [9, 7]}, {"counts": RUNS[:-1], "size": [7, 9]}, {"counts": "93400NM032", "size": [7, 9]},
    {"counts": "9\n", "size": [7, 9]}, {"counts": [-1, 64], "size": [7, 9]}, {"counts": None, "size": [7, 9]}, {"size": [7, 9]},
])  # fmt: skip
def test_masks_that_are_none_are_left_out_and_said(wrong):
    mask = Image.new("L", (9, 7), 0)
    assert paint(mask, wrong, 1)
    assert not np.asarray(mask).any()


def test_captions_alone_and_boxes_alone(coco):
    only = {"images": "pictures", "captions": "captions.json"}
    table = SourceTable(coco=only)
    assert [field.name for field in fields(table, coco)] == ["caption", "image"]
    assert "boxes" not in next(iter(rows(table, coco, 7)))
    table = SourceTable(coco={"images": "pictures", "instances": "instances.json"})
    assert next(iter(rows(table, coco, 7)))["caption"] == "bus, dog"
    assert [field.name for field in fields(table, coco)] == ["caption", "image", "boxes", "mask_image"]


def test_what_makes_all_rows_unusable_is_an_error(coco):
    (coco / "list.json").write_text("[]")
    (coco / "half.json").write_text('{"images": [')
    whole = json.loads((coco / "instances.json").read_text())
    for name, change in {
        "null": {"annotations": [None]}, "nameless": {"images": [{"file_name": "a.png"}]},
        "uncategorised": {"annotations": [{"image_id": 0, "bbox": [1, 1, 2, 2]}]},
    }.items():  # fmt: skip
        (coco / f"{name}.json").write_text(json.dumps(whole | change))
    for wrong, said in (
        ({"instances": "null.json"}, r"annotations\[0\] is no object"),
        ({"instances": "nameless.json"}, r"images\[0\] has no 'id'"),
        ({"instances": "uncategorised.json"}, "no 'category_id'"),
        ({"images": "nowhere"}, "no folder"), ({"captions": "nowhere.json"}, "no file"), ({"instances": "list.json"}, "no list"),
        ({"instances": "half.json"}, "no JSON"), ({"caption": "x"}, "Did you mean 'captions'"),
    ):  # fmt: skip
        with pytest.raises(SourceError, match=said):
            list(rows(source(**wrong), coco, 7))
    with pytest.raises(SourceError, match="needs"):
        fields(SourceTable(coco={"images": "pictures"}), coco)
