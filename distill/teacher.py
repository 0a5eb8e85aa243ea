"""What a teacher is to the cache: columns that it computes for a row under a view, and states of texts.

    class Embeddings(Teacher):
        columns = (array("image_embedding", (128,)),)
        def targets(self, rows, views): ...

A teacher is known by its fingerprint without being loaded; where every part is cached, it never is.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from distill.views import View

if TYPE_CHECKING:
    from limbeck.models.spec import ModelSpec

SHAPE = b"limbeck.shape"
"""Field metadata: JSON of an array's shape; the first axis of a ragged one is null."""
_KINDS = {
    "float16": pa.float16(),
    "float32": pa.float32(),
    "int32": pa.int32(),
    "int16": pa.int16(),
    "uint8": pa.uint8(),
}


def array(name: str, shape: tuple[int, ...], dtype: str = "float16") -> pa.Field:
    """A column that holds one array of this shape a row.

    >>> array("latent", (4, 8, 8)).type
    FixedSizeListType(fixed_size_list<item: halffloat>[256])
    """
    kind = pa.list_(_KINDS[dtype], int(np.prod(shape)))
    return pa.field(name, kind, metadata={SHAPE: orjson.dumps(list(shape))})


def ragged(name: str, inner: tuple[int, ...] = (), dtype: str = "float16") -> pa.Field:
    """A column that holds an array of shape (n, *inner) a row, where n differs: one entry for each token, say."""
    value = pa.list_(_KINDS[dtype], int(np.prod(inner))) if inner else _KINDS[dtype]
    return pa.field(name, pa.list_(value), metadata={SHAPE: orjson.dumps([None, *inner])})


def shape_of(field: pa.Field) -> tuple[int | None, ...]:
    """Shape of a column's arrays; None first for a ragged one."""
    return tuple(orjson.loads(field.metadata[SHAPE]))


def encoded(field: pa.Field, values: Any) -> pa.Array:
    """Arrays as an Arrow column.

    Args:
        field: of `array` or `ragged`.
        values: (N, *shape), or for a ragged column a list of N arrays (n, *inner).
    """
    shape = shape_of(field)
    if shape[:1] != (None,):
        flat = np.ascontiguousarray(values).reshape(len(values), -1)
        dtype = field.type.value_type.to_pandas_dtype()
        return pa.FixedSizeListArray.from_arrays(pa.array(flat.astype(dtype).ravel()), int(np.prod(shape)))
    inner = field.type.value_type
    leaf = inner.value_type if shape[1:] else inner
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])]).astype(np.int32)
    parts = [np.asarray(v, leaf.to_pandas_dtype()).ravel() for v in values]
    flat = pa.array(np.concatenate(parts) if parts else np.zeros(0, leaf.to_pandas_dtype()))
    if shape[1:]:
        flat = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape[1:])))
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


class Teacher(ABC):
    """What is asked once for each row and view, and then never again."""

    name: str
    """Of the model, for people and for the cache's folder; see `model_name`."""
    fingerprint: Mapping[str, str]
    """Weights, preprocessing, tokenizer, dtype: a difference in any makes a cache another teacher's."""
    columns: tuple[pa.Field, ...]
    """What it computes, by `array` and `ragged`."""
    reads: tuple[str, ...]
    """Columns of a row that its answers depend on."""
    draws: bool = False
    """Whether `view.index` seeds what it draws: each view then has its own answer, though crop and flip be alike."""
    state: pa.Field | None = None
    """Of a text's state, where it reads texts; `Student.texts` says which, and each distinct one is kept once."""

    @abstractmethod
    def load(self) -> None:
        """Brings the weights into memory."""

    @abstractmethod
    def unload(self) -> None:
        """Lets go of them."""

    @abstractmethod
    def targets(self, rows: Sequence[dict[str, Any]], views: Sequence[View]) -> dict[str, Any]:
        """What it says: column to (N, *shape), or to a list of N arrays; row n is seen under view n."""

    def states(self, texts: Sequence[str]) -> NDArray[Any]:
        """(N, *shape) states of distinct texts."""
        raise NotImplementedError(f"{self.name} reads no texts")

    def facts(self) -> dict[str, Any]:
        """What else has to be known of it without loading it (scales, sizes), as JSON; asked while it is loaded."""
        return {}


def model_name(spec: ModelSpec, folder: Path | None, weights: str) -> str:
    """What a model's answers are kept under.

    A miniature and a model of the Hub are known by their ids. Folders often end alike (`builds/NAME/student`) and may be
    moved: they are known by their last two parts and by what they hold.

    Args:
        spec: the model.
        folder: what relative model folders are relative to.
        weights: hash of its weights, see `fingerprint`.

    >>> from limbeck.models.spec import ModelSpec
    >>> model_name(ModelSpec(id="mini:clip"), None, "1f2e"), model_name(ModelSpec(id="openai/clip"), None, "1f2e")
    ('mini-clip', 'openai-clip')
    """
    from limbeck import models

    parts = spec.called.replace(":", "-").strip("/").split("/")
    if spec.is_mini or spec.is_endpoint:
        return parts[-1]
    place = Path(models.located(spec, folder))
    if not place.is_dir():
        return "-".join(parts)
    return "-".join([*place.resolve().parts[1:][-2:], weights[:8]])


_PREPROCESSING = ("preprocessor_config.json", "processor_config.json", "image_processor_config.json")
_TOKENIZER = ("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "spiece", "chat_template")


def fingerprint(spec: ModelSpec, folder: Path | None = None) -> dict[str, str]:
    """Weights, preprocessing, tokenizer and dtype of a model, each as a short hash; nothing is loaded.

    Args:
        spec: the model.
        folder: what relative model folders are relative to.
    """
    from limbeck import models

    dtype = "float32" if spec.dtype == "auto" else spec.dtype
    settings = {k: v for k, v in spec.identity().items() if k not in ("id", "revision", "base_url", "model", "dtype")}
    rest = orjson.dumps(settings, option=orjson.OPT_SORT_KEYS).decode() if settings else ""
    place = Path(models.located(spec, folder)) if not spec.is_endpoint else Path()
    if spec.is_endpoint or not place.is_dir():
        known = models.fingerprint(spec, folder)
        return {"weights": known, "preprocessing": known + rest, "tokenizer": known, "dtype": dtype}
    kinds: dict[str, Any] = {k: hashlib.blake2b(digest_size=8) for k in ("weights", "preprocessing", "tokenizer")}
    for file in sorted(p for p in place.rglob("*") if p.is_file()):  # a pipeline has a folder called tokenizer
        if file.name in _PREPROCESSING:
            kind = "preprocessing"
        elif file.name.startswith(_TOKENIZER) or file.suffix in (".model", ".jinja"):
            kind = "tokenizer"
        elif file.suffix == ".safetensors" or file.name in ("config.json", "model_index.json", "scheduler_config.json"):
            kind = "weights"
        else:
            continue
        kinds[kind].update(file.relative_to(place).as_posix().encode())
        with file.open("rb") as stream:
            kinds[kind].update(hashlib.file_digest(stream, "blake2b").digest())
    return {
        "weights": kinds["weights"].hexdigest(),
        "preprocessing": kinds["preprocessing"].hexdigest() + (f" {rest}" if rest else ""),
        "tokenizer": kinds["tokenizer"].hexdigest(),
        "dtype": dtype,
    }
