"""Exports of conversations. Oracles: the rows that went in, and the trainers' own rules, written down here anew."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from question_rows import storybook

from limbeck.errors import RequestError
from limbeck.exports import (
    DISORDERED,
    MARKED,
    UNANSWERED,
    UNREADABLE,
    export,
    finevision,
    llamafactory,
    llava,
    trl,
)
from limbeck.pictures import png
from limbeck.publish import _published
from limbeck.records import columns, published
from limbeck.storybook import Scene, render
from limbeck.turns import assistant, from_marked_text, in_order, marked_text, user

A, B = (png(render(Scene.from_json(row["scene"]), 32).image) for row in storybook(2))
ROWS = [
    {"id": "one", "messages": [user(0, "What is this?"), assistant("A house.")], "images": [A]},
    {"id": "none", "messages": [user("Hello"), assistant("Hi.")], "images": []},
    {"id": "null", "messages": [user("Hello again"), assistant("Hi.")], "images": None},
    {"id": "two", "messages": [user("First:", 0, "second:", 1, "differ?"), assistant("Yes.")], "images": [A, B]},
    {"id": "later", "messages": [user(0, "This?"), assistant("A."), user("And\n\nthis?", 1), assistant("B\nor C.")],
     "images": [A, B]},
    {"id": "again", "messages": [user(1, "What?"), assistant("A."), user(0, "And?"), assistant("B.")], "images": [A, B]},
    {"id": "apart", "messages": [user("one", "two", 0), assistant("네, 고양이입니다. <b>\"quoted\"</b>")], "images": [B]},
    {"id": "end", "messages": [user("a line\n", 0), assistant("so.")], "images": [B]},
]  # fmt: skip
MODULES = {"llava": llava, "llamafactory": llamafactory, "trl": trl, "finevision": finevision}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build's data/ as `publish` writes it."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "data").mkdir()
    fields = columns("id", "messages", "images", "question_type")
    for split, rows in (("train", ROWS[:6]), ("test", ROWS[6:])):
        schema = published(fields)
        table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
        table = pa.Table.from_arrays(
            [_published(table[f.name], s.type) for f, s in zip(fields, schema, strict=True)], schema=schema
        )
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_a_round_trip_loses_nothing(built, tmp_path, name):
    done = export(built, name, tmp_path / "out")
    back = [row for split in ("train", "test") for row in MODULES[name].read(done.path, split)]
    assert [row["id"] for row in back] == [row["id"] for row in ROWS]
    assert done.unusable == 0
    for got, row in zip(back, ROWS, strict=True):
        messages, images = in_order(row["messages"], row["images"] or [])
        assert got["messages"] == messages, row["id"]
        assert got["images"] == images, row["id"]


def test_llava_files(built, tmp_path):
    """LLaVA's loader: `image` is a path or a list, tokens are as many as pictures, speakers alternate."""
    out = export(built, "llava", tmp_path / "out").path
    records = json.loads((out / "train.json").read_text())
    assert records[0] == {
        "id": "one", "image": records[0]["image"],
        "conversations": [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": "A house."}],
    }  # fmt: skip
    assert "image" not in records[1]
    for record in records:
        paths = record.get("image", [])
        count = 1 if isinstance(paths, str) else len(paths)
        assert sum(turn["value"].count("<image>") for turn in record["conversations"]) == count
        assert [turn["from"] for turn in record["conversations"]] == ["human", "gpt"] * (
            len(record["conversations"]) // 2
        )
    assert len(list((out / "images").iterdir())) == 2, "each picture is a file once"


def test_llamafactory_files(built, tmp_path):
    """Its parser: formatting, columns and tags of dataset_info.json; its plugin: as many `<image>` as images."""
    out = export(built, "llamafactory", tmp_path / "out", name="book").path
    info = json.loads((out / "dataset_info.json").read_text())
    assert set(info) == {"book_train", "book_test"}
    entry = info["book_train"]
    assert entry["formatting"] == "sharegpt"
    for record in json.loads((out / entry["file_name"]).read_text()):
        turns = record[entry["columns"]["messages"]]
        images = record[entry["columns"]["images"]]
        tags = entry["tags"]
        assert [turn[tags["role_tag"]] for turn in turns] == [tags["user_tag"], tags["assistant_tag"]] * (
            len(turns) // 2
        )
        assert sum(turn[tags["content_tag"]].count("<image>") for turn in turns) == len(images)
        assert all((out / path).is_file() for path in images)


def test_trl_rows_as_datasets_loads_them(built, tmp_path):
    """TRL's rule: prompt and completion of typed blocks, images a list, blocks without a key that templates misread."""
    import datasets

    datasets.disable_progress_bars()
    out = export(built, "trl", tmp_path / "out").path
    rows = datasets.load_dataset("parquet", data_files=f"{out}/train.parquet", cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    assert rows.num_rows == sum(len(row["messages"]) // 2 for row in ROWS[:6])
    for row in rows:
        blocks = [part for message in row["prompt"] for part in message["content"]]
        assert sum(part["type"] == "image" for part in blocks) == len(row["images"])
        assert all(set(part) == {"type", "text"} for part in blocks)
        assert row["completion"][0]["role"] == "assistant"
        assert all(image.size == (32, 32) for image in row["images"])
    assert export(built, "trl", tmp_path / "last", turns="last").rows == len(ROWS)
    with pytest.raises(RequestError):
        export(built, "trl", tmp_path / "wrong", turns="first")


def test_finevision_rows_as_datasets_loads_them(built, tmp_path):
    import datasets

    datasets.disable_progress_bars()
    out = export(built, "finevision", tmp_path / "out").path
    rows = datasets.load_dataset("parquet", data_files=f"{out}/train.parquet", cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    assert rows[0]["texts"] == [{"user": "What is this?", "assistant": "A house."}]
    assert [len(row["texts"]) for row in rows] == [len(row["messages"]) // 2 for row in ROWS[:6]]
    assert [len(row["images"]) for row in rows] == [1, 0, 0, 2, 2, 2]


def test_rows_that_a_trainer_would_choke_on_are_left_out_and_counted(tmp_path):
    rows = [
        {"id": "a", "messages": [user(0, "Why <image>?"), assistant("So.")], "images": [A]},
        {"id": "b", "messages": [user(0, "Why?"), assistant("So.")], "images": [b"no picture"]},
        {"id": "c", "messages": [user(0, "Why?")], "images": [A]},
        {"id": "d", "messages": [user(0, "Why?"), assistant("So.")], "images": [A]},
    ]
    fields = columns("id", "messages", "images")
    schema = published(fields)
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    table = pa.Table.from_arrays(
        [_published(table[f.name], s.type) for f, s in zip(fields, schema, strict=True)], schema=schema
    )
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data" / "train-00000-of-00001.parquet")
    left = {name: export(tmp_path, name, tmp_path / name) for name in MODULES}
    assert {name: done.unusable for name, done in left.items()} == {
        "llava": 2,
        "llamafactory": 3,
        "trl": 2,
        "finevision": 2,
    }
    assert left["llamafactory"].rows == 1
    assert {name: dict(done.left_out) for name, done in left.items()} == {
        "llava": {MARKED: 1, UNREADABLE: 1},
        "llamafactory": {MARKED: 1, UNREADABLE: 1, DISORDERED: 1},
        "trl": {UNREADABLE: 1, UNANSWERED: 1},
        "finevision": {UNREADABLE: 1, DISORDERED: 1},
    }


def test_marked_text_comes_back():
    for parts in ((0, "a"), ("a", 0), ("a", 0, 1, "b"), (0, 1), ("a",), (0,), ("a\nb", 0, "c")):
        message = user(*parts)
        assert from_marked_text("user", marked_text(message), 0) == message


def test_pictures_are_numbered_as_they_appear():
    """By hand: the second picture is shown first, the first one twice."""
    messages = [user(1, "What?"), assistant("A."), user(0, "And?", 0), assistant("B.")]
    assert in_order(messages, [A, B]) == (
        [user(0, "What?"), assistant("A."), user(1, "And?", 2), assistant("B.")],
        [B, A, A],
    )
    assert in_order([user("No picture"), assistant("No.")], []) == ([user("No picture"), assistant("No.")], [])
