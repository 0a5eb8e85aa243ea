"""One edit as a plain function of tensors: pictures, tokens and noise in, edited pictures out, all steps unrolled.

This is what leaves for other runtimes, what is timed, and whose multiply-adds are counted: autoencoder, text encoder
and every pass of the U-Net together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from distill.editing.parts import token_ids
from limbeck.models import sampling
from limbeck.models.editing import EditDenoiser, Plan
from limbeck.models.noise import standard_normal

if TYPE_CHECKING:
    from distill.editing.network import EditingNetwork

INPUTS = ("pixels", "input_ids", "noise")


class WholeEdit(nn.Module):
    """An editor with its steps and scales built in.

    Attributes:
        plan: of the sampler.
        tokenizer: of the instructions.
        draws: of noise for one edit.
        evaluations: rows that the U-Net sees for one edit.
    """

    def __init__(self, network: EditingNetwork) -> None:
        super().__init__()
        parts = network.parts
        self.unet, self.text, self.vae = network.unet, network.text, parts.vae
        plan = Plan.of(parts.scheduler, parts.asked.steps)
        self.plan = replace(plan, sigmas=plan.sigmas.tolist())  # numbers: an exporter can't branch on tensors
        self.scales = parts.asked.scales
        self.draws = 1 if self.plan.sampler == "ddim" else len(self.plan.times)
        branches = 1 if self.unet.config.time_cond_proj_dim else len(self.scales.weights)
        self.evaluations = branches * len(self.plan.times)
        self.tokenizer = parts.tokenizer
        self.register_buffer("empty", torch.from_numpy(self.tokens([""])), persistent=False)

    def forward(self, pixels: Tensor, input_ids: Tensor, noise: Tensor) -> Tensor:
        """Edits.

        Args:
            pixels: (B, 3, H, W) float32 in [-1, 1], RGB.
            input_ids: (B, S) int64, of the instructions.
            noise: (B, draws, C, h, w) float32.

        Returns:
            (B, 3, H, W) float32 in [-1, 1].
        """
        denoise = EditDenoiser(
            self.unet,
            self.vae.encode(pixels).latent_dist.mode(),  # unscaled
            self.text(input_ids)[0],
            self.text(self.empty)[0],
            self.plan,
            self.scales,
        )
        first = self.plan.sigmas[0]
        start = first if self.plan.sampler == "euler_ancestral" else (first**2 + 1) ** 0.5
        latents = sampling.SAMPLERS[self.plan.sampler](
            denoise, noise[:, 0] * start, self.plan.sigmas, lambda step: noise[:, step + 1]
        )
        return self.vae.decode(latents / self.vae.config.scaling_factor).sample.clamp(-1, 1)

    def tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(N, S) tokens of instructions."""
        return token_ids(self.tokenizer, texts)

    def noise(self, seeds: Sequence[int], side: int) -> NDArray[np.float32]:
        """(N, draws, C, side, side) noise, each edit's by its own seed."""
        shape = (self.vae.config.latent_channels, side, side)
        return torch.stack([standard_normal(seeds, n, shape) for n in range(self.draws)], 1).numpy()
