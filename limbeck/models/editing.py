"""Editing as a function of latents: two guidance scales, whatever branches of the network they need, and the sampler.

    e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)]

I is the picture to edit, T the instruction, 0 their absence (zeros; the empty text). The same weights of the three
branches hold for noise, v and x0 alike, since at one noise level each is an affine function of the other.

Source: Brooks et al. 2023, InstructPix2Pix, eq. 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler, LCMScheduler, SchedulerMixin, UNet2DConditionModel

from limbeck.errors import SettingError
from limbeck.models import sampling
from limbeck.models.denoiser import guidance_embedding
from limbeck.models.noise import standard_normal

BRANCHES = ("neither", "picture", "both")
"""What a branch sees: nothing, the picture alone, picture and instruction."""


@dataclass(frozen=True)
class Scales:
    """How strongly the result follows the instruction (`text`) and the picture (`image`).

    Source: InstructPix2Pix calls them s_T and s_I; diffusers `guidance_scale` and `image_guidance_scale`.
    """

    text: float = 1.0
    image: float = 1.0

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each branch that is needed; they sum to one, and a branch of weight 0 is never run.

        >>> Scales(text=7.5, image=1.5).weights
        {'neither': -0.5, 'picture': -6.0, 'both': 7.5}
        >>> Scales(1.0, 1.0).weights
        {'both': 1.0}
        """
        found = {"neither": 1 - self.image, "picture": self.image - self.text, "both": self.text}
        return {name: weight for name, weight in found.items() if weight}


@dataclass(frozen=True)
class Plan:
    """Where the network is asked, and how its answers are put together.

    Attributes:
        times: training times, descending.
        sigmas: (steps + 1,) noise levels there, and a closing 0; plain numbers where a graph is made of it all.
        sampler: `ddim`, `lcm` or `euler_ancestral`.
        prediction: what the network's output means.
        consistency: (c_skip, c_out) at each time, for `lcm`.
    """

    times: tuple[float, ...]
    sigmas: torch.Tensor | Sequence[float]
    sampler: str
    prediction: sampling.Prediction
    consistency: tuple[tuple[float, float], ...] | None = None

    @classmethod
    def of(cls, scheduler: SchedulerMixin, steps: int, sampler: str = "auto", spacing: str = "auto") -> Plan:
        """The plan of a pipeline's own scheduler.

        Args:
            scheduler: of the pipeline.
            steps: how many.
            sampler: `auto` is `lcm` or `ddim` where the scheduler is one, else `euler_ancestral`.
            spacing: of the times; `auto` is the scheduler's own for DDIM, `trailing` where it says so, else `linspace`.

        Raises:
            SettingError: no such sampler, or more steps than the schedule has.
        """
        config = scheduler.config
        own = isinstance(scheduler, DDIMScheduler)
        if sampler == "auto":
            sampler = "lcm" if isinstance(scheduler, LCMScheduler) else "ddim" if own else "euler_ancestral"
        if sampler not in sampling.SAMPLERS:
            raise SettingError(f"sampler = {sampler!r}", expected=f"auto, {', '.join(sampling.SAMPLERS)}")
        if spacing == "auto":
            named = config.get("timestep_spacing", "linspace")
            spacing = named if own or named == "trailing" else "linspace"
        total = config.num_train_timesteps
        try:
            if sampler == "lcm":
                times = sampling.lcm_timesteps(steps, config.get("original_inference_steps", 50), total)
            else:
                times = sampling.timesteps(steps, spacing, total, config.get("steps_offset", 0))
        except ValueError as error:
            raise SettingError(str(error)) from error
        scaling = config.get("timestep_scaling", 10.0)
        return cls(
            tuple(times.tolist()),
            sampling.sigmas_at(times, scheduler.alphas_cumprod),
            sampler,
            config.prediction_type,
            tuple(sampling.consistency_scalings(t, scaling) for t in times) if sampler == "lcm" else None,
        )


def guided(branches: dict[str, torch.Tensor], scales: Scales) -> torch.Tensor:
    """The branches' outputs put together; those of weight 0 needn't be there."""
    return sum(weight * branches[name] for name, weight in scales.weights.items())


