"""`mini:diffusion`: a U-Net of about 4M parameters on the autoencoder's latents, as a `StableDiffusionPipeline`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from distill.miniatures.bank import Bank
from distill.miniatures.loop import Figures, fit
from distill.miniatures.text import token_ids
from distill.miniatures.vae import LATENT_CHANNELS, pixels

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


def build() -> UNet2DConditionModel:
    """A fresh U-Net with cross-attention at both levels."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(96, 128),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,  # the number of heads, despite its name in diffusers
        norm_num_groups=16,
    )


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's own noise schedule, with v-prediction."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction",
    )


@torch.no_grad()
def latents_of(vae: AutoencoderKL, x: torch.Tensor, batch: int = 100) -> torch.Tensor:
    """Scaled latents of pictures.

    Args:
        vae: finished, on the pictures' device.
        x: (N, 3, 64, 64) uint8.
        batch: pictures at a time.

    Returns:
        (N, 16, 8, 8) float32, modes times the scaling factor.
    """
    parts = [vae.encode(pixels(x[i : i + batch])).latent_dist.mode() for i in range(0, len(x), batch)]
    return torch.cat(parts) * vae.config.scaling_factor


class Pair(nn.Module):
    """U-Net and text encoder, trained together."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text = unet, text


def train(
    bank: Bank,
    latents: torch.Tensor,
    tokenizer: CLIPTokenizer,
    text: CLIPTextModel,
    work: Path,
    *,
    steps: int = 8000,
    batch: int = 48,
    lr: float = 1e-3,
    uncaptioned: float = 0.1,
    decay: float = 0.4,
    ema: float = 0.9995,
    seconds: float = math.inf,
    every: int = 250,
) -> Pair:
    """Trains on scaled latents with the mean squared error of v.

    Args:
        bank: pictures and scenes; only the captions are read here.
        latents: (N, 16, 8, 8), already multiplied by the scaling factor, on the device to train on.
        tokenizer: of the captions.
        text: the text encoder, which has learnt to read.
        work: folder of checkpoints.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        uncaptioned: share of captions replaced by the empty one, for classifier-free guidance.
        decay: share of the run over which the rate falls to zero.
        ema: decay of the moving average.
        seconds: ends the run sooner.
        every: steps between checkpoints.
    """
    device = latents.device
    model = Pair(build(), text).to(device)
    ids = token_ids(tokenizer, bank.captions).to(device)
    empty = token_ids(tokenizer, [""])[0].to(device)
    alphas = scheduler().alphas_cumprod.to(device)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, Figures]:
        chosen = torch.from_numpy(rng.integers(len(latents), size=batch)).to(device)
        bare = torch.from_numpy(rng.random(batch) < uncaptioned).to(device)
        # one timestep in each of `batch` equal strata: the same mean with less variance
        t = torch.from_numpy(((np.arange(batch) + rng.random(batch)) / batch * 1000).astype(np.int64)).to(device)
        x0, tokens = latents[chosen], torch.where(bare[:, None], empty, ids[chosen])
        a = alphas[t].view(-1, 1, 1, 1)
        noise = torch.randn_like(x0)
        noisy, v = a.sqrt() * x0 + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x0
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            states = model.text(input_ids=tokens).last_hidden_state
            out = model.unet(noisy, t, encoder_hidden_states=states).sample
        return F.mse_loss(out.float(), v), {}

    average = fit(model, loss, work, steps=steps, lr=lr, seconds=seconds, every=every, warmup=300, decay=decay, ema=ema)
    assert isinstance(average, Pair)
    return average


def save_pipeline(folder: Path, vae: AutoencoderKL, pair: Pair, tokenizer: CLIPTokenizer, *, half: bool = True) -> None:
    """Writes a `StableDiffusionPipeline` folder, in fp16 unless told otherwise."""
    import copy

    from diffusers import StableDiffusionPipeline

    dtype = torch.float16 if half else torch.float32
    unet, text, vae = (copy.deepcopy(m).to(dtype) for m in (pair.unet, pair.text, vae))
    StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text,
        tokenizer=tokenizer,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)


def write_world(folder: Path) -> None:
    """Writes `world.json`: the words the painter knows, so that it can refuse others."""
    import json

    from limbeck.storybook.grammar import words

    (folder / "world.json").write_text(json.dumps({"words": words()}, indent=1) + "\n")
