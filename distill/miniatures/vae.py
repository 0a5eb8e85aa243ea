"""`mini:diffusion`'s autoencoder: 64 x 64 x 3 to 8 x 8 x 16 and back, an `AutoencoderKL`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from distill.miniatures.bank import Bank
from distill.miniatures.loop import fit

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


def pixels(images: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(bank: Bank, work: Path, *, steps: int = 2000, batch: int = 16, lr: float = 1e-3) -> AutoencoderKL:
    """Trains on flipped and plain pictures: L1 + L2 of pixels, L1 of finite differences (edges), a little KL."""
    model = build().to(memory_format=torch.channels_last)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        images = bank.images[np.sort(rng.integers(len(bank.images), size=batch))]
        x = pixels(images[:, :, :: 1 if step % 2 else -1]).contiguous(memory_format=torch.channels_last)
        posterior = model.encode(x).latent_dist
        y = model.decode(posterior.sample()).sample
        error = y - x
        edges = (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()) / 2
        squared = error.pow(2).mean()
        kl = posterior.kl().mean()
        value = error.abs().mean() + 4.0 * squared + 0.5 * edges + KL_WEIGHT * kl
        return value, {"psnr": round(float(10 * np.log10(4 / squared.item())), 2), "kl": round(kl.item(), 1)}

    return fit(model, loss, work, steps=steps, lr=lr, warmup=200, weight_decay=1e-3)


@torch.no_grad()
def round_trip(vae: AutoencoderKL, images: NDArray[np.uint8], batch: int = 50) -> NDArray[np.uint8]:
    """Encodes to the mode and decodes again, as uint8."""
    out = []
    for i in range(0, len(images), batch):
        y = vae.decode(vae.encode(pixels(images[i : i + batch])).latent_dist.mode()).sample
        out.append(((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(out)


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Mean over pictures of the peak signal-to-noise ratio, in dB."""
    mse = F.mse_loss(torch.tensor(a).float(), torch.tensor(b).float(), reduction="none").flatten(1).mean(1)
    return float((10 * torch.log10(255**2 / mse.clamp(min=1e-6))).mean())


def polish_decoder(vae: AutoencoderKL, bank: Bank, work: Path, *, steps: int = 1500, batch: int = 16) -> AutoencoderKL:
    """Trains the decoder alone on the frozen encoder's modes, so that latents, and the U-Net on them, stay valid.

    The loss is mostly squared error, which is what PSNR counts, and edges, which is what the eye sees.
    """
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    vae = vae.to(memory_format=torch.channels_last)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        images = bank.images[np.sort(rng.integers(len(bank.images), size=batch))]
        x = pixels(images).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            latents = vae.encode(x).latent_dist.mode()
        y = vae.decode(latents + 0.05 * latents.std() * torch.randn_like(latents)).sample
        error = y - x
        squared = error.pow(2).mean()
        edges = (error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()) / 2
        value = 20.0 * squared + 0.5 * error.abs().mean() + 0.5 * edges
        return value, {"psnr": round(float(10 * np.log10(4 / squared.item())), 2)}

    return fit(vae, loss, work, steps=steps, lr=4e-4, warmup=100, weight_decay=1e-3)
