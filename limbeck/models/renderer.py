"""Latents to pictures with a diffusers pipeline's parts: prepares the denoiser, runs the sampler, decodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, LCMScheduler, SchedulerMixin
from PIL import Image

from limbeck.errors import SettingError
from limbeck.models import sampling
from limbeck.models.denoiser import Denoiser, guidance_embedding
from limbeck.models.noise import standard_normal
from limbeck.models.shared_attention import SharedAttentionProcessor
from limbeck.models.text_conditioning import TextEncoder

Sampler = Literal["auto", "euler_ancestral", "ddim", "lcm"]
Spacing = Literal["auto", "linspace", "leading", "trailing"]

_DECODED_PIXELS = 16 * 512 * 512
"""Pixels decoded in one call of the VAE: bounds memory."""


class Renderer:
    """Renders one batch with a pipeline of the SD 1.5 or SDXL class.

    Attributes:
        pipe: the pipeline; its attention processors are replaced.
        text: encodes prompts.
        sampler: in use; `auto` is `lcm` or `ddim` where the pipeline's own scheduler is one, else `euler_ancestral`.
        spacing: of the timesteps; `auto` is `trailing` where the pipeline's scheduler says so (Turbo), else
            k-diffusion's `linspace`.
        size: side of the pictures in pixels, a multiple of the VAE's factor; the U-Net's own by default.
    """

    def __init__(self, pipe: DiffusionPipeline, sampler: Sampler, spacing: Spacing, size: int | None) -> None:
        self.pipe, self.text = pipe, TextEncoder(pipe)
        self.sampler = _own_sampler(pipe.scheduler) if sampler == "auto" else sampler
        if self.sampler not in sampling.SAMPLERS:
            raise SettingError(f"sampler = {sampler!r}", expected=f"auto, {', '.join(sampling.SAMPLERS)}")
        own_spacing = pipe.scheduler.config.get("timestep_spacing", "linspace")
        self.spacing = spacing if spacing != "auto" else ("trailing" if own_spacing == "trailing" else "linspace")
        self._factor = pipe.vae_scale_factor
        self.size = size or pipe.unet.config.sample_size * self._factor
        if self.size % self._factor:
            raise SettingError(f"size = {self.size}", expected=f"a multiple of {self._factor}, the VAE's factor")
        pipe.unet.set_attn_processor(SharedAttentionProcessor())
        for module in (pipe.unet, pipe.vae):
            module.eval().requires_grad_(False)

    @torch.inference_mode()
    def __call__(
        self,
        prompts: list[str],
        seeds: Sequence[int],
        guidance: torch.Tensor,
        steps: int,
        fractions: torch.Tensor | None,
    ) -> list[Image.Image]:
        """Renders N prompts; with `fractions` they are B sources, then their B targets, and there are B seeds."""
        count, side = len(prompts), self.size // self._factor
        shape = (self.pipe.unet.config.in_channels, side, side)
        device = self.pipe._execution_device

        def noise(step: int) -> torch.Tensor:
            """Unit noise after a step, (N, C, H, W); both pictures of a pair get the same."""
            return standard_normal(seeds, step + 1, shape).to(device).repeat(count // len(seeds), 1, 1, 1)

        denoise = self._denoiser(prompts, guidance.to(device), steps, fractions)
        # The ancestral sampler starts as the reference does; the others at the training coordinates' unit variance.
        first = denoise.sigmas[0]
        start = first if self.sampler == "euler_ancestral" else (first**2 + 1).sqrt()
        latents = sampling.SAMPLERS[self.sampler](denoise, noise(-1) * start, denoise.sigmas, noise)
        assert latents.shape == (count, *shape), f"latents {tuple(latents.shape)}, expected {(count, *shape)}"
        pictures = self.decode(latents)
        self.pipe.maybe_free_model_hooks()
        return pictures

    def _denoiser(
        self, prompts: list[str], guidance: torch.Tensor, steps: int, fractions: torch.Tensor | None
    ) -> Denoiser:
        """The denoiser of one batch; `guidance` is (N,)."""
        unet, scheduler = self.pipe.unet, self.pipe.scheduler
        times = self.times(steps)
        embedded = unet.config.time_cond_proj_dim
        guided = embedded is None and bool((guidance > 1).any())
        text = self.text(prompts)
        time_ids = None
        if unet.config.addition_embed_type == "text_time":  # (height, width), crop corner, (height, width) again
            time_ids = torch.tensor([[self.size, self.size, 0, 0, self.size, self.size]], device=guidance.device)
        return Denoiser(
            unet=unet,
            text=self.text.negative(len(prompts)) + text if guided else text,
            guidance=guidance.view(-1, 1, 1, 1) if guided else None,
            times=times.tolist(),
            sigmas=sampling.sigmas_at(times, scheduler.alphas_cumprod),
            prediction=scheduler.config.prediction_type,
            fractions=fractions,
            time_ids=time_ids,
            guidance_embedding=None if embedded is None else guidance_embedding(guidance, embedded, unet.dtype),
            consistency=[sampling.consistency_scalings(t, scheduler.config.timestep_scaling) for t in times]
            if self.sampler == "lcm"
            else None,
        )

    def times(self, steps: int) -> np.ndarray:
        """(steps,) training times, descending."""
        config = self.pipe.scheduler.config
        total = config.num_train_timesteps
        try:
            if self.sampler == "lcm":
                return sampling.lcm_timesteps(steps, config.get("original_inference_steps", 50), total)
            return sampling.timesteps(steps, self.spacing, total, config.get("steps_offset", 0))
        except ValueError as error:
            raise SettingError(str(error)) from error

    def decode(self, latents: torch.Tensor) -> list[Image.Image]:
        """(N, C, H, W) latents to N pictures, a bounded number at a time."""
        vae = self.pipe.vae
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
