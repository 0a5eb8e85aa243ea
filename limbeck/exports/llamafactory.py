"""LLaMA-Factory's folder: ShareGPT-style JSON for each split, and the dataset_info.json that describes it.

dataset_info.json           one dataset for each split: NAME_train, NAME_test ...
NAME_train.json             [{"id", "messages": [{"role", "content"}], "images": ["images/9f.png"]}]
images/                     the pictures, each once

LLaMA-Factory lets rows go without a word that counts: where `<image>` doesn't stand as often as there are pictures, or
turns don't alternate. Such rows never get into the files; they are counted here.

Source: hiyouga/LLaMA-Factory, src/llamafactory/data/{parser,converter,mm_plugin}.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from limbeck.exports import DISORDERED, MARKED, UNREADABLE, Exported, usable
from limbeck.picture_files import PictureFiles
from limbeck.published_rows import Published
from limbeck.turns import faults, from_marked_text, in_order, marked_text, pictures_of

PLACEHOLDER = "<image>"
_TAGS = {
    "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system",
}  # fmt: skip


def write(source: Published, out: Path, name: str = "limbeck") -> Exported:
    """Fills `out`.

    Args:
        source: the rows.
        out: the folder.
        name: of the dataset in LLaMA-Factory; the split's name is added.

    Raises:
        RequestError: the rows are no conversations.
    """
    source.need(("messages", "images"), "llamafactory")
    files = PictureFiles(out)
    info: dict[str, Any] = {}
    rows, left_out = 0, Counter[str]()
    for split in source.splits:
        made = (_record(row, files) for row in source.rows(split, ("id", "messages", "images")))
        records = list(usable(made, left_out))
        (out / f"{name}_{split}.json").write_bytes(orjson.dumps(records))
        rows += len(records)
        info[f"{name}_{split}"] = {
            "file_name": f"{name}_{split}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": _TAGS,
        }
    (out / "dataset_info.json").write_bytes(orjson.dumps(info, option=orjson.OPT_INDENT_2))
    return Exported(out, rows, f"dataset_dir: {out}\nmedia_dir: {out}\ndataset: {next(iter(info))}", left_out)


def _record(row: dict[str, Any], files: PictureFiles) -> dict[str, Any] | str:
    """The record, or why there is none."""
    messages, images = in_order(row["messages"], row["images"] or ())
    paths = [files.add(image) for image in images]
    texts = [part["text"] for message in messages for part in message["content"] if part["type"] == "text"]
    if None in paths:
        return UNREADABLE
    if any(PLACEHOLDER in text for text in texts):
        return MARKED
    if faults(messages, len(images)):
        return DISORDERED
    turns = [{"role": m["role"], "content": marked_text(m, PLACEHOLDER)} for m in messages]
    record: dict[str, Any] = {"id": row["id"], "messages": turns, "images": paths}
    if _messages(record) != messages:
        record["blocks"] = orjson.dumps(messages).decode()
    return record


def _messages(record: dict[str, Any]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for turn in record["messages"]:
        out.append(from_marked_text(turn["role"], turn["content"], len(pictures_of(out)), PLACEHOLDER))
    return out


def read(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """The rows of an export: id, messages, images."""
    info = orjson.loads((folder / "dataset_info.json").read_bytes())
    entry = next(entry for name, entry in info.items() if name.endswith(f"_{split}"))
    for record in orjson.loads((folder / entry["file_name"]).read_bytes()):
        messages = orjson.loads(record["blocks"]) if record.get("blocks") else _messages(record)
        yield {
            "id": record["id"],
            "messages": messages,
            "images": [(folder / p).read_bytes() for p in record["images"]],
        }
