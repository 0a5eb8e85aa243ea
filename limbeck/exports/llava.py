"""LLaVA's JSON: a list of id, image and conversations for each split, `<image>` where a picture stands.

train.json, test.json ...   [{"id", "image": "images/9f.png" or a list, "conversations": [{"from": "human", "value"}, ...]}]
images/                     the pictures, each once

A row without a picture has no `image`. Where `<image>` and line breaks can't say where the texts of a turn part, the
row also has `messages`, which LLaVA passes over and `read` doesn't. LLaVA 1.5 moves a single `<image>` to the front of
its turn and takes one picture a row; its successors keep the place and take lists.

Source: haotian-liu/LLaVA, llava/train/train.py (LazySupervisedDataset, preprocess_multimodal).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from limbeck.exports import MARKED, UNREADABLE, Exported, usable
from limbeck.picture_files import PictureFiles
from limbeck.published_rows import Published
from limbeck.turns import from_marked_text, in_order, marked_text, pictures_of

_FROM = {"user": "human", "assistant": "gpt", "system": "system"}
_ROLE = {name: role for role, name in _FROM.items()}
PLACEHOLDER = "<image>"


def write(source: Published, out: Path) -> Exported:
    """Fills `out`. Rows with a picture that can't be read, or with `<image>` in a text, are left out and counted.

    Raises:
        RequestError: the rows are no conversations.
    """
    source.need(("messages", "images"), "llava")
    files = PictureFiles(out)
    rows, left_out = 0, Counter[str]()
    for split in source.splits:
        made = (_record(row, files) for row in source.rows(split, ("id", "messages", "images")))
        records = list(usable(made, left_out))
        (out / f"{split}.json").write_bytes(orjson.dumps(records))
        rows += len(records)
    first = next(iter(source.splits))
    return Exported(out, rows, f"--data_path {out / first}.json --image_folder {out}", left_out)


def _record(row: dict[str, Any], files: PictureFiles) -> dict[str, Any] | str:
    """The record, or why there is none."""
    messages, images = in_order(row["messages"], row["images"] or ())
    paths = [files.add(image) for image in images]
    texts = [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]
    if None in paths:
        return UNREADABLE
    if any(PLACEHOLDER in text for text in texts):
        return MARKED
    record: dict[str, Any] = {"id": row["id"]}
    if paths:
        record["image"] = paths[0] if len(paths) == 1 else paths
    record["conversations"] = [{"from": _FROM[m["role"]], "value": marked_text(m, PLACEHOLDER)} for m in messages]
    if _messages(record) != messages:
        record["messages"] = messages
    return record


def _messages(record: dict[str, Any]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for turn in record["conversations"]:
        out.append(from_marked_text(_ROLE[turn["from"]], turn["value"], len(pictures_of(out)), PLACEHOLDER))
    return out


def read(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """The rows of an export: id, messages, images."""
    for record in orjson.loads((folder / f"{split}.json").read_bytes()):
        paths = record.get("image", [])
        paths = [paths] if isinstance(paths, str) else paths
        messages = record.get("messages") or _messages(record)
        yield {"id": record["id"], "messages": messages, "images": [(folder / path).read_bytes() for path in paths]}
