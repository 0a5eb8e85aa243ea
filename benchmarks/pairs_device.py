"""Pairs a second of full-size architectures with random weights on an accelerator, batch by batch.

    python benchmarks/pairs_device.py sd15 --batches 1 2 4 8 16 --out pairs_sd15.json

Compares `render_pairs` with diffusers' own pipeline, which renders the same two pictures of each pair without sharing
anything (its stock ancestral sampler), and states the share of the chip's peak that the U-Net's matrix products and
convolutions reach. Random weights take the same time as trained ones.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from benchmarks.chips import SD15, peak_of
from limbeck.models.diffusers_loading import LoadedPipeline
from limbeck.models.image_diffusers import DiffusersImageModel
from limbeck.models.roles import PairRequest

SDXL = {
    "sample_size": 128, "cross_attention_dim": 2048, "block_out_channels": (320, 640, 1280),
    "attention_head_dim": (5, 10, 20), "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
VAE = {
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
}  # fmt: skip


def tokenizer() -> CLIPTokenizer:
    """Bytes only; as long as CLIP's."""
    symbols = [chr(c) for c in range(33, 127)]
    tokens = [*symbols, *(s + "</w>" for s in symbols), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=77)


def text_config(width: int, layers: int, heads: int, projection: int) -> CLIPTextConfig:
    """CLIP's text towers: ViT-L/14 and ViT-bigG/14."""
    return CLIPTextConfig(
        hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
        projection_dim=projection, bos_token_id=49406, eos_token_id=49407,
    )  # fmt: skip


def pipeline(architecture: str, device: torch.device, dtype: torch.dtype) -> diffusers.DiffusionPipeline:
    """A pipeline of full size with random weights."""
    scheduler = diffusers.EulerAncestralDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
    )
    with torch.device(device):
        vae = diffusers.AutoencoderKL(**VAE)
        text = CLIPTextModel(text_config(768, 12, 12, 768))
        if architecture == "sd15":
            pipe = diffusers.StableDiffusionPipeline(
                vae=vae, text_encoder=text, tokenizer=tokenizer(), unet=diffusers.UNet2DConditionModel(**SD15),
                scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
            )  # fmt: skip
        else:
            pipe = diffusers.StableDiffusionXLPipeline(
                vae=vae, text_encoder=text, text_encoder_2=CLIPTextModelWithProjection(text_config(1280, 32, 20, 1280)),
                tokenizer=tokenizer(), tokenizer_2=tokenizer(), unet=diffusers.UNet2DConditionModel(**SDXL),
                scheduler=scheduler,
            )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device, dtype)


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median time of a call, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])[repeats // 2]


def requests(count: int) -> list[PairRequest]:
    """Pairs with shared fractions and guidance scales over the paper's ranges."""
    return [
        PairRequest(
            "a red ball on the grass", "a blue ball on the grass", i, 0.1 + 0.8 * (i + 0.5) / count, 7.5 + i % 8
        )
        for i in range(count)
    ]


@torch.inference_mode()
def stock(pipe: diffusers.DiffusionPipeline, pairs: list[PairRequest], steps: int) -> None:
    """diffusers' own pipeline on the captions of the pairs."""
    prompts = [p for r in pairs for p in (r.source_prompt, r.target_prompt)]
    pipe(prompts, num_inference_steps=steps, guidance_scale=pairs[0].guidance_scale)


def operations(model: DiffusersImageModel, pairs: list[PairRequest], steps: int) -> float:
    """FLOPs of rendering a batch: text and VAE once, the U-Net at every step."""
    counts = []
    for some in (1, 2):
        with FlopCounterMode(display=False) as counter:
            model.render_pairs(pairs, steps=some)
        counts.append(counter.get_total_flops())
    return counts[0] + (steps - 1) * (counts[1] - counts[0])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architecture", choices=("sd15", "sdxl"))
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    peak = peak_of(name)
    pipe = pipeline(args.architecture, device, getattr(torch, args.dtype))
    rows = []
    plain = dict(pipe.unet.attn_processors)
    for batch in args.batches:
        pairs = requests(batch)
        pipe.unet.set_attn_processor(dict(plain))
        theirs = seconds(lambda pairs=pairs: stock(pipe, pairs, args.steps), device, args.repeats)
        model = DiffusersImageModel(LoadedPipeline(pipe, "random", None))
        ours = seconds(
            lambda pairs=pairs, model=model: model.render_pairs(pairs, steps=args.steps), device, args.repeats
        )
        row = {
            "pairs_in_batch": batch,
            "pairs_a_second": {"limbeck": batch / ours, "diffusers": batch / theirs},
            "gain": theirs / ours,
        }
        if peak:
            row["share_of_peak"] = operations(model, pairs, args.steps) / ours / peak
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.out:
        args.out.write_text(json.dumps({"device": name, "settings": vars(args), "rows": rows}, indent=1, default=str))


if __name__ == "__main__":
    main()
