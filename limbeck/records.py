"""Column names and types of every record: the only place where they live.

`EditPair` has InstructPix2Pix's five columns under their own names; every other column is additive and may be
null, so that any trainer of that dataset reads ours. `columns("edit_prompt", ...)` gives the Arrow fields that a
stage puts into `reads` and `writes`.

    EditInstruction   caption, instruction, edited caption: text alone
    EditPair          the same with pictures before and after
    VisualInstruction conversations about a picture     (its place; the columns come with its generators)
    MotionClip        clips with exact motion           (its place; the columns come with its generators)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from limbeck.errors import ContractError, did_you_mean

MODEL = b"limbeck.model"
"""Field metadata: in a stage's `writes`, the setting that names the model; in a file, that model's fingerprint."""
_IMAGE = {b"limbeck.type": b"image"}


def _image(name: str) -> pa.Field:
    return pa.field(name, pa.binary(), metadata=_IMAGE)


_TEXTS = pa.list_(pa.string())
_CANONICAL = (
    # who is who
    pa.field("id", pa.string()),
    pa.field("source_id", pa.string()),
    pa.field("parent_id", pa.string()),
    pa.field("group", pa.string()),  # rows of one group are never in two splits
    pa.field("split", pa.string()),
    # sources
    pa.field("caption", pa.string()),
    _image("image"),
    pa.field("scene", pa.string()),  # JSON of a storybook scene, the truth about its picture
    # InstructPix2Pix
    pa.field("original_prompt", pa.string()),
    _image("original_image"),
    pa.field("edit_prompt", pa.string()),
    pa.field("edited_prompt", pa.string()),
    _image("edited_image"),
    # additive
    pa.field("edit_type", pa.string()),
    _image("mask_image"),
    pa.field("edit_prompts", _TEXTS),  # other wordings of the same instruction
    pa.field("inverse_edit_prompt", pa.string()),
    pa.field("session_id", pa.string()),
    pa.field("turn_index", pa.int32()),
    pa.field("edited_scene", pa.string()),
    # scores, by the names of UltraEdit and OmniEdit
    pa.field("clip_sim_source", pa.float32()),
    pa.field("clip_sim_target", pa.float32()),
    pa.field("clip_sim_dir", pa.float32()),
    pa.field("clip_sim_image", pa.float32()),
    pa.field("dinov2_sim", pa.float32()),
    pa.field("ssim", pa.float32()),
    pa.field("sc_score_1", pa.float32()),
    pa.field("sc_score_2", pa.float32()),
    pa.field("sc_reasoning", pa.string()),
    pa.field("pq_score", pa.float32()),
    pa.field("pq_reasoning", pa.string()),
    pa.field("o_score", pa.float32()),
    # provenance
    pa.field("seed", pa.uint64()),
    pa.field("shared_fraction", pa.float32()),
    pa.field("guidance_scale", pa.float32()),
    pa.field("steps", pa.int32()),
    pa.field("text_model", pa.string()),
    pa.field("image_model", pa.string()),
    pa.field("score_model", pa.string()),
    pa.field("prompt_digest", pa.string()),
    pa.field("source", pa.string()),
    pa.field("license", pa.string()),
)
COLUMNS: dict[str, pa.Field] = {field.name: field for field in _CANONICAL}
IDENTITY = ("id", "source_id", "parent_id")
PROVENANCE = (
    "seed", "shared_fraction", "guidance_scale", "steps",
    "text_model", "image_model", "score_model", "prompt_digest", "source", "license",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One kind of dataset.

    Attributes:
        name: as in a recipe's `dataset.record`.
        required: columns that every row has.
        optional: canonical columns that it keeps where the stages made them, in this order.
    """

    name: str
    required: tuple[str, ...]
    optional: tuple[str, ...]


_SCORES = (
    "clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image", "dinov2_sim", "ssim",
    "sc_score_1", "sc_score_2", "sc_reasoning", "pq_score", "pq_reasoning", "o_score",
)  # fmt: skip
_EDIT = ("edit_type", "mask_image", "edit_prompts", "inverse_edit_prompt", "session_id", "turn_index")
_TRUTH = ("scene", "edited_scene")
_TRIPLET = ("original_prompt", "edit_prompt", "edited_prompt")
_PAIR = ("original_prompt", "original_image", "edit_prompt", "edited_prompt", "edited_image")
RECORDS: dict[str, Record] = {
    record.name: record
    for record in (
        Record("EditInstruction", _TRIPLET, (*_EDIT, *_TRUTH, *PROVENANCE)),
        Record("EditPair", _PAIR, (*_EDIT, *_SCORES, *_TRUTH, *PROVENANCE)),
    )
}


def columns(*names: str, model: str | None = None) -> tuple[pa.Field, ...]:
    """Arrow fields of canonical columns.

    >>> columns("edit_prompt")
    (pyarrow.Field<edit_prompt: string>,)

    Args:
        names: canonical names.
        model: the stage's setting that names the model which computes them; the runner turns it into the model's
            fingerprint, by which a later stage sees that they needn't be computed again.

    Raises:
        ContractError: a name that isn't canonical (make a `pyarrow.field` of your own).
    """
    for name in names:
        if name not in COLUMNS:
            raise ContractError(f"no canonical column {name!r}; {did_you_mean(name, COLUMNS)}")
    return tuple(_with_model(COLUMNS[name], model) for name in names)


def column(name: str, kind: pa.DataType, model: str | None = None) -> pa.Field:
    """A column of a stage's own, such as `column("ocr_match", pa.float32(), model="reader")`."""
    return _with_model(pa.field(name, kind), model)


def _with_model(field: pa.Field, model: str | None) -> pa.Field:
    return field if model is None else field.with_metadata({**(field.metadata or {}), MODEL: model.encode()})


def made_by(field: pa.Field) -> str | None:
    """The model of a column: a setting's name in `writes`, a fingerprint in a file."""
    value = (field.metadata or {}).get(MODEL)
    return None if value is None else value.decode()


def is_image(field: pa.Field) -> bool:
    """Whether a column holds encoded pictures."""
    return (field.metadata or {}).get(b"limbeck.type") == b"image"


def published(fields: Iterable[pa.Field]) -> pa.Schema:
    """The schema of published files: pictures as the `Image` feature, and what `datasets` reads the features from."""
    fields = [
        pa.field(f.name, pa.struct([("bytes", pa.binary()), ("path", pa.string())]), metadata=f.metadata)
        if is_image(f)
        else f
        for f in fields
    ]
    features = {f.name: {"_type": "Image"} if is_image(f) else _feature(f.type) for f in fields}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict:
    """A column's type in the words of `datasets.Features`.

    >>> _feature(pa.list_(pa.float32()))
    {'feature': {'dtype': 'float32', '_type': 'Value'}, '_type': 'List'}
    """
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {kind.field(i).name: _feature(kind.field(i).type) for i in range(kind.num_fields)}
    names = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
