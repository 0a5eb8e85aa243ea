"""The image role on diffusers: pictures, and pairs that share noise and self-attention, many in one batch."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, LCMScheduler, SchedulerMixin
from PIL import Image
from torch.nn import functional as F

from limbeck.errors import ModelError, SettingError
from limbeck.models import sampling
from limbeck.models.denoiser import Denoiser
from limbeck.models.diffusers_loading import LoadedPipeline, load_pipeline
from limbeck.models.noise import standard_normal
from limbeck.models.roles import PairRequest
from limbeck.models.shared_attention import SharedAttentionProcessor
from limbeck.models.text_conditioning import TextEncoder

Sampler = Literal["auto", "euler_ancestral", "ddim", "lcm"]

_WORD = re.compile(r"[^\W_]+")
_DECODED_PIXELS = 16 * 512 * 512
"""Pixels decoded in one call of the VAE: bounds memory."""


class DiffusersImageModel:
    """A text-to-image pipeline of the SD 1.5 or SDXL class, as an `ImageModel`.

    Method: InstructPix2Pix's. Both pictures of a pair start from one latent and get the same noise at every step;
    self-attention is shared from source to target for the first `shared_fraction` of the steps, in both halves of
    classifier-free guidance. A call is a batch: `render_pairs` renders all its requests together, each with its own
    fraction and guidance scale.

    Attributes:
        fingerprint: changes with the weights and with every setting that changes pixels.
        size: side of the pictures in pixels.
        sampler: the sampler in use.
    """

    def __init__(
        self,
        loaded: LoadedPipeline,
        *,
        sampler: Sampler = "auto",
        spacing: Literal["auto", "linspace", "leading", "trailing"] = "auto",
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
        self._pipe: DiffusionPipeline = loaded.pipe
        self._words = loaded.words
        self._text = TextEncoder(loaded.pipe)
        scheduler = loaded.pipe.scheduler
        self.sampler = _own_sampler(scheduler) if sampler == "auto" else sampler
        if self.sampler not in sampling.SAMPLERS:
            raise SettingError(f"sampler = {sampler!r}", expected=f"auto, {', '.join(sampling.SAMPLERS)}")
        own_spacing = scheduler.config.get("timestep_spacing", "linspace")
        self._spacing = spacing if spacing != "auto" else ("trailing" if own_spacing == "trailing" else "linspace")
        self._factor = loaded.pipe.vae_scale_factor
        self.size = size or loaded.pipe.unet.config.sample_size * self._factor
        if self.size % self._factor:
            raise SettingError(f"size = {self.size}", expected=f"a multiple of {self._factor}, the VAE's factor")
        loaded.pipe.unet.set_attn_processor(SharedAttentionProcessor())
        for module in (loaded.pipe.unet, loaded.pipe.vae):
            module.eval().requires_grad_(False)
        facts = (loaded.weights, self.sampler, self._spacing, self.size, loaded.pipe.unet.dtype, loaded.pipe.vae.dtype)
        self.fingerprint = hashlib.blake2b(repr(facts).encode(), digest_size=12).hexdigest()

    @classmethod
    def load(
        cls, folder_or_id: str, *, sampler: Sampler = "auto", spacing: str = "auto", size: int | None = None, **loading
    ) -> DiffusersImageModel:
        """Loads a folder or a Hub id; `loading` goes to `load_pipeline`.

        Raises:
            ModelNotFound: the model isn't there or can't be loaded.
            UnsafeWeights: it has pickled weights only.
            SettingError: sampler or size don't fit it.
        """
        return cls(load_pipeline(folder_or_id, **loading), sampler=sampler, spacing=spacing, size=size)

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
        tokens, limit = self._text.token_count(prompt)
        return f"the prompt is {tokens} tokens long; the model reads {limit}" if tokens > limit else None

    def render(
        self, prompts: list[str], seeds: list[int], *, guidance_scale: float, steps: int
    ) -> list[Image.Image]:
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
        return self._render_batch(prompts, seeds, guidance, steps, fractions=None)

    def render_pairs(self, requests: list[PairRequest], *, steps: int) -> list[tuple[Image.Image, Image.Image]]:
        """Renders each request to (before, after); a pair's pixels don't depend on its batch (within 1/255).

        Raises:
            ModelError: a prompt is outside what the model can do.
        """
        self._refuse_unknown([p for r in requests for p in (r.source_prompt, r.target_prompt)])
        pictures: list[tuple[Image.Image, Image.Image]] = [None] * len(requests)  # type: ignore[list-item]
        # Pairs without guidance need no unconditional half; pairs that share longest come first.
        order = sorted(range(len(requests)), key=lambda i: -requests[i].shared_fraction)
        for guided in (True, False):
            rows = [i for i in order if (requests[i].guidance_scale > 1) == guided]
            if not rows:
                continue
            batch = [requests[i] for i in rows]
            both = self._render_batch(
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

    @torch.inference_mode()
    def _render_batch(
        self,
        prompts: list[str],
        seeds: Sequence[int],
        guidance: torch.Tensor,
        steps: int,
        fractions: torch.Tensor | None,
    ) -> list[Image.Image]:
        """Renders N prompts; with `fractions` they are B sources, then their B targets, and there are B seeds."""
        count, side = len(prompts), self.size // self._factor
        shape = (self._pipe.unet.config.in_channels, side, side)
        device = self._pipe._execution_device

        def noise(step: int) -> torch.Tensor:
            """Unit noise after a step, (N, C, H, W); both pictures of a pair get the same."""
            return standard_normal(seeds, step + 1, shape).to(device).repeat(count // len(seeds), 1, 1, 1)

        denoise = self._denoiser(prompts, guidance.to(device), steps, fractions)
        # The ancestral sampler starts as the reference does; the others at the training coordinates' unit variance.
        first = denoise.sigmas[0]
        start = first if self.sampler == "euler_ancestral" else (first**2 + 1).sqrt()
        latents = sampling.SAMPLERS[self.sampler](denoise, noise(-1) * start, denoise.sigmas, noise)
        assert latents.shape == (count, *shape), f"latents {tuple(latents.shape)}, expected {(count, *shape)}"
        pictures = self._decode(latents)
        self._pipe.maybe_free_model_hooks()
        return pictures

    def _denoiser(
        self, prompts: list[str], guidance: torch.Tensor, steps: int, fractions: torch.Tensor | None
    ) -> Denoiser:
        """The denoiser of one batch; `guidance` is (N,)."""
        unet, scheduler = self._pipe.unet, self._pipe.scheduler
        times = self._times(steps)
        embedded = unet.config.time_cond_proj_dim
        guided = embedded is None and bool((guidance > 1).any())
        text = self._text(prompts)
        time_ids = None
        if unet.config.addition_embed_type == "text_time":  # (height, width), crop corner, (height, width) again
            time_ids = torch.tensor([[self.size, self.size, 0, 0, self.size, self.size]], device=guidance.device)
        return Denoiser(
            unet=unet,
            text=self._text.negative(len(prompts)) + text if guided else text,
            guidance=guidance.view(-1, 1, 1, 1) if guided else None,
            times=times.tolist(),
            sigmas=sampling.sigmas_at(times, scheduler.alphas_cumprod),
            prediction=scheduler.config.prediction_type,
            fractions=fractions,
            time_ids=time_ids,
            guidance_embedding=None if embedded is None else _guidance_embedding(guidance, embedded, unet.dtype),
            consistency=[sampling.consistency_scalings(t, scheduler.config.timestep_scaling) for t in times]
            if self.sampler == "lcm"
            else None,
        )

    def _times(self, steps: int) -> np.ndarray:
        """(steps,) training times, descending."""
        config = self._pipe.scheduler.config
        total = config.num_train_timesteps
        try:
            if self.sampler == "lcm":
                return sampling.lcm_timesteps(steps, config.get("original_inference_steps", 50), total)
            return sampling.timesteps(steps, self._spacing, total, config.get("steps_offset", 0))
        except ValueError as error:
            raise SettingError(str(error)) from error

    def _decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """(N, C, H, W) latents to N pictures, a bounded number at a time."""
        vae = self._pipe.vae
        scaled = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0)
        decoded = []
        for some in scaled.split(max(1, _DECODED_PIXELS // self.size**2)):
            pixels = vae.decode(some.to(vae.dtype), return_dict=False)[0].float()  # (n, 3, size, size) in [-1, 1]
            decoded.append(((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu())
        pixels = torch.cat(decoded).permute(0, 2, 3, 1).numpy()
        assert pixels.shape == (len(latents), self.size, self.size, 3), f"decoded {pixels.shape}"
        return [Image.fromarray(picture) for picture in pixels]


def _own_sampler(scheduler: SchedulerMixin) -> str:
    """The sampler that fits the scheduler a pipeline was published with."""
    if isinstance(scheduler, LCMScheduler):
        return "lcm"
    return "ddim" if isinstance(scheduler, DDIMScheduler) else "euler_ancestral"


def _guidance_embedding(guidance: torch.Tensor, width: int, dtype: torch.dtype) -> torch.Tensor:
    """(N,) guidance scales as a model distilled with guidance reads them, (N, width).

    Source: On Distillation of Guided Diffusion Models (arXiv 2210.03142), in the layout of diffusers' pipelines.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=guidance.device) * -(math.log(10000.0) / (half - 1)))
    angles = 1000.0 * (guidance - 1).clamp(min=0)[:, None] * rates
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2)).to(dtype)
