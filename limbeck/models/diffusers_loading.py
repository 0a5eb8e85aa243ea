"""Loads a diffusers pipeline folder or Hub id: safetensors only, no remote code, known architectures only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import diffusers
import torch

from limbeck.errors import ModelNotFound, SettingError, one_line
from limbeck.models.quiet import quiet
from limbeck.models.weights import require_safetensors, weights_name

PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "LatentConsistencyModelPipeline")
"""Architectures whose U-Net and shared attention are tested; Turbo and LCM kin are published as these classes."""
EDIT_PIPELINES = ("StableDiffusionInstructPix2PixPipeline", "EmbeddedGuidancePix2PixPipeline")
"""Editors; the second is of `limbeck.models.embedded_guidance`."""
_JOINT_ATTENTION = (
    "StableDiffusion3",
    "Flux",
    "AuraFlow",
    "QwenImage",
    "Chroma",
    "HiDream",
    "Sana",
    "PixArt",
    "Lumina",
)

Offload = Literal["none", "model", "sequential"]


@dataclass(frozen=True)
class LoadedPipeline:
    """A pipeline on its device.

    Attributes:
        pipe: the diffusers pipeline.
        weights: identifies the weights: `owner/name@commit`, or a hash of a local folder's files.
        words: the only words its prompts may hold (a miniature's world), or None.
        folder: where its files lie.
    """

    pipe: diffusers.DiffusionPipeline
    weights: str
    words: frozenset[str] | None
    folder: Path = Path()


def load_pipeline(
    folder_or_id: str,
    *,
    revision: str | None = None,
    variant: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    offload: Offload = "none",
    vae_dtype: str = "auto",
    classes: Sequence[str] = PIPELINES,
) -> LoadedPipeline:
    """Loads a pipeline, by default a text-to-image one of the SD 1.5 or SDXL class.

    Args:
        folder_or_id: a folder that `save_pretrained` wrote, or a Hub id.
        revision: branch, tag or commit of a Hub id.
        variant: file variant, such as `fp16`.
        dtype: `float32`, `float16`, `bfloat16`, or `auto`: float16 on CUDA, else float32.
        device: a torch device, or `auto`: CUDA, then MPS, then the CPU.
        offload: `none`; `model` moves whole components to the device as they are used; `sequential` layer by layer.
        vae_dtype: as `dtype`; `auto` is float32 where the VAE's config forces upcasting, else `dtype`.
        classes: of pipelines that will do.

    Raises:
        ModelNotFound: nothing there, it can't be loaded, or the architecture isn't supported.
        UnsafeWeights: pickled weights only.
        SettingError: dtype, device or offload that can't be had.
    """
    require_safetensors(folder_or_id, revision)
    torch_device = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, torch_device)
    with silence():
        folder = _local_folder(folder_or_id, revision, variant)
        pipeline_class = _pipeline_class(folder, folder_or_id, classes)
        if vae_dtype == "auto" and _forces_upcast(folder):
            vae_dtype = "float32"
        dtypes = {
            "default": torch_dtype,
            "vae": torch_dtype if vae_dtype == "auto" else resolve_dtype(vae_dtype, torch_device),
        }
        # SD 1.5 folders carry a safety checker; nothing here calls it, so its 1.2 GB stay on disk.
        checker = {} if "XL" in pipeline_class.__name__ else {"safety_checker": None, "requires_safety_checker": False}
        try:
            pipe = pipeline_class.from_pretrained(
                folder, dtype=dtypes, variant=variant, use_safetensors=True, local_files_only=True, **checker
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelNotFound(
                f"diffusers could not load this {pipeline_class.__name__}: {one_line(error)}", where=folder_or_id
            ) from error
    pipe.set_progress_bar_config(disable=True)
    _place(pipe, torch_device, offload)
    return LoadedPipeline(pipe, weights_name(folder_or_id, folder), _world(folder), folder)


def resolve_device(device: str) -> torch.device:
    """The device a setting means; `auto` takes an accelerator where there is one."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The number format a setting means.

    >>> resolve_dtype("auto", torch.device("cpu")), resolve_dtype("bfloat16", torch.device("cpu"))
    (torch.float32, torch.bfloat16)
    """
    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype not in known:
        raise SettingError(f"dtype = {dtype!r}", expected=f"auto, {', '.join(known)}")
    return known[dtype]


def _local_folder(folder_or_id: str, revision: str | None, variant: str | None) -> Path:
    """The folder itself, or where the Hub's files were put."""
    path = Path(folder_or_id).expanduser()
    if path.is_dir():
        return path
    try:
        return Path(
            diffusers.DiffusionPipeline.download(
                folder_or_id, revision=revision, variant=variant, use_safetensors=True, trust_remote_code=False
            )
        )
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"neither a local folder nor a diffusers pipeline that could be had from the Hub ({error})",
            expected="a folder with model_index.json, or an id such as stable-diffusion-v1-5/stable-diffusion-v1-5",
            where=folder_or_id,
        ) from error


def _pipeline_class(folder: Path, name: str, classes: Sequence[str]) -> type[diffusers.DiffusionPipeline]:
    """The class named in model_index.json, if it is one of `classes`."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise ModelNotFound("no model_index.json", expected="a diffusers pipeline folder", where=name)
    try:
        found = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelNotFound(f"model_index.json names no pipeline class ({error!r})", where=name) from error
    if found in classes:
        if not hasattr(diffusers, found):
            from limbeck.models import embedded_guidance

            return getattr(embedded_guidance, found)
        return getattr(diffusers, found)
    why = ""
    if str(found).startswith(_JOINT_ATTENTION):
        why = "it attends to text and picture together (MM-DiT), and sharing attention there is not built yet"
    raise ModelNotFound(f"found a {found}", expected=f"one of {', '.join(classes)}", where=name, remedy=why)


def _forces_upcast(folder: Path) -> bool:
    """Whether the VAE's config asks for float32."""
    config = folder / "vae" / "config.json"
    return config.is_file() and bool(json.loads(config.read_text(encoding="utf-8")).get("force_upcast", True))


def silence() -> AbstractContextManager[None]:
    """Keeps both libraries' loading bars and import notices off the terminal; their errors still come as exceptions."""
    return quiet(diffusers.utils.logging)


def _place(pipe: diffusers.DiffusionPipeline, device: torch.device, offload: Offload) -> None:
    """Moves the pipeline to its device, or arranges that its parts move when they are used."""
    if offload == "none":
        pipe.to(device)
    elif device.type == "cpu":
        raise SettingError(f"offload = {offload!r} on the CPU", expected="an accelerator to offload from")
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        raise SettingError(f"offload = {offload!r}", expected="none, model or sequential")


def _world(folder: Path) -> frozenset[str] | None:
    """The words of world.json, which miniatures carry: `{"words": ["a", "ball", ...]}`."""
    path = folder / "world.json"
    return frozenset(json.loads(path.read_text(encoding="utf-8"))["words"]) if path.is_file() else None
