"""What a training example of an editor is: latents, noise and time, and which condition it has to do without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

EDITED_MEAN, EDITED_LOGVAR, SOURCE = "edited_mean", "edited_logvar", "source"
"""Cached columns: the distribution of the edited picture's latents, and the mode of the source's."""


def dropped(r: float, p: float) -> tuple[bool, bool]:
    """(without text, without picture), by *one* draw r of [0, 1): text if r < 2p, picture if p <= r < 3p.

    So each alone is left out with probability p and both together with p; two independent draws would leave both out
    with probability p squared, and the branch without conditions, from which guidance starts, would hardly be trained.

    Source: Brooks et al. 2023, InstructPix2Pix, section 3.2.1 (p = 0.05).

    >>> [dropped(r, 0.05) for r in (0.01, 0.07, 0.12, 0.2)]
    [(True, False), (True, True), (False, True), (False, False)]
    """
    return r < 2 * p, p <= r < 3 * p


def shifted(u: float, shift: float) -> float:
    """A uniform draw of [0, 1), moved towards 1: half of them lie above `shift / (1 + shift)`.

    Source: Esser et al. 2024, Stable Diffusion 3 (arXiv 2403.03206), eq. 23, of training times.

    >>> [round(shifted(u, 3.0), 3) for u in (0.0, 0.5, 0.999)]
    [0.0, 0.75, 1.0]
    """
    return shift * u / (1 + (shift - 1) * u)


@dataclass(frozen=True)
class Drawn:
    """Random parts of examples, each from its own generator.

    Attributes:
        edited: (B, C, H, W) float32 latents, sampled and scaled.
        source: (B, C, H, W) float32 latents, the mode, unscaled; zeros where left out.
        noise: (B, C, H, W) float32.
        times: (B,) int64.
        without_text: (B,) bool.
    """

    edited: torch.Tensor
    source: torch.Tensor
    noise: torch.Tensor
    times: torch.Tensor
    without_text: torch.Tensor


def draw(
    latents: Sequence[dict[str, NDArray[np.floating]]],
    rngs: Sequence[np.random.Generator],
    *,
    scaling: float,
    dropout: float,
    times: Sequence[int],
    shift: float = 1.0,
) -> Drawn:
    """Draws examples.

    Args:
        latents: `edited_mean`, `edited_logvar` and `source` of each, (C, H, W).
        rngs: one for each.
        scaling: the autoencoder's scaling factor; multiplies the edited latents alone.
        dropout: p of `dropped`.
        times: training times that are drawn from, in rising order.
        shift: 1 draws all alike; see `shifted`.
    """
    edited, source, noise, chosen, bare = [], [], [], [], []
    for each, rng in zip(latents, rngs, strict=True):
        mean, logvar = (np.asarray(each[k], np.float32) for k in (EDITED_MEAN, EDITED_LOGVAR))
        sampled = mean + np.exp(0.5 * logvar) * rng.standard_normal(mean.shape, dtype=np.float32)
        without_text, without_picture = dropped(rng.random(), dropout)
        edited.append(sampled * np.float32(scaling))
        source.append(np.zeros_like(mean) if without_picture else np.asarray(each[SOURCE], np.float32))
        noise.append(rng.standard_normal(mean.shape, dtype=np.float32))
        chosen.append(times[int(shifted(rng.random(), shift) * len(times))])
        bare.append(without_text)
    stacked = (torch.from_numpy(np.stack(x)) for x in (edited, source, noise))
    return Drawn(*stacked, torch.tensor(chosen), torch.tensor(bare))


def noised(
    edited: torch.Tensor, noise: torch.Tensor, times: torch.Tensor, alphas_cumprod: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(noisy latents, alpha, sigma) in variance-preserving coordinates; alpha and sigma are (B, 1, 1, 1)."""
    share = alphas_cumprod.to(edited.device)[times].view(-1, 1, 1, 1)
    alpha, sigma = share.sqrt(), (1 - share).sqrt()
    return alpha * edited + sigma * noise, alpha, sigma


def target_of(
    prediction: str, edited: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """What the network should say: noise, v = alpha * noise - sigma * x0, or x0."""
    if prediction == "epsilon":
        return noise
    return alpha * noise - sigma * edited if prediction == "v_prediction" else edited


def picture_of(
    prediction: str, output: torch.Tensor, noisy: torch.Tensor, alpha: torch.Tensor, sigma: torch.Tensor
) -> torch.Tensor:
    """The x0 that an output means, in variance-preserving coordinates."""
    if prediction == "epsilon":
        return (noisy - sigma * output) / alpha
    return alpha * noisy - sigma * output if prediction == "v_prediction" else output
