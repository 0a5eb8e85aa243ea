"""The edit role on diffusers: a picture and an instruction in, the edited picture out, many in one batch."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from limbeck.errors import ModelError, ModelNotFound, SettingError
from limbeck.models import editing
from limbeck.models.diffusers_loading import EDIT_PIPELINES, LoadedPipeline, load_pipeline
from limbeck.models.editing import EditDenoiser, Plan, Scales
from limbeck.models.roles import EditRequest

if TYPE_CHECKING:
    from limbeck.models.spec import ModelSpec

SETTINGS = "editing.json"
"""File of a pipeline's folder that says how it wants to be asked: `steps`, `guidance_scale`, `image_guidance_scale`."""
_WORD = re.compile(r"[^\W_]+")
_REMEMBERED = 4096
_BATCH = 32


@dataclass(frozen=True)
class Asked:
    """How an editor is asked.

    Attributes:
        steps: denoising steps.
        guidance_scale: s_T, of the instruction.
        image_guidance_scale: s_I, of the picture.
    """

    steps: int = 50
    guidance_scale: float = 7.5
    image_guidance_scale: float = 1.5

    @property
    def scales(self) -> Scales:
        """Both scales."""
        return Scales(self.guidance_scale, self.image_guidance_scale)

    @classmethod
    def read(cls, folder: Path) -> Asked:
        """What a folder's `editing.json` says; InstructPix2Pix's own numbers without one.

        Raises:
            ModelNotFound: the file is there and can't be read.
        """
        path = folder / SETTINGS
        if not path.is_file():
            return cls()
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            return cls(int(known["steps"]), float(known["guidance_scale"]), float(known["image_guidance_scale"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ModelNotFound(f"{SETTINGS} can't be read ({error!r})", where=str(folder)) from error

    def write(self, folder: Path) -> None:
        """Writes `editing.json`."""
        (folder / SETTINGS).write_text(json.dumps(vars(self), indent=2) + "\n", encoding="utf-8")


class DiffusersEditModel:
    """A pipeline of InstructPix2Pix's class, as an `EditModel`.

    Source latents are the mode of the autoencoder's distribution and not scaled; edited latents are scaled. Only the
    branches of guidance that its scales need are run: one where both are 1, as for a student that guides itself.

    Attributes:
        fingerprint: changes with the weights and with every setting that changes pixels.
        size: side of a square picture in pixels; other shapes are edited at about the same area.
        asked: steps and scales where a call says nothing else.
        pipe: the pipeline.
    """

    def __init__(
        self,
        loaded: LoadedPipeline,
        asked: Asked,
        *,
        sampler: str = "auto",
        spacing: str = "auto",
        size: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Prepares a loaded pipeline.

        Args:
            loaded: the pipeline.
            asked: steps and scales by default.
            sampler: see `editing.Plan.of`.
            spacing: of the times, likewise.
            size: side of a square picture in pixels; the U-Net's own by default.
            batch_size: edits in one forward pass.
        """
        self.pipe, self.asked, self._words = loaded.pipe, asked, loaded.words
        self._sampler, self._spacing, self._batch = sampler, spacing, batch_size or _BATCH
        unet = self.pipe.unet
        self._factor = self.pipe.vae_scale_factor
        self._multiple = self._factor * 2 ** (len(unet.config.block_out_channels) - 1)
        self.size = size or unet.config.sample_size * self._factor
        if self.size % self._multiple:
            raise SettingError(f"size = {self.size}", expected=f"a multiple of {self._multiple}")
        self._states: OrderedDict[str, torch.Tensor] = OrderedDict()
        facts = (loaded.weights, sampler, spacing, self.size, vars(asked), unet.dtype, self.pipe.vae.dtype)
        self.fingerprint = "edit:" + hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()

    @classmethod
    def load(cls, folder_or_id: str, *, asked: Asked | None = None, **settings: Any) -> DiffusersEditModel:
        """Loads a folder or a Hub id.

        Args:
            folder_or_id: a folder that `save_pretrained` wrote, or a Hub id such as `timbrooks/instruct-pix2pix`.
            asked: steps and scales by default; the folder's `editing.json` says, or else InstructPix2Pix's own.
            settings: `sampler`, `spacing`, `size`, `batch_size`; the others go to `load_pipeline`.

        Raises:
            ModelNotFound: the model isn't there, or is no editor.
            UnsafeWeights: it has pickled weights only.
            SettingError: sampler or size don't fit it.
        """
        own = {k: settings.pop(k) for k in ("sampler", "spacing", "size", "batch_size") if k in settings}
        loaded = load_pipeline(folder_or_id, classes=EDIT_PIPELINES, **settings)
        return cls(loaded, asked or Asked.read(loaded.folder), **own)

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> DiffusersEditModel:
        """Builds it from a recipe's `[models]` entry."""
        return cls.load(
            spec.id,
            revision=spec.revision,
            variant=spec.variant,
            dtype=spec.dtype,
            vae_dtype=spec.vae_dtype,
            device=spec.device,
            offload=spec.offload,
            sampler=spec.sampler,
            spacing=spec.spacing,
            size=spec.size,
            batch_size=spec.batch_size,
        )

    def check_instruction(self, instruction: str) -> str | None:
        """Why this instruction is outside what the model can do, or None."""
        if not instruction.strip():
            return "the instruction is empty"
        if self._words is not None:
            strange = [w for w in dict.fromkeys(_WORD.findall(instruction.lower())) if w not in self._words]
            if strange:
                more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
                return f"words outside this model's world: {', '.join(strange[:5])}{more}"
        tokens = len(self.pipe.tokenizer(instruction, truncation=False, verbose=False).input_ids)
        limit = self.pipe.tokenizer.model_max_length
        return f"the instruction is {tokens} tokens long; the model reads {limit}" if tokens > limit else None

    def edit(
        self,
        requests: Sequence[EditRequest],
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        image_guidance_scale: float | None = None,
    ) -> list[Image.Image]:
        """Edits each picture as told; a result doesn't depend on its batch (within 1/255).

        Args:
            requests: pictures, instructions, seeds.
            steps: denoising steps; the model's own by default.
            guidance_scale: s_T; the model's own by default.
            image_guidance_scale: s_I; the model's own by default.

        Raises:
            ModelError: an instruction is outside what the model can do.
            SettingError: more steps than the model has.
        """
        for instruction in dict.fromkeys(r.instruction for r in requests):
            if why := self.check_instruction(instruction):
                raise ModelError(f"cannot follow {instruction[:80]!r}: {why}")
        given = {"steps": steps, "guidance_scale": guidance_scale, "image_guidance_scale": image_guidance_scale}
        asked = replace(self.asked, **{k: v for k, v in given.items() if v is not None})
        pictures = [self.fitted(r.image) for r in requests]
        found: list[Image.Image] = [None] * len(requests)  # type: ignore[list-item]
        for side in dict.fromkeys(p.size for p in pictures):
            rows = [i for i, p in enumerate(pictures) if p.size == side]
            for start in range(0, len(rows), self._batch):
                some = rows[start : start + self._batch]
                pixels = np.stack([np.asarray(pictures[i]) for i in some])
                edited = self.edit_pixels(
                    pixels, [requests[i].instruction for i in some], [requests[i].seed for i in some], asked
                )
                for i, picture in zip(some, edited, strict=True):
                    found[i] = Image.fromarray(picture)
        self.pipe.maybe_free_model_hooks()
        return found

    @torch.inference_mode()
    def edit_pixels(
        self, pixels: np.ndarray, instructions: Sequence[str], seeds: Sequence[int], asked: Asked | None = None
    ) -> np.ndarray:
        """(N, H, W, 3) uint8 to the same, edited; one batch, nothing checked."""
        pipe, asked = self.pipe, asked or self.asked
        device = pipe._execution_device
        image = editing.as_input(pixels).to(device, pipe.vae.dtype)
        source = pipe.vae.encode(image).latent_dist.mode().to(pipe.unet.dtype)
        denoise = EditDenoiser(
            pipe.unet,
            source,
            self.states(instructions),
            self.states([""]),
            Plan.of(pipe.scheduler, asked.steps, self._sampler, self._spacing),
            asked.scales,
        )
        latents = editing.sample(denoise, seeds)
        return editing.as_pixels(pipe.vae.decode((latents / pipe.vae.config.scaling_factor).to(pipe.vae.dtype))[0])

    def evaluations(self, asked: Asked | None = None) -> int:
        """Rows that the U-Net sees for one edit."""
        asked = asked or self.asked
        branches = 1 if self.pipe.unet.config.time_cond_proj_dim else len(asked.scales.weights)
        return branches * len(Plan.of(self.pipe.scheduler, asked.steps, self._sampler, self._spacing).times)

    def states(self, texts: Sequence[str]) -> torch.Tensor:
        """(N, S, D) states of texts; each distinct one is encoded once and remembered."""
        unknown = [t for t in dict.fromkeys(texts) if t not in self._states]
        fresh = {}
        if unknown:
            pipe, tokenizer = self.pipe, self.pipe.tokenizer
            ids = tokenizer(
                unknown,
                padding="max_length",
                max_length=tokenizer.model_max_length,
                truncation=True,
                return_tensors="pt",
            ).input_ids
            fresh = dict(zip(unknown, pipe.text_encoder(ids.to(pipe._execution_device))[0], strict=True))
        known = torch.stack([fresh[t] if t in fresh else self._states[t] for t in texts])
        self._states |= fresh
        while len(self._states) > _REMEMBERED:
            self._states.popitem(last=False)
        return known.to(self.pipe.unet.dtype)

    def fitted(self, image: Image.Image) -> Image.Image:
        """The picture as RGB, of its own shape but the model's area, its sides multiples of what the U-Net needs."""
        image = image.convert("RGB")
        width, height = image.size
        scale = self.size / (width * height) ** 0.5
        side = tuple(max(1, round(s * scale / self._multiple)) * self._multiple for s in (width, height))
        return image if side == image.size else image.resize(side, Image.Resampling.LANCZOS)
