"""Samplers as functions of (denoise, x, sigmas): no state, no random numbers of their own.

Convention: variance-exploding coordinates, x = x0 + sigma * noise, whatever coordinates the network was trained in;
`sigmas` has one value a step, descending, and a closing 0. `denoise(x, i)` gives the picture expected at step i.
`noise(i)` gives the unit noise to add after step i. Latents stay float32.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

Denoise = Callable[[torch.Tensor, int], torch.Tensor]
Noise = Callable[[int], torch.Tensor]
Spacing = Literal["linspace", "leading", "trailing"]
Prediction = Literal["epsilon", "v_prediction", "sample"]


def sample_euler_ancestral(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Ancestral sampling with Euler steps.

    Source: k-diffusion, `sample_euler_ancestral`, which InstructPix2Pix's generator uses.
    """
    for i, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        up = (following**2 * (sigma**2 - following**2) / sigma**2).sqrt()
        down = (following**2 - up**2).sqrt()
        x = x + (x - denoise(x, i)) / sigma * (down - sigma)
        if following > 0:
            x = x + noise(i) * up
    return x


def sample_ddim(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Deterministic DDIM (eta = 0), which in these coordinates is Euler's method on the probability flow.

    Source: DDIM (arXiv 2010.02502), eq. 13. `noise` is not called.
    """
    for i, (sigma, following) in enumerate(itertools.pairwise(sigmas)):
        x = x + (x - denoise(x, i)) / sigma * (following - sigma)
    return x


def sample_lcm(denoise: Denoise, x: torch.Tensor, sigmas: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Multistep consistency sampling: jump to the picture, add fresh noise of the next level.

    Source: Latent Consistency Models (arXiv 2310.04378), algorithm 3; `denoise` applies the boundary scalings.
    """
    for i, following in enumerate(sigmas[1:]):
        x = denoise(x, i)
        if following > 0:
            x = x + noise(i) * following
    return x


SAMPLERS = {"euler_ancestral": sample_euler_ancestral, "ddim": sample_ddim, "lcm": sample_lcm}


def timesteps(steps: int, spacing: Spacing, total: int = 1000, offset: int = 0) -> np.ndarray:
    """Times at which the network is asked, descending.

    Args:
        steps: how many.
        spacing: `linspace` (k-diffusion's, fractional), `leading` or `trailing`.
        total: length of the schedule the network was trained on.
        offset: added to `leading` times.

    Returns:
        (steps,) float64 in [0, total - 1].

    Source: arXiv 2305.08891, table 2.

    >>> timesteps(4, "trailing").tolist()
    [999.0, 749.0, 499.0, 249.0]
    """
    if not 1 <= steps <= total:
        raise ValueError(f"steps = {steps}: expected 1 to {total}, the length of the model's noise schedule")
    if spacing == "linspace":
        return np.linspace(total - 1, 0, steps)
    if spacing == "leading":
        return np.arange(steps)[::-1] * float(total // steps) + offset
    return np.round(np.arange(total, 0, -total / steps))[:steps] - 1.0


def lcm_timesteps(steps: int, distilled_steps: int = 50, total: int = 1000) -> np.ndarray:
    """The subset of the distillation schedule on which a latent consistency model is asked, descending.

    Source: arXiv 2310.04378, section 4.3 (skipping steps), with the spacing of diffusers' `LCMScheduler`.

    >>> lcm_timesteps(4).tolist()
    [999.0, 759.0, 499.0, 259.0]
    """
    if not 1 <= steps <= distilled_steps:
        raise ValueError(f"steps = {steps}: expected 1 to {distilled_steps}, the steps this model was distilled on")
    trained = np.arange(distilled_steps, 0, -1) * (total // distilled_steps) - 1.0
    return trained[np.floor(np.linspace(0, distilled_steps, steps, endpoint=False)).astype(int)]


def sigmas_at(times: np.ndarray, alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Noise levels of the model's own schedule at these times, and a closing 0.

    Between two training times the logarithm is interpolated, as k-diffusion does. A terminal signal-to-noise ratio
    of zero is replaced by 2**-24, as in diffusers, so that the first level is finite.

    Args:
        times: (steps,), as `timesteps` gives them.
        alphas_cumprod: (total,) share of signal variance left at each training time.

    Returns:
        (steps + 1,) float32.
    """
    alphas = alphas_cumprod.double().clamp(min=2**-24).numpy()
    log_sigmas = 0.5 * np.log((1 - alphas) / alphas)
    sigmas = np.exp(np.interp(times, np.arange(len(alphas)), log_sigmas))
    return torch.tensor([*sigmas, 0.0], dtype=torch.float32)


def predicted_picture(
    output: torch.Tensor, x: torch.Tensor, sigma: torch.Tensor | float, prediction: Prediction
) -> torch.Tensor:
    """The x0 that a network's output means.

    Source: progressive distillation (arXiv 2202.00512), appendix D, written for x = x0 + sigma * noise.
    """
    if prediction == "epsilon":
        return x - sigma * output
    if prediction == "v_prediction":
        return x / (sigma**2 + 1) - output * sigma / (sigma**2 + 1) ** 0.5
    return output


def consistency_scalings(time: float, timestep_scaling: float = 10.0, sigma_data: float = 0.5) -> tuple[float, float]:
    """(c_skip, c_out) of a latent consistency model at a training time.

    Source: arXiv 2310.04378, appendix B.
    """
    scaled = time * timestep_scaling
    return sigma_data**2 / (scaled**2 + sigma_data**2), scaled / (scaled**2 + sigma_data**2) ** 0.5