def scale_embedding(text: torch.Tensor, image: torch.Tensor, width: int, dtype: torch.dtype) -> torch.Tensor:
    """(N,) scales as a network with embedded guidance reads them, (N, width): half for each.

    Differs: latent consistency models embed one scale; see `denoiser.guidance_embedding` for the layout of each half.
    """
    half = width // 2
    return torch.cat([guidance_embedding(text, half, dtype), guidance_embedding(image, width - half, dtype)], 1)


@dataclass(frozen=True)
class EditDenoiser:
    """The picture a U-Net expects behind noisy latents, for N edits with the same scales.

    Attributes:
        unet: reads noisy latents and, as further channels, the source's.
        source: (N, C, H, W) latents of the pictures to edit: modes, *not* scaled.
        text: (N, S, D) states of the instructions.
        empty: (1, S, D) states of the empty text.
        plan: times, noise levels, meaning of the output.
        scales: of guidance.
    """

    unet: UNet2DConditionModel
    source: torch.Tensor
    text: torch.Tensor
    empty: torch.Tensor
    plan: Plan
    scales: Scales

    def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """(N, C, H, W) noisy latents, x0 + sigma * noise, to those expected behind them, float32."""
        sigma = self.plan.sigmas[step]
        unit = x / (sigma**2 + 1) ** 0.5  # the coordinates the network was trained in
        output = self.output(unit, self.plan.times[step])
        picture = sampling.predicted_picture(output, x, sigma, self.plan.prediction)
        if self.plan.consistency is not None:
            skip, out = self.plan.consistency[step]
            picture = skip * unit + out * picture
        return picture

    def output(self, unit: torch.Tensor, time: float | torch.Tensor) -> torch.Tensor:
        """The network's guided output; `time` is one, or (N,). Branches that the scales don't need aren't run."""
        width = self.unet.config.time_cond_proj_dim
        scales = Scales() if width else self.scales  # embedded: the network guides itself
        names, n = list(scales.weights), len(unit)
        nothing, empty = torch.zeros_like(self.source), self.empty.expand(n, -1, -1)
        pictures = [nothing if name == "neither" else self.source for name in names]
        texts = [self.text if name == "both" else empty for name in names]
        embedded = None
        if width:
            text, image = (
                torch.full((n,), float(v), device=unit.device) for v in (self.scales.text, self.scales.image)
            )
            embedded = scale_embedding(text, image, width, self.unet.dtype)
        rows = torch.cat([torch.cat([unit] * len(names)).to(self.unet.dtype), torch.cat(pictures)], dim=1)
        if not isinstance(time, torch.Tensor):
            time = torch.tensor(time, dtype=torch.float32, device=unit.device)
        output = self.unet(
            rows,
            time.repeat(len(names)) if time.ndim else time,
            encoder_hidden_states=torch.cat(texts),
            timestep_cond=embedded,
            return_dict=False,
        )[0].float()
        return guided(dict(zip(names, output.chunk(len(names)), strict=True)), scales)

    @property
    def evaluations(self) -> int:
        """Rows that the U-Net sees for one edit."""
        return len(self.plan.times) * (1 if self.unet.config.time_cond_proj_dim else len(self.scales.weights))


def sample(denoise: EditDenoiser, seeds: Sequence[int]) -> torch.Tensor:
    """(N, C, H, W) float32 scaled latents of the edited pictures; an edit's noise is a function of its own seed.

    Args:
        denoise: the edits.
        seeds: one for each.
    """
    plan, source = denoise.plan, denoise.source

    def noise(step: int) -> torch.Tensor:
        return standard_normal(seeds, step + 1, tuple(source.shape[1:])).to(source.device)

    first = plan.sigmas[0]
    start = first if plan.sampler == "euler_ancestral" else (first**2 + 1).sqrt()
    return sampling.SAMPLERS[plan.sampler](denoise, noise(-1) * start, plan.sigmas, noise)


def as_input(pixels: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [-1, 1], as an autoencoder reads pictures."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def as_pixels(decoded: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) in [-1, 1] to (N, H, W, 3) uint8, rounded."""
    return ((decoded.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
