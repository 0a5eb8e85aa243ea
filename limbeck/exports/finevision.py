"""FineVision's and The Cauldron's columns, which nanoVLM reads: images, texts of user and assistant, source.

train.parquet    images, texts [{"user", "assistant"}], source, id, messages

These readers put all pictures before the first text, so the place of a picture inside a turn is lost on them; `messages`
(JSON) has it, and they pass over it.

Source: huggingface/nanoVLM, data/datasets.py; HuggingFaceM4/FineVision's card.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.exports import DISORDERED, UNREADABLE, Exported, usable
from limbeck.pictures import Fault, decode
from limbeck.published_rows import Published
from limbeck.records import PICTURE, published
from limbeck.turns import faults, in_order, text_of

FIELDS = (
    pa.field("images", pa.list_(PICTURE), metadata={b"limbeck.type": b"images"}),
    pa.field("texts", pa.list_(pa.struct([("user", pa.string()), ("assistant", pa.string())]))),
    pa.field("source", pa.string()),
    pa.field("id", pa.string()),
    pa.field("messages", pa.string()),
)
_BATCH = 100


def write(source: Published, out: Path, name: str = "limbeck") -> Exported:
    """Fills `out`.

    Args:
        source: the rows.
        out: the folder.
        name: what `source` says, by which mixtures count.

    Raises:
        RequestError: the rows are no conversations.
    """
    source.need(("messages", "images"), "finevision")
    schema = published(FIELDS)
    rows, left_out = 0, Counter[str]()
    for split in source.splits:
        with pq.ParquetWriter(out / f"{split}.parquet", schema) as writer:
            pending: list[dict[str, Any]] = []
            wanted = source.rows(split, ("id", "messages", "images", "question_type"))
            for record in usable((_record(row, name) for row in wanted), left_out):
                pending.append(record)
                rows += 1
                if len(pending) >= _BATCH:
                    writer.write_table(pa.Table.from_pylist(pending, schema=schema))
                    pending = []
            writer.write_table(pa.Table.from_pylist(pending, schema=schema))
    return Exported(out, rows, f'load_dataset("parquet", data_files="{out}/train.parquet")', left_out)


def _record(row: dict[str, Any], name: str) -> dict[str, Any] | str:
    """The record, or why there is none."""
    messages, images = in_order(row["messages"], row["images"] or ())
    if any(isinstance(decode(image), Fault) for image in images):
        return UNREADABLE
    if faults(messages, len(images)):
        return DISORDERED
    turns = zip(messages[::2], messages[1::2], strict=True)
    return {
        "images": [{"bytes": image, "path": None} for image in images],
        "texts": [{"user": text_of(question), "assistant": text_of(answer)} for question, answer in turns],
        "source": f"{name}_{row['question_type']}" if row["question_type"] else name,
        "id": row["id"],
        "messages": orjson.dumps(messages).decode(),
    }


def read(folder: Path, split: str) -> Iterator[dict[str, Any]]:
    """The rows of an export: id, messages, images."""
    for row in pq.read_table(folder / f"{split}.parquet").to_pylist():
        images = [image["bytes"] for image in row["images"]]
        yield {"id": row["id"], "messages": orjson.loads(row["messages"]), "images": images}
