"""The network as a function of (x, step): input scaling, classifier-free guidance by row, attention sharing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional as F

from limbeck.models import sampling
from limbeck.models.shared_attention import Sharing, shared_pairs
from limbeck.models.text_conditioning import TextConditioning


@dataclass(frozen=True)
class Denoiser:
    """The picture a U-Net expects behind noisy latents, for a batch of N pictures.

    Convention: `sampling`'s coordinates; rows of the U-Net's batch are (half, picture) with the unconditional half
    first, and for pairs the pictures are B sources, then their B targets.

    Attributes:
        unet: of the SD 1.5 or SDXL class, with `SharedAttentionProcessor`.
        text: 2N rows, negative prompts first, where there is guidance; else N rows.
        guidance: (N, 1, 1, 1) guidance scales; None renders without the unconditional half.
        times: (steps,) training times.
        sigmas: (steps + 1,) on the CPU, so that reading one never waits for the device.
        prediction: what the U-Net's output means.
        fractions: (B,) shared fractions, descending; None for single pictures.
        time_ids: (1, 6) size conditioning of SDXL, or None.
        guidance_embedding: (N, D) for models that read the guidance scale as an input (LCM), or None.
        consistency: (c_skip, c_out) of each step for latent consistency models, or None.
    """

    unet: UNet2DConditionModel
    text: TextConditioning
    guidance: torch.Tensor | None
    times: Sequence[float]
    sigmas: torch.Tensor
    prediction: sampling.Prediction
    fractions: torch.Tensor | None = None
    time_ids: torch.Tensor | None = None
    guidance_embedding: torch.Tensor | None = None
    consistency: Sequence[tuple[float, float]] | None = None

    def __call__(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """(N, C, H, W) noisy latents to the (N, C, H, W) latents expected behind them, float32."""
        sigma = self.sigmas[step]
        unit = x / (sigma**2 + 1).sqrt()  # the coordinates the network was trained in
        rows = unit if self.guidance is None else torch.cat([unit, unit])
        output = self.unet(
            rows.to(self.unet.dtype),
            torch.tensor(self.times[step], dtype=torch.float32, device=x.device),
            encoder_hidden_states=self.text.hidden,
            timestep_cond=self.guidance_embedding,
            cross_attention_kwargs=self._sharing(step),
            added_cond_kwargs=self._added(len(rows)),
            return_dict=False,
        )[0].float()
        if self.guidance is not None:
            without, with_text = output.chunk(2)
            output = without + self.guidance * (with_text - without)
        picture = sampling.predicted_picture(output, x, sigma, self.prediction)
        if self.consistency is not None:
            skip, out = self.consistency[step]
            picture = skip * unit + out * picture
        return picture

    def _sharing(self, step: int) -> dict[str, Sharing] | None:
        """Which pairs share attention at this step."""
        if self.fractions is None:
            return None
        return {"sharing": Sharing(len(self.fractions), shared_pairs(self.fractions, step, len(self.times)))}

    def _added(self, rows: int) -> dict[str, torch.Tensor] | None:
        """SDXL's extra inputs: text as a whole, and the size the picture pretends to have."""
        if self.time_ids is None:
            return None
        return {"text_embeds": self.text.pooled, "time_ids": self.time_ids.expand(rows, -1)}


def guidance_embedding(guidance: torch.Tensor, width: int, dtype: torch.dtype) -> torch.Tensor:
    """(N,) guidance scales as a model distilled with guidance reads them, (N, width).

    Source: On Distillation of Guided Diffusion Models (arXiv 2210.03142), in the layout of diffusers' pipelines.
    """
    half = width // 2
    rates = torch.exp(torch.arange(half, device=guidance.device) * -(math.log(10000.0) / (half - 1)))
    angles = 1000.0 * (guidance - 1).clamp(min=0)[:, None] * rates
    return F.pad(torch.cat([angles.sin(), angles.cos()], dim=1), (0, width % 2)).to(dtype)
