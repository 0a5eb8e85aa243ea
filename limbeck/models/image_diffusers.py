"""The image role on diffusers: pictures, and pairs that share noise and self-attention, many in one batch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image

from limbeck.errors import ModelError
from limbeck.models.diffusers_loading import LoadedPipeline, load_pipeline
from limbeck.models.renderer import Renderer, Sampler, Spacing
from limbeck.models.roles import PairRequest

if TYPE_CHECKING:
    from limbeck.models.spec import ModelSpec

_WORD = re.compile(r"[^\W_]+")


class DiffusersImageModel:
    """A text-to-image pipeline of the SD 1.5 or SDXL class, as an `ImageModel`.

    Method: InstructPix2Pix's. Both pictures of a pair start from one latent and get the same noise at every step;
    self-attention is shared from source to target for the first `shared_fraction` of the steps, in both halves of
    classifier-free guidance. A call is a batch: `render_pairs` renders all its requests together, each with its own
    fraction and guidance scale.

    Attributes:
        fingerprint: changes with the weights and with every setting that changes pixels.
        size: side of the pictures in pixels.
        renderer: the pipeline with its sampler.
    """

    def __init__(
        self,
        loaded: LoadedPipeline,
        *,
        sampler: Sampler = "auto",
        spacing: Spacing = "auto",
        size: int | None = None,
    ) -> None:
        """Prepares a loaded pipeline.

        Args:
            loaded: the pipeline; its attention processors are replaced.
            sampler: `auto` is `lcm` or `ddim` where the pipeline's own scheduler is one, else `euler_ancestral`.
            spacing: of the timesteps; `auto` is `trailing` where the pipeline's scheduler says so (Turbo), else
                k-diffusion's `linspace`.
            size: side of the pictures in pixels, a multiple of the VAE's factor; the U-Net's own by default.
        """
        self.renderer = Renderer(loaded.pipe, sampler, spacing, size)
        self.size = self.renderer.size
        self._words = loaded.words
        made = self.renderer
        facts = (loaded.weights, made.sampler, made.spacing, made.size, loaded.pipe.unet.dtype, loaded.pipe.vae.dtype)
        self.fingerprint = "image:" + hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()

    @classmethod
    def load(
        cls,
        folder_or_id: str,
        *,
        sampler: Sampler = "auto",
        spacing: Spacing = "auto",
        size: int | None = None,
        **loading,
    ) -> DiffusersImageModel:
        """Loads a folder or a Hub id; `loading` goes to `load_pipeline`.

        Raises:
            ModelNotFound: the model isn't there or can't be loaded.
            UnsafeWeights: it has pickled weights only.
            SettingError: sampler or size don't fit it.
        """
        return cls(load_pipeline(folder_or_id, **loading), sampler=sampler, spacing=spacing, size=size)

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> DiffusersImageModel:
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
        )

    def check_prompt(self, prompt: str) -> str | None:
        """Why this prompt is outside what the model can do, or None."""
        if not prompt.strip():
            return "the prompt is empty"
        if self._words is not None:
            # Before tokenising: a caption of 10,000 characters is refused for its words, not counted first.
            strange = [w for w in dict.fromkeys(_WORD.findall(prompt.lower())) if w not in self._words]
            if strange:
                more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
                return f"words outside this model's world: {', '.join(strange[:5])}{more}"
        tokens, limit = self.renderer.text.token_count(prompt)
        return f"the prompt is {tokens} tokens long; the model reads {limit}" if tokens > limit else None

    def render(self, prompts: list[str], seeds: list[int], *, guidance_scale: float, steps: int) -> list[Image.Image]:
        """Renders each prompt to one RGB picture of `size` x `size`; its pixels don't depend on the batch.

        Raises:
            ModelError: a prompt is outside what the model can do.
        """
        if len(prompts) != len(seeds):
            raise ValueError(f"{len(prompts)} prompts but {len(seeds)} seeds: expected one seed a prompt")
        if not prompts:
            return []
        self._refuse_unknown(prompts)
        guidance = torch.full((len(prompts),), float(guidance_scale))
        return self.renderer(prompts, seeds, guidance, steps, fractions=None)

    def render_pairs(self, requests: list[PairRequest], *, steps: int) -> list[tuple[Image.Image, Image.Image]]:
        """Renders each request to (before, after); a pair's pixels don't depend on its batch (within 1/255).

        A batch that doesn't fit into the device's memory is rendered in halves.

        Raises:
            ModelError: a prompt is outside what the model can do.
        """
        self._refuse_unknown([p for r in requests for p in (r.source_prompt, r.target_prompt)])
        try:
            return self._render_pairs(requests, steps)
        except torch.OutOfMemoryError as error:
            if len(requests) == 1:
                raise ModelError(
                    f"one pair of {self.size} px doesn't fit into the device's memory ({error})",
                    remedy='set offload = "model" or a smaller size for this model',
                ) from error
        torch.cuda.empty_cache()
        half = len(requests) // 2
        return self.render_pairs(requests[:half], steps=steps) + self.render_pairs(requests[half:], steps=steps)

    def _render_pairs(self, requests: list[PairRequest], steps: int) -> list[tuple[Image.Image, Image.Image]]:
        """`render_pairs`, in one batch with and one without guidance."""
        pictures: list[tuple[Image.Image, Image.Image]] = [None] * len(requests)  # type: ignore[list-item]
        # Pairs without guidance need no unconditional half; pairs that share longest come first.
        order = sorted(range(len(requests)), key=lambda i: -requests[i].shared_fraction)
        for guided in (True, False):
            rows = [i for i in order if (requests[i].guidance_scale > 1) == guided]
            if not rows:
                continue
            batch = [requests[i] for i in rows]
            both = self.renderer(
                [r.source_prompt for r in batch] + [r.target_prompt for r in batch],
                [r.seed for r in batch],
                torch.tensor([float(r.guidance_scale) for r in batch] * 2),
                steps,
                fractions=torch.tensor([float(r.shared_fraction) for r in batch]),
            )
            for row, before, after in zip(rows, both[: len(batch)], both[len(batch) :], strict=True):
                pictures[row] = before, after
        return pictures

    def _refuse_unknown(self, prompts: Sequence[str]) -> None:
        for prompt in dict.fromkeys(prompts):
            if why := self.check_prompt(prompt):
                raise ModelError(f"cannot render {prompt[:80]!r}: {why}")
