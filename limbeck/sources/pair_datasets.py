"""Existing edit pairs, for filters and reports alone: well-known datasets by preset, others by `source.columns`.

Pairs of one session, prompt or source picture are one `group`, and so never in two splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.errors import SourceError
from limbeck.paths import beside
from limbeck.records import COLUMNS, IDENTITY
from limbeck.sources.hub_datasets import mapped, opened
from limbeck.sources.unusable import Unusable, checked

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable

PRESETS: dict[str, dict[str, str]] = {
    "instructpix2pix": {
        "original_prompt": "original_prompt", "original_image": "original_image", "edit_prompt": "edit_prompt",
        "edited_prompt": "edited_prompt", "edited_image": "edited_image",
    },
    "magicbrush": {
        "original_image": "source_img", "edit_prompt": "instruction", "edited_image": "target_img",
        "mask_image": "mask_img", "session_id": "img_id", "turn_index": "turn_index",
    },
    "ultraedit": {
        "original_prompt": "source_caption", "original_image": "source_image", "edit_prompt": "edit_prompt",
        "edited_prompt": "target_caption", "edited_image": "edited_image", "mask_image": "mask_image",
        "clip_sim_source": "clip_sim_source", "clip_sim_target": "clip_sim_target", "clip_sim_dir": "clip_sim_dir",
        "clip_sim_image": "clip_sim_image", "dinov2_sim": "dinov2_sim", "ssim": "ssim",
    },
    "omniedit": {
        "original_image": "src_img", "edit_prompts": "edited_prompt_list", "edited_image": "edited_img",
        "edit_type": "task", "sc_score_1": "sc_score_1", "sc_score_2": "sc_score_2", "sc_reasoning": "sc_reasoning",
        "pq_score": "pq_score", "pq_reasoning": "pq_reasoning", "o_score": "o_score",
    },
}  # fmt: skip
"""Canonical column to the dataset's own."""
_TELLING = {
    "magicbrush": "target_img",
    "ultraedit": "source_caption",
    "omniedit": "src_img",
    "instructpix2pix": "original_image",
}
_SIGNS = {"omniedit": "o_score", "ultraedit": "dinov2_sim", "magicbrush": "session_id"}
"""The same by canonical columns."""
FILTERED_BY: dict[str, tuple[str, ...]] = {
    "instructpix2pix": ("openai/clip-vit-large-patch14",),
    "ultraedit": ("openai/clip-vit-large-patch14", "DINOv2"),
    "omniedit": ("GPT-4o", "InternVL2"),
}
"""Models that chose a dataset's pairs, as its paper says; MagicBrush's were chosen by people."""


def fields(source: SourceTable, folder: Path) -> tuple[pa.Field, ...]:
    """The canonical columns of the pairs; `original_prompt` and `edited_prompt` are empty where there are none."""
    names = _wanted(source, _header(source, folder))
    texts = ("original_prompt", "edit_prompt", "edited_prompt")
    return tuple(COLUMNS[name] for name in dict.fromkeys((*names, *texts, "group")))


def filters(source: SourceTable, columns: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """The preset of pairs, and the models that filtered it; empty where neither is known.

    Pairs that look like InstructPix2Pix's count as its own: a judge that may have chosen them isn't independent.

    >>> from limbeck.recipe import SourceTable
    >>> filters(SourceTable(pairs="somewhere"), ("original_prompt", "original_image"))
    ('instructpix2pix', ('openai/clip-vit-large-patch14',))

    Args:
        source: the recipe's `[source]`.
        columns: canonical ones that its rows have.
    """
    preset = source.preset
    if preset == "auto":
        own = "" if "original_image" in source.columns else "instructpix2pix"
        preset = next((name for name, column in _SIGNS.items() if column in columns), own)
    return preset, FILTERED_BY.get(preset, ())


def rows(source: SourceTable, folder: Path, seed: int) -> Iterator[dict[str, Any] | Unusable]:
    """Pairs in order."""
    wanted = _wanted(source, _header(source, folder))
    files = _files(source, folder)
    found = (
        mapped(opened(source.pairs, source, folder), wanted, source)
        if files is None
        else _from_files(files, wanted, source)
    )
    for row in found:
        if isinstance(row, dict):
            for text in ("original_prompt", "edit_prompt", "edited_prompt"):
                row.setdefault(text, None)
            if row["edit_prompt"] is None and row.get("edit_prompts"):
                row["edit_prompt"] = row["edit_prompts"][0]
            row["group"] = row.get("group") or _group(row)
        yield row


def _group(row: Mapping[str, Any]) -> str:
    """What a pair has in common with others: its session, else its original prompt, else its source picture."""
    if row.get("session_id"):
        return str(row["session_id"])
    words = " ".join((row["original_prompt"] or "").split()).casefold()
    return hashlib.blake2b(words.encode() or row["original_image"], digest_size=8).hexdigest()


def _from_files(files: list[Path], wanted: dict[str, str], source: SourceTable) -> Iterator[dict[str, Any] | Unusable]:
    number = 0
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=64):
            for record in batch.to_pylist():
                number += 1
                where = f"{file.name} row {number}"
                usable = checked({name: record.get(column) for name, column in wanted.items()}, source, where)
                if isinstance(usable, dict) and source.id_column is not None:
                    usable["_id"] = record.get(source.id_column)
                yield usable


def _wanted(source: SourceTable, header: list[str]) -> dict[str, str]:
    preset = source.preset
    if preset == "auto":
        preset = next((name for name, column in _TELLING.items() if column in header), "")
    wanted = {name: column for name, column in PRESETS.get(preset, {}).items() if column in header}
    wanted |= {name: name for name in header if name in COLUMNS and name not in IDENTITY and name not in wanted}
    wanted |= source.columns
    if missing := [c for c in source.columns.values() if c not in header]:
        raise SourceError(f"no column {missing[0]!r}", expected=f"one of {', '.join(header)}", where="source.columns")
    if lacking := [name for name in ("original_image", "edited_image") if name not in wanted]:
        raise SourceError(
            f"columns {', '.join(header)}", expected=f"one for {' and '.join(lacking)}", where="source.pairs",
            remedy='name them: columns = { original_image = "YOURS", edited_image = "YOURS" }',
        )  # fmt: skip
    return wanted


def _header(source: SourceTable, folder: Path) -> list[str]:
    files = _files(source, folder)
    if files is None:
        return list(opened(source.pairs, source, folder).features)
    try:
        return pq.read_schema(files[0]).names
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"is not Parquet: {error}", where=str(files[0])) from error


def _files(source: SourceTable, folder: Path) -> list[Path] | None:
    """Parquet files of a local path; None for a name that `datasets` knows."""
    path = beside(folder, source.pairs)
    if path.is_file():
        return [path]
    if path.is_dir():
        split = f"{source.split}-" if source.split else ""
        files = sorted(path.rglob(f"{split}*.parquet"))
        files = [f for f in files if "stages" not in f.relative_to(path).parts]  # a build's own
        if not files:
            raise SourceError(f"no {split}*.parquet in {path}", where="source.pairs")
        return files
    return None
