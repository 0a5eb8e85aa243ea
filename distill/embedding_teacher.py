"""A teacher that embeds pictures and texts: any model of the role `score` (CLIP, SigLIP)."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.pixels import picture_of
from distill.teacher import Teacher, array, fingerprint, model_name
from distill.views import View
from limbeck import models
from limbeck.errors import ModelNotFound
from limbeck.models.spec import ModelSpec

EMBEDDING = "image_embedding"
_WARMUP, _RUNS = 5, 40


class EmbeddingTeacher(Teacher):
    """Gives `image_embedding`, (D,) float16 of unit length, for a picture under a view, and states of texts alike.

    Facts: `dim`; `kind`, `scale` and `bias` of its similarities (`TransformersScore.contrast`); `parameters`, `macs`,
    `p50_ms` and `p95_ms` of a picture's way through it, on the device that was asked.
    """

    def __init__(self, spec: ModelSpec, folder: Path, dim: int, picture: str = "image") -> None:
        """Knows the model; doesn't load it.

        Args:
            spec: the model.
            folder: what relative model folders are relative to.
            dim: length of an embedding, see `embedding_dim`.
            picture: column of the pictures.
        """
        self.fingerprint = fingerprint(spec, folder)
        self.name = model_name(spec, folder, self.fingerprint["weights"])
        self.columns = (array(EMBEDDING, (dim,)),)
        self.state = array("state", (dim,))
        self.reads = (picture,)
        self._spec, self._folder, self._picture = spec, folder, picture
        self._model: Any = None

    def load(self) -> None:
        """Loads the scorer."""
        self._model = models.load(self._spec, "score", self._folder, name=self.name)

    def unload(self) -> None:
        """Frees its memory, on the device too."""
        self._model = None
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def targets(self, rows: Sequence[dict[str, Any]], views: Sequence[View]) -> dict[str, Any]:
        """Embeddings of the rows' pictures, each under its view.

        Raises:
            RequestError: a picture can't be read.
        """
        seen = [view.apply(picture_of(row, self._picture)) for row, view in zip(rows, views, strict=True)]
        return {EMBEDDING: self._model.embed_images(seen)}

    def states(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of texts."""
        return self._model.embed_texts(list(texts))

    def facts(self) -> dict[str, Any]:
        """Scales, sizes, and what one picture costs, batch of one, after warm-up."""
        import torch
        from PIL import Image
        from torch.utils.flop_counter import FlopCounterMode

        one, times = [Image.new("RGB", (64, 64))], []
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            self._model.embed_images(one)
        for _ in range(_WARMUP + _RUNS):
            start = time.perf_counter()
            self._model.embed_images(one)
            times.append(1e3 * (time.perf_counter() - start))
        low, high = np.percentile(times[_WARMUP:], [50, 95])
        return {
            "dim": self._model.dim,
            "parameters": self._model.image_parameters,
            "macs": counter.get_total_flops() // 2,
            "p50_ms": float(low),
            "p95_ms": float(high),
            **self._model.contrast(),
        }


def embedding_dim(spec: ModelSpec, folder: Path) -> int:
    """Length of a scorer's embeddings, from its config alone.

    Raises:
        ModelNotFound: there is no config to be read.
    """
    config = _config(spec, folder)
    return getattr(config, "projection_dim", None) or getattr(config, "vision_config", config).hidden_size


def knows_texts(spec: ModelSpec, folder: Path) -> bool:
    """Whether a scorer embeds texts, too; DINOv2 doesn't.

    Raises:
        ModelNotFound: there is no config to be read.
    """
    return hasattr(_config(spec, folder), "text_config")


def _config(spec: ModelSpec, folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(models.located(spec, folder), revision=spec.revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"its config can't be read: {error}", where=f"model {spec.id}") from error
