"""Tiny random-weight pipelines of the real architectures, written in the format that diffusers loads."""

from __future__ import annotations

from pathlib import Path

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer


def tokenizer(max_length: int = 77) -> CLIPTokenizer:
    """A CLIP tokenizer that knows single bytes only."""
    symbols = sorted({chr(c) for c in range(33, 127)} | {chr(c) for c in range(161, 256)})
    tokens = [*symbols, *(s + "</w>" for s in symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=max_length)


def text_config(words: int, projection: int = 16) -> CLIPTextConfig:
    """Two layers, 32 wide."""
    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=projection,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        hidden_act="gelu",
    )


def vae(channels: int = 4) -> diffusers.AutoencoderKL:
    """Factor 2."""
    return diffusers.AutoencoderKL(
        block_out_channels=[16, 16],
        in_channels=3,
        out_channels=3,
        latent_channels=channels,
        norm_num_groups=4,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
    )


def unet(cross: int, channels: int = 4, **more) -> diffusers.UNet2DConditionModel:
    """Two levels, attention at both; latents are 8 x 8."""
    return diffusers.UNet2DConditionModel(
        block_out_channels=(16, 32),
        sample_size=8,
        in_channels=channels,
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=cross,
        norm_num_groups=4,
        **({"attention_head_dim": 4, "out_channels": channels, "layers_per_block": 1} | more),
    )


def save_sd15(folder: Path, prediction: str = "epsilon", scheduler=None, channels: int = 4, **unet_config) -> Path:
    """A `StableDiffusionPipeline` of 16 px, sharpened so that guidance and text matter; returns the folder."""
    torch.manual_seed(0)
    words = tokenizer()
    scheduler = scheduler or diffusers.PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        steps_offset=1,
        skip_prk_steps=True,
    )
    diffusers.StableDiffusionPipeline(
        vae=vae(channels),
        text_encoder=CLIPTextModel(text_config(len(words))),
        tokenizer=words,
        unet=loud(unet(32, channels, **unet_config)),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_ip2p(folder: Path, scheduler=None, prediction: str = "epsilon", **unet_config) -> Path:
    """A `StableDiffusionInstructPix2PixPipeline` of 16 px whose source channels matter; returns the folder."""
    torch.manual_seed(0)
    words = tokenizer()
    scheduler = scheduler or diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        timestep_spacing="trailing",
        set_alpha_to_one=True,
        clip_sample=False,
    )
    diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(text_config(len(words))),
        tokenizer=words,
        unet=loud(unet(32, 8, **({"out_channels": 4} | unet_config))),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_sdxl(folder: Path, scheduler=None) -> Path:
    """A `StableDiffusionXLPipeline` of 16 px with two text encoders and time ids; returns the folder."""
    torch.manual_seed(0)
    words = tokenizer()
    config = text_config(len(words))
    scheduler = scheduler or diffusers.EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    diffusers.StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=CLIPTextModel(config),
        text_encoder_2=CLIPTextModelWithProjection(config),
        tokenizer=words,
        tokenizer_2=tokenizer(),
        scheduler=scheduler,
        unet=loud(
            unet(
                64,
                attention_head_dim=(2, 4),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 2),
                projection_class_embeddings_input_dim=6 * 8 + 16,
            )
        ),
    ).save_pretrained(folder)
    return folder


def loud(unet: torch.nn.Module) -> torch.nn.Module:
    """Random weights attend almost evenly; larger queries and keys make attention matter."""
    for name, weight in unet.named_parameters():
        if "attn1.to_q" in name or "attn1.to_k" in name:
            weight.data *= 4
    return unet.eval()
