"""TRL's prompt and completion with pictures: a Parquet file for each split, one row for each turn to train on.

train.parquet    id, turn, prompt and completion (lists of role and typed content), images

Loss masking of models that see works in TRL only with prompt and completion, so a conversation of n answers becomes n
rows, each with what went before it as the prompt. Blocks have the keys `type` and `text` alone: a further key, which
Arrow would fill with null, is read as a picture by several chat templates. A row without pictures has an empty list.

Source: huggingface/trl, docs/source/dataset_formats.md and trl/trainer/sft_trainer.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.errors import RequestError
from limbeck.exports import UNANSWERED, UNREADABLE, Exported, usable
from limbeck.pictures import Fault, decode
from limbeck.published_rows import Published
from limbeck.records import PICTURE, published
from limbeck.turns import block, in_order, pictures_of

_CONTENT = pa.list_(
    pa.struct([("role", pa.string()), ("content", pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())])))])
)
FIELDS = (
    pa.field("id", pa.string()),
    pa.field("turn", pa.int32()),
    pa.field("prompt", _CONTENT),
    pa.field("completion", _CONTENT),
    pa.field("images", pa.list_(PICTURE), metadata={b"limbeck.type": b"images"}),
)
_BATCH = 100


def write(source: Published, out: Path, turns: Literal["each", "last"] = "each") -> Exported:
    """Fills `out`.

    Args:
        source: the rows.
        out: the folder.
        turns: `each` answer of a conversation as a row of its own, or the `last` alone.

    Raises:
        RequestError: the rows are no conversations.
    """
    if turns not in ("each", "last"):
        raise RequestError(f"turns = {turns!r}", expected="'each' or 'last'", where="export --format trl")
    source.need(("messages", "images"), "trl")
    schema = published(FIELDS)
    rows, left_out = 0, Counter[str]()
    for split in source.splits:
        with pq.ParquetWriter(out / f"{split}.parquet", schema) as writer:
            pending: list[dict[str, Any]] = []
            wanted = source.rows(split, ("id", "messages", "images"))
            for made in usable((_rows(row, turns) for row in wanted), left_out):
                pending += made
                rows += len(made)
                if len(pending) >= _BATCH:
                    writer.write_table(pa.Table.from_pylist(pending, schema=schema))
                    pending = []
            writer.write_table(pa.Table.from_pylist(pending, schema=schema))
    return Exported(
        out, rows, f'load_dataset("parquet", data_files="{out}/train.parquet"), SFTConfig(max_length=None)', left_out
    )


def _rows(row: dict[str, Any], turns: str) -> list[dict[str, Any]] | str:
    """At least one row, or why there is none."""
    messages, images = in_order(row["messages"], row["images"] or ())
    if any(isinstance(decode(image), Fault) for image in images):
        return UNREADABLE
    said = [i for i, message in enumerate(messages) if message["role"] == "assistant" and i]
    made = []
    for turn, i in list(enumerate(said))[-1 if turns == "last" else 0 :]:
        prompt, completion = messages[:i], messages[i : i + 1]
        if pictures_of(completion):
            continue  # a picture can't be learnt to be said
        shown = images[: len(pictures_of(prompt))]
        made.append({
            "id": row["id"], "turn": turn, "prompt": _plain(prompt), "completion": _plain(completion),
            "images": [{"bytes": image, "path": None} for image in shown],
        })  # fmt: skip
    return made or UNANSWERED


def _plain(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"role": m["role"], "content": [{"type": part["type"], "text": part["text"]} for part in m["content"]]}
        for m in messages
    ]


def read(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """The conversations of an export, each put together from its last turn: id, messages, images."""
    last: dict[str, dict[str, Any]] = {}
    for row in pq.read_table(folder / f"{split}.parquet").to_pylist():
        if row["id"] not in last or row["turn"] > last[row["id"]]["turn"]:
            last[row["id"]] = row
    for row in last.values():
        shown, messages = 0, []
        for message in [*row["prompt"], *row["completion"]]:
            content = []
            for part in message["content"]:
                content.append(block(shown) if part["type"] == "image" else block(part["text"]))
                shown += part["type"] == "image"
            messages.append({"role": message["role"], "content": content})
        yield {"id": row["id"], "messages": messages, "images": [image["bytes"] for image in row["images"]]}
