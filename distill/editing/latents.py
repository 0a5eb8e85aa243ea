"""The autoencoder as a cached teacher: latents of both pictures of a pair, and where wanted the states of instructions.

Cached once, neither autoencoder nor text encoder is run again at any step.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distill.editing.conditioning import EDITED_LOGVAR, EDITED_MEAN, SOURCE
from distill.teacher import Teacher, array, fingerprint, model_name
from distill.views import View
from limbeck import models
from limbeck.errors import ModelNotFound, RequestError
from limbeck.models.spec import ModelSpec
from limbeck.pictures import Fault, decode

if TYPE_CHECKING:
    pass

SOURCE_PICTURE, EDITED_PICTURE, INSTRUCTION = "original_image", "edited_image", "edit_prompt"
_BATCH = 32


class LatentTeacher(Teacher):
    """Gives `source` (the mode, unscaled), `edited_mean` and `edited_logvar`, each (C, h, w) float16.

    Facts: `scaling`, of the autoencoder; `prediction` and `alphas_cumprod`, of the pipeline's schedule; where states are
    wanted, `parameters` of U-Net and text encoder, the teacher whose pupil needs them.
    """

    def __init__(self, spec: ModelSpec, folder: Path, size: int | None, *, states: bool = False) -> None:
        """Knows the pipeline; doesn't load it.

        Args:
            spec: a diffusers pipeline, painter or editor.
            folder: what relative model folders are relative to.
            size: side of the pictures in pixels; the pipeline's own by default.
            states: whether states of instructions are wanted, which its text encoder gives.
        """
        self._spec, self._folder, self._parts = spec, folder, None
        self.shape = shape = latent_shape(spec, folder, size)
        known = fingerprint(spec, folder)
        self.name = f"{model_name(spec, folder, known['weights'])}-latents"
        self.fingerprint = known | {"preprocessing": f"{known['preprocessing']} {shape.size} px"}
        one = (shape.channels, shape.side, shape.side)
        self.columns = tuple(array(name, one) for name in (SOURCE, EDITED_MEAN, EDITED_LOGVAR))
        self.reads = (SOURCE_PICTURE, EDITED_PICTURE)
        self.state = array("state", (shape.tokens, shape.width)) if states else None

    def load(self) -> None:
        """Loads the pipeline's autoencoder and text encoder."""
        from distill.editing.parts import load_parts

        self._parts = load_parts(self._spec, self._folder).to(_device())

    def unload(self) -> None:
        """Frees the memory, on the device too."""
        self._parts = None
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def targets(self, rows: Sequence[dict[str, Any]], views: Sequence[View]) -> dict[str, Any]:
        """Latents of both pictures, both under the row's view.

        Raises:
            RequestError: a picture can't be read.
        """
        found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in (SOURCE, EDITED_MEAN, EDITED_LOGVAR)}
        for start in range(0, len(rows), _BATCH):
            some = list(zip(rows[start : start + _BATCH], views[start : start + _BATCH], strict=True))
            before, after = (
                np.stack([np.asarray(view.apply(picture(row, column, self.shape.size))) for row, view in some])
                for column in self.reads
            )
            found[SOURCE].append(self._parts.encoded(before)[0])
            mean, logvar = self._parts.encoded(after)
            found[EDITED_MEAN].append(mean)
            found[EDITED_LOGVAR].append(logvar)
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def states(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """States of instructions."""
        return np.concatenate([self._parts.states(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)])

    def facts(self) -> dict[str, Any]:
        """Scaling, schedule, size."""
        config = self._parts.scheduler.config
        return {
            "scaling": float(self._parts.vae.config.scaling_factor),
            "prediction": config.prediction_type,
            "alphas_cumprod": [float(a) for a in self._parts.scheduler.alphas_cumprod.double()],
            **({"parameters": self._parameters()} if self.state is not None else {}),
        }

    def _parameters(self) -> int:
        return sum(p.numel() for module in (self._parts.unet, self._parts.text) for p in module.parameters())


def picture(row: dict[str, Any], column: str, size: int) -> Image.Image:
    """A row's picture as an RGB square: its shorter side scaled to `size` pixels, the middle cut out.

    Raises:
        RequestError: it can't be read.
    """
    found = decode(row[column])
    if isinstance(found, Fault):
        raise RequestError(
            f"the picture of row {row['id']} is {found.reason}: {found.detail}",
            where=f"column {column}",
            remedy="filter the dataset with `image_integrity` first",
        )
    if found.size == (size, size):
        return found
    scale = size / min(found.size)
    width, height = (max(size, round(s * scale)) for s in found.size)
    left, top = (width - size) // 2, (height - size) // 2
    return found.resize((width, height), Image.Resampling.LANCZOS).crop((left, top, left + size, top + size))


class LatentShape:
    """Sizes that a pipeline's configs say.

    Attributes:
        size: side of its pictures in pixels.
        side: of their latents.
        channels: of their latents.
        tokens: that its text encoder reads.
        width: of their states.
    """

    def __init__(self, size: int, side: int, channels: int, tokens: int, width: int) -> None:
        self.size, self.side, self.channels, self.tokens, self.width = size, side, channels, tokens, width


def latent_shape(spec: ModelSpec, folder: Path, size: int | None) -> LatentShape:
    """What a pipeline's configs say; no weights are loaded.

    Raises:
        ModelNotFound: there are no configs to be read.
        RequestError: the size doesn't fit.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig

    place = models.located(spec, folder)
    try:
        vae = AutoencoderKL.load_config(place, subfolder="vae", revision=spec.revision)
        unet = UNet2DConditionModel.load_config(place, subfolder="unet", revision=spec.revision)
        text = CLIPTextConfig.from_pretrained(place, subfolder="text_encoder", revision=spec.revision)
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"its configs can't be read: {error}", where=f"model {spec.id}") from error
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    size = size or unet["sample_size"] * factor
    multiple = factor * 2 ** (len(unet["block_out_channels"]) - 1)
    if size % multiple:
        raise RequestError(f"size = {size}", expected=f"a multiple of {multiple} pixels", where="student.size")
    return LatentShape(
        size, size // factor, vae.get("latent_channels", 4), text.max_position_embeddings, text.hidden_size
    )


def unet_config(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    """The config of a pipeline's U-Net; no weights are loaded.

    Raises:
        ModelNotFound: it can't be read.
    """
    from diffusers import UNet2DConditionModel

    try:
        config = UNet2DConditionModel.load_config(
            models.located(spec, folder), subfolder="unet", revision=spec.revision
        )
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"its config can't be read: {error}", where=f"model {spec.id}") from error
    return dict(config)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
