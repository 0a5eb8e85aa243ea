"""Everything of a pipeline that isn't trained, and the pipeline that it makes together with what is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from distill.editing.network import EditingNetwork, plain
from limbeck.models.diffusers_loading import EDIT_PIPELINES, PIPELINES, LoadedPipeline, load_pipeline, silence
from limbeck.models.edit_diffusers import Asked, DiffusersEditModel
from limbeck.models.editing import as_input

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DiffusionPipeline, SchedulerMixin, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from limbeck.models.spec import ModelSpec

WORLD = "world.json"


@dataclass(frozen=True)
class Parts:
    """Of a pipeline; no module, so that a network that holds it doesn't train, count or move what is in it.

    Attributes:
        vae: autoencoder.
        text: text encoder.
        tokenizer: of the instructions.
        scheduler: the pipeline's.
        asked: steps and scales that the pipeline is called with by default.
        words: the only words that instructions may hold; None is any.
        unet: that it was loaded with.
    """

    vae: AutoencoderKL
    text: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: SchedulerMixin
    asked: Asked
    words: frozenset[str] | None = None
    unet: UNet2DConditionModel | None = None

    def to(self, device: str | torch.device) -> Parts:
        """Moves what it holds."""
        for module in (self.vae, self.text, self.unet):
            if module is not None:
                module.to(device)
        return self

    def with_(self, **changes: Any) -> Parts:
        """The same with something else in it."""
        return replace(self, **changes)

    @torch.inference_mode()
    def encoded(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, H, W, 3) uint8 to mean, which is the mode, and log-variance of its latents, (N, C, h, w), unscaled."""
        found = self.vae.encode(as_input(pixels).to(self.vae.device, self.vae.dtype)).latent_dist
        return found.mean.float().cpu().numpy(), found.logvar.float().cpu().numpy()

    @torch.inference_mode()
    def states(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, S, D) states of texts."""
        ids = torch.from_numpy(token_ids(self.tokenizer, texts)).to(self.text.device)
        return self.text(ids)[0].float().cpu().numpy()


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> NDArray[np.int64]:
    """(N, S) int64, padded and cut as a pipeline does it."""
    length = tokenizer.model_max_length
    return tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="np"
    ).input_ids.astype(np.int64)


def load_parts(spec: ModelSpec, folder: Path) -> Parts:
    """A painter's or editor's parts on the CPU, float32, frozen.

    Raises:
        ModelNotFound: there is no such pipeline.
        UnsafeWeights: it has pickled weights only.
    """
    from limbeck import models

    loaded = load_pipeline(
        models.located(spec, folder),
        revision=spec.revision,
        variant=spec.variant,
        dtype="float32",
        device="cpu",
        classes=(*PIPELINES, *EDIT_PIPELINES),
    )
    return parts_of(loaded, Asked.read(loaded.folder))


def parts_of(loaded: LoadedPipeline, asked: Asked) -> Parts:
    """The parts of a loaded pipeline."""
    pipe = loaded.pipe
    for module in (pipe.vae, pipe.text_encoder, pipe.unet):
        module.eval().requires_grad_(False)
    return Parts(pipe.vae, pipe.text_encoder, pipe.tokenizer, pipe.scheduler, asked, loaded.words, pipe.unet)


def pipeline(network: EditingNetwork, *, copied: bool = False) -> DiffusionPipeline:
    """The stock pipeline of a network and its parts; one with embedded scales where the U-Net reads them.

    Args:
        network: the trained half.
        copied: with a U-Net that can be saved, instead of the network's own.
    """
    import diffusers

    from limbeck.models.embedded_guidance import EmbeddedGuidancePix2PixPipeline

    parts, embedded = network.parts, network.unet.config.time_cond_proj_dim
    stock = EmbeddedGuidancePix2PixPipeline if embedded else diffusers.StableDiffusionInstructPix2PixPipeline
    found = stock(
        vae=parts.vae,
        text_encoder=network.text or parts.text,
        tokenizer=parts.tokenizer,
        unet=plain(network.unet) if copied else network.unet,
        scheduler=parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    found.set_progress_bar_config(disable=True)
    return found


def editor(network: EditingNetwork) -> DiffusersEditModel:
    """The network behind the role `edit`, as it is: the very code that edits with a saved one."""
    network.parts.to(network.unet.device)
    return DiffusersEditModel(LoadedPipeline(pipeline(network), "", network.parts.words), network.parts.asked)


def save(network: EditingNetwork, folder: Path, *, half: bool) -> None:
    """Writes the pipeline's folder: safetensors, configs, how it wants to be asked, and its world's words.

    Args:
        network: the editor.
        folder: where to.
        half: writes weights in half precision. A loader that isn't told a dtype computes in float32 all the same:
            transformers takes it from the text encoder's config, and diffusers does anyway.
    """
    import copy

    with silence():
        pipe = pipeline(network, copied=True)
        if half:
            for name in ("vae", "text_encoder", "unet"):
                setattr(pipe, name, copy.deepcopy(getattr(pipe, name)).half())
        pipe.save_pretrained(folder, safe_serialization=True)
    for config in folder.glob("*/config.json"):
        known = json.loads(config.read_text(encoding="utf-8"))
        known.pop("_name_or_path", None)  # where a part was loaded from is nobody else's business
        if config.parent.name == "text_encoder":
            known["dtype"] = "float32"
        config.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    network.parts.asked.write(folder)
    if network.parts.words is not None:
        words = json.dumps({"words": sorted(network.parts.words)}, indent=1)
        (folder / WORLD).write_text(words + "\n", encoding="utf-8")


def load(folder: Path) -> EditingNetwork:
    """The network of such a folder, by diffusers' `from_pretrained`, float32 on the CPU."""
    loaded = load_pipeline(str(folder), dtype="float32", device="cpu", classes=EDIT_PIPELINES)
    parts = parts_of(loaded, Asked.read(folder))
    return EditingNetwork(parts.unet, parts.text, parts.with_(unet=None)).eval()
