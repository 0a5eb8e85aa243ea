"""COCO-style sources. Oracles: boxes and masks worked out by hand, and every kind of broken annotation."""

from __future__ import annotations

import io
import json
import logging

import numpy as np
import pytest
from PIL import Image

from limbeck.errors import SourceError
from limbeck.recipe import SourceTable
from limbeck.sources import fields, rows
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
    for why in ("1 of an unknown category", "1 without area", "1 outside the picture", "1 without four numbers"):
        assert why in caplog.text


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
    for wrong, said in (
        ({"images": "nowhere"}, "no folder"), ({"captions": "nowhere.json"}, "no file"), ({"instances": "list.json"}, "no list"),
        ({"instances": "half.json"}, "no JSON"), ({"caption": "x"}, "Did you mean 'captions'"),
    ):  # fmt: skip
        with pytest.raises(SourceError, match=said):
            fields(source(**wrong), coco)
            list(rows(source(**wrong), coco, 7))
    with pytest.raises(SourceError, match="needs"):
        fields(SourceTable(coco={"images": "pictures"}), coco)
