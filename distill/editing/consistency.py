"""Latent consistency: from any noise level on a teacher's path straight to the path's end.

    f(z, t) = c_skip(t) z + c_out(t) x0(z, t)        f(z, 0) = z, by construction

Two neighbours on the path have one end, so f of the noisier one learns f of the other. The neighbour is one step of
the guided teacher away. What is compared are pictures, f, and never the network's raw outputs, which mean different
things at different times.

Source: Luo et al. 2023, Latent Consistency Models (arXiv 2310.04378), algorithm 1.
Differs: training times are exactly those that inference chooses from; at the first of them z is noise alone, as
inference begins, where the paper's z still holds a trace of the picture; the target is the student itself without
gradient (its decay is 0, as in Song and Dhariwal 2023, section 3.2), so that there is no third network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.editing.conditioning import picture_of
from limbeck.models import sampling


@dataclass(frozen=True)
class Grid:
    """Training times, descending, with their noise levels; the step after the last ends at the picture.

    Attributes:
        times: (K,) int64.
        alphas: (K + 1,) share of the picture at each, and 1.
        sigmas: (K + 1,) share of the noise at each, and 0.
        skip: (K + 1,) c_skip, and 1.
        out: (K + 1,) c_out, and 0.
    """

    times: Tensor
    alphas: Tensor
    sigmas: Tensor
    skip: Tensor
    out: Tensor

    @classmethod
    def of(cls, points: int, alphas_cumprod: Tensor, scaling: float = 10.0) -> Grid:
        """The grid of `points` times; inference in any number of steps up to that takes its times from it."""
        times = torch.from_numpy(sampling.lcm_timesteps(points, points, len(alphas_cumprod))).long()
        share = torch.cat([alphas_cumprod.double().cpu()[times], torch.ones(1, dtype=torch.float64)])
        scalings = [sampling.consistency_scalings(float(t), scaling) for t in times] + [(1.0, 0.0)]
        skip, out = (torch.tensor(each, dtype=torch.float64) for each in zip(*scalings, strict=True))
        return cls(times, *(x.float() for x in (share.sqrt(), (1 - share).sqrt(), skip, out)))

    def to(self, device: str | torch.device) -> Grid:
        """Moves it."""
        return Grid(*(x.to(device) for x in (self.times, self.alphas, self.sigmas, self.skip, self.out)))

    def noisy(self, edited: Tensor, noise: Tensor, at: Tensor) -> Tensor:
        """(B, C, H, W) latents at grid points `at` (B,); noise alone at the first."""
        mixed = _wide(self.alphas[at]) * edited + _wide(self.sigmas[at]) * noise
        return torch.where(_wide(at == 0), noise, mixed)

    def end(self, prediction: str, output: Tensor, z: Tensor, at: Tensor) -> Tensor:
        """f(z, t): where the path through z ends, by a network's output at grid points `at`; z itself at the end."""
        alpha, sigma = _wide(self.alphas[at]), _wide(self.sigmas[at])
        return _wide(self.skip[at]) * z + _wide(self.out[at]) * picture_of(prediction, output, z, alpha, sigma)

    def step(self, prediction: str, output: Tensor, z: Tensor, at: Tensor) -> Tensor:
        """One DDIM step by a teacher's guided output, from grid points `at` to the next ones.

        Source: DDIM (arXiv 2010.02502), eq. 12 with eta = 0.
        """
        alpha, sigma = _wide(self.alphas[at]), _wide(self.sigmas[at])
        picture = picture_of(prediction, output, z, alpha, sigma)
        noise = (z - alpha * picture) / sigma
        return _wide(self.alphas[at + 1]) * picture + _wide(self.sigmas[at + 1]) * noise


def huber(a: Tensor, b: Tensor, c: float) -> Tensor:
    """(B,) mean over elements of sqrt((a - b)^2 + c^2) - c: squared near zero, absolute far from it.

    Source: Song and Dhariwal 2023, Improved techniques for consistency models, section 3.3, element by element.
    """
    return (((a - b).float().square() + c**2).sqrt() - c).mean((1, 2, 3))


def _wide(x: Tensor) -> Tensor:
    return x.view(-1, 1, 1, 1)
