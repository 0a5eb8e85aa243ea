"""Column names and types of every record: the only place where they live.

`EditPair` has InstructPix2Pix's five columns under their own names; every other column is additive and may be
null, so that any trainer of that dataset reads ours. `columns("edit_prompt", ...)` gives the Arrow fields that a
stage puts into `reads` and `writes`.

    EditInstruction   caption, instruction, edited caption: text alone
    EditPair          the same with pictures before and after
    VisualInstruction conversations about one picture, several or none: ordered typed blocks, and what makes them true
    MotionClip        clips with exact motion, each column of `ARRAY` type saying its own shape, dtype, axes and codec

Convention of MotionClip (stated in full in `limbeck.motion`): positions and flows are (x, y) in pixels, x right and y
down; the centre of the top-left pixel is (0, 0). The scene is at rest in frame 0. `flow_forward[p]` leads from frame p
to p + 1, `flow_backward[p]` back. `gain_total = g` shows a displacement d from rest as g * d (alpha + 1, where a paper
adds alpha times the motion on top).
"""

from __future__ import annotations

import json
import re
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
ARRAY = pa.struct(
    [
        ("data", pa.list_(pa.binary())),
        ("shape", pa.list_(pa.int32())),
        ("dtype", pa.string()),
        ("axes", pa.string()),
        ("codec", pa.string()),
    ]
)
"""A stored array; `limbeck.motion.storage` reads and writes it."""
_MOTION = pa.struct(
    [
        ("layer", pa.int32()),  # -1: the camera
        ("kind", pa.string()),
        ("amplitude_px", pa.float64()),
        ("direction_rad", pa.float64()),
        ("waveform", pa.string()),
        ("frequency_hz", pa.float64()),
        ("phase_rad", pa.float64()),
        ("damping_ratio", pa.float64()),
    ]
)
_BLOCK = pa.struct(
    [
        ("type", pa.string()),  # text or image
        ("text", pa.string()),  # of a text block, else null
        ("image", pa.int32()),  # of an image block: position in `images`, else null
    ]
)
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(_BLOCK))]))
_BOXES = pa.list_(
    pa.struct(
        [("image", pa.int32()), ("name", pa.string()), ("box", pa.list_(pa.float32()))]
    )  # x0, y0, x1, y1 in [0, 1]
)
_MARKS = pa.list_(
    pa.struct(
        [("image", pa.int32()), ("number", pa.int32()), ("name", pa.string()), ("x", pa.float32()), ("y", pa.float32())]
    )
)
_VERDICTS = pa.list_(pa.struct([("turn", pa.int32()), ("verdict", pa.string()), ("detail", pa.string())]))
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
    # visual instructions
    pa.field("messages", _MESSAGES),
    pa.field("images", pa.list_(pa.binary()), metadata={b"limbeck.type": b"images"}),
    pa.field("clean_images", pa.list_(pa.binary()), metadata={b"limbeck.type": b"images"}),  # `images` without marks
    pa.field("question_type", pa.string()),  # existence, count, ..., conversation, description, reasoning
    pa.field("template", pa.string()),  # which question of that type, such as existence.popular
    pa.field("language", pa.string()),
    pa.field("answer_type", pa.string()),  # how the answer is to be read: yes_no, word, choice, box, ..., open
    pa.field("answer_value", pa.string()),  # JSON of a closed answer's value
    pa.field("program", pa.string()),  # JSON of what computes it, see `limbeck.questions.program`
    pa.field("options", _TEXTS),
    pa.field("scenes", _TEXTS),  # JSON of the storybook scene that each picture shows
    pa.field("boxes", _BOXES),
    pa.field("marks", _MARKS),
    pa.field("pair_id", pa.string()),  # both rows of a minimal pair have it
    pa.field("verdicts", _VERDICTS),  # of each checked turn: right, wrong, unchecked
    pa.field("image_hashes", _TEXTS),  # BLAKE2 of each picture's bytes
    # motion: what a clip is
    pa.field("clip_spec", pa.string()),  # JSON from which frames and truth regenerate
    pa.field("subset", pa.string()),
    pa.field("width_px", pa.int32()),
    pa.field("height_px", pa.int32()),
    pa.field("frame_count", pa.int32()),
    pa.field("fps", pa.struct([("numerator", pa.int32()), ("denominator", pa.int32())])),
    pa.field("gain_total", pa.list_(pa.float64())),  # one for each magnified clip
    pa.field("peak_px", pa.float64()),  # largest displacement from rest, camera shake apart
    pa.field("magnified_peak_px", pa.list_(pa.float64())),
    pa.field("aliased", pa.bool_()),  # something vibrates above half the frame rate
    pa.field("motions", pa.list_(_MOTION)),
    pa.field("texture_hashes", _TEXTS),
    # motion: what was rendered
    _image("preview"),  # animated WebP: input, magnified, flow in colours, waveforms
    pa.field("frames", ARRAY),  # THWC uint8, recorded by the simulated sensor
    pa.field("magnified_frames", ARRAY),  # GTHWC uint8, clean
    pa.field("layer_ids", ARRAY),  # THW uint8, 0 is the background, higher is nearer
    pa.field("flow_forward", ARRAY),  # PHWV float
    pa.field("flow_backward", ARRAY),
    pa.field("occluded_forward", ARRAY),  # PHW uint8: 1 behind a nearer layer, 2 outside the frame, 3 both
    pa.field("occluded_backward", ARRAY),
    pa.field("tracks", ARRAY),  # NTV float32
    pa.field("tracks_visible", ARRAY),  # NT uint8
    pa.field("tracks_layer", pa.list_(pa.int32())),
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
SPLIT_NAME = re.compile(r"\w+(\.\w+)*")
"""What a split may be called: it becomes the name of a file, and of a split of `datasets`."""
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
_CONVERSATION = ("messages", "images", "question_type", "language")
_QUESTION = (
    "template", "answer_type", "answer_value", "program", "options", "scenes", "boxes", "marks", "pair_id", "verdicts",
    "image_hashes", "clean_images",
)  # fmt: skip
MOTION_LABELS = (
    "clip_spec", "subset", "width_px", "height_px", "frame_count", "fps", "gain_total", "peak_px", "magnified_peak_px",
    "aliased", "motions", "texture_hashes",
)  # fmt: skip
"""What a specification says; enough to render the clip anywhere."""
MOTION_ARRAYS = (
    "preview", "frames", "magnified_frames", "layer_ids", "flow_forward", "flow_backward", "occluded_forward", "occluded_backward",
    "tracks", "tracks_visible", "tracks_layer",
)  # fmt: skip
"""What was rendered; absent where only specifications are stored."""
RECORDS: dict[str, Record] = {
    record.name: record
    for record in (
        Record("EditInstruction", _TRIPLET, (*_EDIT, *_TRUTH, *PROVENANCE)),
        Record("EditPair", _PAIR, (*_EDIT, *_SCORES, *_TRUTH, *PROVENANCE)),
        Record("MotionClip", MOTION_LABELS, (*MOTION_ARRAYS, "caption", "scene", "image", *PROVENANCE)),
        Record("VisualInstruction", _CONVERSATION, (*_QUESTION, *PROVENANCE)),
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


def is_images(field: pa.Field) -> bool:
    """Whether a column holds lists of encoded pictures."""
    return (field.metadata or {}).get(b"limbeck.type") == b"images"


def holds_pictures(field: pa.Field) -> bool:
    """Whether a column holds encoded pictures, or lists of them."""
    return is_image(field) or is_images(field)


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""A picture in published files."""


def published(fields: Iterable[pa.Field]) -> pa.Schema:
    """The schema of published files: pictures as the `Image` feature, and what `datasets` reads the features from."""
    stored = {b"image": PICTURE, b"images": pa.list_(PICTURE)}
    fields = [
        pa.field(f.name, stored[f.metadata[b"limbeck.type"]], metadata=f.metadata) if holds_pictures(f) else f
        for f in fields
    ]
    image: dict = {"_type": "Image"}
    features = {
        f.name: image if is_image(f) else {"feature": image, "_type": "List"} if is_images(f) else _feature(f.type)
        for f in fields
    }
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
