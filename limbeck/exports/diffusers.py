"""diffusers' train_instruct_pix2pix.py: input_image, edit_prompt, edited_image, as Parquet or as folders of pictures.

The three columns come first and in the order in which the trainer looks for them when it isn't told their names.
Pictures are copied as they are stored.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from limbeck.card import trainer_flags
from limbeck.errors import RequestError
from limbeck.exports import Exported
from limbeck.published_rows import Published
from limbeck.records import is_image, published
from limbeck.store import ROW_GROUP_ROWS, writer_options

COLUMNS = {"input_image": "original_image", "edit_prompt": "edit_prompt", "edited_image": "edited_image"}
"""The trainer's name of a column, and ours."""


def write(source: Published, out: Path, *, layout: Literal["parquet", "imagefolder"] = "parquet") -> Exported:
    """Fills `out`.

    Args:
        source: the build's rows.
        out: an empty folder.
        layout: `parquet`, read with `--dataset_name`; or `imagefolder`, pictures beside a metadata.jsonl, a folder
            for each split, read with `--train_data_dir`.

    Raises:
        RequestError: no such layout, or a column is missing.
    """
    source.need(tuple(COLUMNS.values()), "diffusers")
    if layout not in ("parquet", "imagefolder"):
        raise RequestError(f"layout = {layout!r}", expected="parquet or imagefolder")
    rows = sum((_parquet if layout == "parquet" else _pictures)(source, split, out) for split in source.splits)
    flags = trainer_flags(str(out), "input_image", "edited_image")
    if layout == "imagefolder":
        flags = flags.replace(f"--dataset_name {out}", f"--train_data_dir {out / next(iter(source.splits))}")
    flags += f" --resolution {_side(source)}"
    if layout == "parquet":
        (out / "README.md").write_text(_card(source, flags.replace(str(out), ".")), encoding="utf-8")
    return Exported(out, rows, flags)


def _parquet(source: Published, split: str, out: Path) -> int:
    """One file for every file of the build."""
    fields = [source.schema.field(own) for own in COLUMNS.values()]
    plain = [
        pa.field(name, pa.binary() if is_image(f) else f.type, metadata=f.metadata)
        for name, f in zip(COLUMNS, fields, strict=True)
    ]
    schema = published(plain)
    (out / "data").mkdir(exist_ok=True)
    rows = 0
    for path in source.splits[split]:
        with (
            pq.ParquetFile(path) as file,
            pq.ParquetWriter(out / "data" / path.name, schema, **writer_options(schema)) as writer,
        ):
            for batch in file.iter_batches(ROW_GROUP_ROWS, columns=list(COLUMNS.values()), use_threads=False):
                arrays = [batch[own] for own in COLUMNS.values()]
                writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema), row_group_size=ROW_GROUP_ROWS)
                rows += batch.num_rows
    return rows


def _pictures(source: Published, split: str, out: Path) -> int:
    """A folder of pictures with metadata.jsonl."""
    (out / split).mkdir()
    rows = 0
    with (out / split / "metadata.jsonl").open("wb") as metadata:
        for rows, row in enumerate(source.rows(split, tuple(COLUMNS.values())), 1):
            line: dict[str, Any] = {}
            for name, own in COLUMNS.items():
                if not isinstance(row[own], bytes):
                    line[name] = row[own]
                    continue
                file = f"{rows - 1:07d}_{name}.{_suffix(row[own])}"
                (out / split / file).write_bytes(row[own])
                line[f"{name}_file_name"] = file
            metadata.write(orjson.dumps(line) + b"\n")
    return rows


def _suffix(picture: bytes) -> str:
    starts = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp"}
    return next((suffix for start, suffix in starts.items() if picture.startswith(start)), "png")


def _side(source: Published) -> int:
    """The trainer's resolution: the first picture's shorter side, as a multiple of 8."""
    for split in source.splits:
        for row in source.rows(split, ("edited_image",)):
            return max(8, min(Image.open(BytesIO(row["edited_image"])).size) // 8 * 8)
    return 256


def _card(source: Published, flags: str) -> str:
    given = source.front_matter()
    front = {key: given[key] for key in ("license", "language", "tags") if key in given} | {
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*"} for name in source.splits],
            }
        ]
    }
    text = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n\nFor diffusers' `train_instruct_pix2pix.py`:\n\n```\n{flags}\n```\n"
