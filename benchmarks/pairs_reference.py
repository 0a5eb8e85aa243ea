"""The pair renderer of InstructPix2Pix as published: dense logits, one pair a batch, ancestral Euler, 100 steps.

The yardstick of `pairs_speed.py` and the oracle of the parity tests; written to do what the reference does, not to be
fast. It shares no code with `limbeck.models`.

Source: Brooks et al. 2023 (arXiv 2211.09800), section 3.1.2, and the generator published with it.
Differs: the noise can be given, so that a run can be compared with another implementation's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from diffusers.models.attention_processor import Attention
from PIL import Image

STEPS, SAMPLES = 100, 100
SHARED_FRACTION, GUIDANCE_SCALE = (0.1, 0.9), (7.5, 15.0)

Draw = Callable[[int, tuple[int, ...]], torch.Tensor]


class DenseLogits:
    """Attention that materialises its logits and, while `share`, copies the source's over the target's.

    Convention: four rows: unconditional source and target, conditional source and target.
    """

    def __init__(self) -> None:
        self.share = False

    def __call__(self, attn: Attention, hidden_states: torch.Tensor, encoder_hidden_states=None, **_) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(t) for t in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        logits = torch.einsum("bid,bjd->bij", query, key) * attn.scale
        if self.share and encoder_hidden_states is None:
            without_source, _, with_source, _ = logits.chunk(4)
            logits = torch.cat([without_source, without_source, with_source, with_source])
        mixed = attn.batch_to_head_dim(torch.einsum("bij,bjd->bid", logits.softmax(dim=-1), value))
        return attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor


def use_dense_logits(pipe: StableDiffusionPipeline) -> None:
    """Gives every attention of the U-Net its own `DenseLogits`."""
    for module in pipe.unet.modules():
        if isinstance(module, Attention):
            module.set_processor(DenseLogits())


def sigmas_of(pipe: StableDiffusionPipeline, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(times, sigmas) evenly spaced in time, log-interpolated, with a closing 0, as k-diffusion has them."""
    alphas = pipe.scheduler.alphas_cumprod.double().clamp(min=2**-24)
    levels = ((1 - alphas) / alphas).sqrt().log()
    times = torch.linspace(len(levels) - 1, 0, steps, dtype=torch.float64)
    low, weight = times.floor().long(), times.frac()
    high = (low + 1).clamp(max=len(levels) - 1)
    sigmas = ((1 - weight) * levels[low] + weight * levels[high]).exp()
    return times.float(), torch.cat([sigmas, sigmas.new_zeros(1)]).float()


@torch.inference_mode()
def sample_latents(
    pipe: StableDiffusionPipeline,
    prompts: tuple[str, str],
    shared_fraction: float,
    guidance_scale: float,
    steps: int = STEPS,
    draw: Draw | None = None,
) -> torch.Tensor:
    """(2, C, H, W) latents of a pair; `pipe` has `DenseLogits` attention.

    Args:
        pipe: SD 1.5 class.
        prompts: captions of the before and the after picture.
        shared_fraction: the p of the paper.
        guidance_scale: of classifier-free guidance.
        steps: of the ancestral Euler sampler.
        draw: noise as a function of (step, shape), step 0 being the initial latent; torch's generator by default.
    """
    draw = draw or (lambda step, shape: torch.randn(shape, device=pipe.device))
    with_text, without = pipe.encode_prompt(list(prompts), pipe.device, 1, do_classifier_free_guidance=True)
    text = torch.cat([without, with_text])
    is_velocity = pipe.scheduler.config.prediction_type == "v_prediction"
    times, sigmas = sigmas_of(pipe, steps)
    side = pipe.unet.config.sample_size
    shape = (1, pipe.unet.config.in_channels, side, side)
    x = (draw(0, shape).to(pipe.device) * sigmas[0]).repeat(2, 1, 1, 1)
    for i in range(steps):
        for module in pipe.unet.modules():
            if isinstance(module, Attention):
                module.processor.share = shared_fraction > i / max(steps - 1, 1)
        sigma, following = sigmas[i], sigmas[i + 1]
        scaled = torch.cat([x, x]) / (sigma**2 + 1).sqrt()
        output = pipe.unet(scaled.to(pipe.unet.dtype), times[i].to(x.device), text).sample.float()
        if is_velocity:
            denoised = torch.cat([x, x]) / (sigma**2 + 1) - output * sigma / (sigma**2 + 1).sqrt()
        else:
            denoised = torch.cat([x, x]) - sigma * output
        low, high = denoised.chunk(2)
        guided = low + (high - low) * guidance_scale
        up = min(following, (following**2 * (sigma**2 - following**2) / sigma**2).sqrt())
        down = (following**2 - up**2).sqrt()
        x = x + (x - guided) / sigma * (down - sigma)
        if following > 0:
            x = x + draw(i + 1, shape).to(x.device) * up  # one draw, broadcast over the pair
    return x


@torch.inference_mode()
def decode(pipe: StableDiffusionPipeline, latents: torch.Tensor) -> list[Image.Image]:
    """Pictures of latents, one at a time."""
    pictures = []
    for one in latents.split(1):
        pixels = pipe.vae.decode(one.to(pipe.vae.dtype) / pipe.vae.config.scaling_factor).sample[0].float()
        pixels = (255 * ((pixels + 1) / 2).clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
        pictures.append(Image.fromarray(np.ascontiguousarray(pixels)))
    return pictures


def render_pair(
    pipe: StableDiffusionPipeline, prompts: tuple[str, str], seed: int, steps: int = STEPS
) -> tuple[Image.Image, Image.Image, float, float]:
    """One sample of the reference: (before, after, shared fraction, guidance scale), all drawn from the seed."""
    torch.manual_seed(seed)
    low, high = SHARED_FRACTION
    shared_fraction = low + torch.rand(()).item() * (high - low)
    low, high = GUIDANCE_SCALE
    guidance_scale = low + torch.rand(()).item() * (high - low)
    before, after = decode(pipe, sample_latents(pipe, prompts, shared_fraction, guidance_scale, steps))
    return before, after, shared_fraction, guidance_scale
