"""`mini:diffusion`'s autoencoder: 64 x 64 x 3 to 8 x 8 x 16 and back, an `AutoencoderKL`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from distill.miniatures.bank import channels_first
from distill.miniatures.loop import Figures, fit

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

LATENT_CHANNELS = 16
KL_WEIGHT = 2e-6


def build() -> AutoencoderKL:
    """A fresh autoencoder of about 1M parameters."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
    )


def pixels(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) uint8 to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def _psnr_db(squared_error: torch.Tensor) -> torch.Tensor:
    """Of a mean squared error on the range [-1, 1]."""
    return 10 * torch.log10(4 / squared_error.detach())


def _edges(error: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of finite differences."""
    return (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()) / 2


def _draw(x: torch.Tensor, rng: np.random.Generator, batch: int) -> torch.Tensor:
    """Random pictures in [-1, 1], channels last."""
    chosen = torch.from_numpy(np.sort(rng.integers(len(x), size=batch))).to(x.device)
    return pixels(x[chosen]).contiguous(memory_format=torch.channels_last)


def train(
    x: torch.Tensor,
    work: Path,
    *,
    steps: int = 2000,
    batch: int = 16,
    lr: float = 1e-3,
    seconds: float = math.inf,
    every: int = 250,
) -> AutoencoderKL:
    """Trains on flipped and plain pictures: L1 + L2 of pixels, L1 of finite differences (edges), a little KL.

    Args:
        x: (N, 3, 64, 64) uint8, on the device to train on.
        work: folder of checkpoints.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        seconds: ends the run sooner.
        every: steps between checkpoints.
    """
    model = build().to(x.device, memory_format=torch.channels_last)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, Figures]:
        pictures = _draw(x, rng, batch)
        pictures = pictures if step % 2 else pictures.flip(-1)
        posterior = model.encode(pictures).latent_dist
        error = model.decode(posterior.sample()).sample - pictures
        squared, kl = error.pow(2).mean(), posterior.kl().mean()
        value = error.abs().mean() + 4.0 * squared + 0.5 * _edges(error) + KL_WEIGHT * kl
        return value, {"psnr": _psnr_db(squared), "kl": kl.detach()}

    return fit(model, loss, work, steps=steps, lr=lr, seconds=seconds, every=every, warmup=200, weight_decay=1e-3)


@torch.no_grad()
def round_trip(vae: AutoencoderKL, images: NDArray[np.uint8], batch: int = 50) -> NDArray[np.uint8]:
    """Encodes to the mode and decodes again, as uint8; (N, H, W, 3) both."""
    out = []
    for i in range(0, len(images), batch):
        x = pixels(channels_first(images[i : i + batch]).to(vae.device))
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample
        out.append(((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(out)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean over pictures of the peak signal-to-noise ratio, in dB."""
    mse = F.mse_loss(torch.tensor(a).float(), torch.tensor(b).float(), reduction="none").flatten(1).mean(1)
    return float((10 * torch.log10(255**2 / mse.clamp(min=1e-6))).mean())


def polish_decoder(
    vae: AutoencoderKL,
    x: torch.Tensor,
    work: Path,
    *,
    steps: int = 1500,
    batch: int = 16,
    lr: float = 4e-4,
    seconds: float = math.inf,
    every: int = 250,
) -> AutoencoderKL:
    """Trains the decoder alone on the frozen encoder's modes, so that latents, and the U-Net on them, stay valid.

    The loss is mostly squared error, which is what PSNR counts, and edges, which is what the eye sees. Arguments as of
    `train`.
    """
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    vae = vae.to(x.device, memory_format=torch.channels_last)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, Figures]:
        pictures = _draw(x, rng, batch)
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.mode()
        error = vae.decode(latents + 0.05 * latents.std() * torch.randn_like(latents)).sample - pictures
        squared = error.pow(2).mean()
        value = 20.0 * squared + 0.5 * error.abs().mean() + 0.5 * _edges(error)
        return value, {"psnr": _psnr_db(squared)}

    return fit(vae, loss, work, steps=steps, lr=lr, seconds=seconds, every=every, warmup=100, weight_decay=1e-3)
