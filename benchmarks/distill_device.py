"""Training steps of full-size students with random weights on an accelerator: rate, memory, share of the chip's peak.

    python -m benchmarks.distill_device --out distill_device.json

Random weights and random batches take the same time as real ones. Every line is one architecture of the full-size
recipes: caching an encoder's teacher, and training steps (forward, backward, AdamW, EMA) of encoder, editor, guidance
distillation of the editor, VLM, and motion magnifier. Model FLOPs are counted once by torch's counter, in the forward and backward pass.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.chips import SD15, peak_of

VLM_TOKENS = 512
Step = Callable[[], torch.Tensor]
"""One forward pass: the loss."""


def _vision(width: int, layers: int, heads: int, patch: int, projection: int) -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
            image_size=224, patch_size=patch, projection_dim=projection,
        )
    )  # fmt: skip


def teacher_cache(batch: int) -> tuple[nn.Module, Step]:
    """CLIP ViT-L/14's picture tower, forward only."""
    teacher = _vision(1024, 24, 16, 14, 768).requires_grad_(False)
    pictures = torch.randn(batch, 3, 224, 224)
    return teacher, lambda: teacher(pixel_values=pictures).image_embeds


def encoder(batch: int) -> tuple[nn.Module, Step]:
    """ViT-S/16 towards cached embeddings and a bank of 1,000 cached texts."""
    student = _vision(384, 12, 6, 16, 768)
    pictures, wanted, bank = torch.randn(batch, 3, 224, 224), torch.randn(batch, 768), torch.randn(1000, 768)
    wanted, bank = F.normalize(wanted, dim=-1), F.normalize(bank, dim=-1)

    def step() -> torch.Tensor:
        found = F.normalize(student(pixel_values=pictures).image_embeds.float(), dim=-1)
        soft = (100 * wanted @ bank.T).softmax(-1)
        return 1 - (found * wanted).sum(-1).mean() - (soft * (100 * found @ bank.T).log_softmax(-1)).sum(-1).mean()

    return student, step


def _editing_unet() -> nn.Module:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**{**SD15, "in_channels": 8, "sample_size": 32})


def editor(batch: int) -> tuple[nn.Module, Step]:
    """Stable Diffusion 1.5's U-Net with 8 input channels at 256 px, towards the noise."""
    unet = _editing_unet()
    noisy, noise, text = torch.randn(batch, 8, 32, 32), torch.randn(batch, 4, 32, 32), torch.randn(batch, 77, 768)
    times = torch.randint(0, 1000, (batch,))
    return unet, lambda: F.mse_loss(unet(noisy, times, text).sample.float(), noise)


def guidance(batch: int) -> tuple[nn.Module, Step]:
    """The same as student, towards three evaluations of a frozen teacher."""
    unet = _editing_unet()
    teacher = copy.deepcopy(unet).requires_grad_(False)
    noisy, text, times = torch.randn(batch, 8, 32, 32), torch.randn(batch, 77, 768), torch.randint(0, 1000, (batch,))

    def step() -> torch.Tensor:
        with torch.no_grad():
            whole, picture, bare = (
                teacher(noisy.repeat(3, 1, 1, 1), times.repeat(3), text.repeat(3, 1, 1)).sample.float().chunk(3)
            )
        wanted = bare + 1.5 * (picture - bare) + 7.5 * (whole - picture)
        return F.mse_loss(unet(noisy, times, text).sample.float(), wanted)

    return nn.ModuleDict({"student": unet, "teacher": teacher}), step


_SMOLLM2 = {
    "135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
    },
    "360M": {
        "hidden_size": 960,
        "intermediate_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 15,
        "num_key_value_heads": 5,
    },
}


def vlm(batch: int, size: str) -> tuple[nn.Module, Step]:
    """LLaVA from SigLIP-B/16 (frozen) and a Llama of SmolLM2's shape; 196 picture and 316 text tokens."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, SiglipVisionConfig

    vision = SiglipVisionConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    words = LlamaConfig(vocab_size=49280, tie_word_embeddings=True, max_position_embeddings=2048, **_SMOLLM2[size])
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision, text_config=words, image_token_id=49279, vision_feature_select_strategy="full"
        )
    )
    model.model.vision_tower.requires_grad_(False)
    ids = torch.randint(0, 49000, (batch, VLM_TOKENS))
    ids[:, :196] = 49279
    labels = ids.clone()
    labels[:, :256] = -100
    pictures = torch.randn(batch, 3, 224, 224)
    return model, lambda: model(input_ids=ids, pixel_values=pictures, labels=labels).loss


def magnifier(batch: int) -> tuple[nn.Module, Step]:
    """The motion magnifier of recipes/distill-motion-full.toml, on crops of 256 px."""
    from limbeck.motion.magnifier import Magnifier, MagnifierConfig

    student = Magnifier(MagnifierConfig(rings=(1, 3, 8), bound_px=30.0))
    first, second, target = (torch.rand(batch, 3, 256, 256) for _ in range(3))
    gain = 1 + 50 * torch.rand(batch)
    return student, lambda: F.l1_loss(student(first, second, gain).float(), target)


CASES: dict[str, tuple[Callable[[int], tuple[nn.Module, Step]], int]] = {
    "teacher cache, CLIP ViT-L/14": (teacher_cache, 256),
    "encoder, ViT-S/16": (encoder, 512),
    "editor, SD 1.5 at 256 px": (editor, 64),
    "guidance distillation, SD 1.5 at 256 px": (guidance, 48),
    "VLM, SigLIP-B/16 and 135M": (partial(vlm, size="135M"), 32),
    "VLM, SigLIP-B/16 and 360M": (partial(vlm, size="360M"), 32),
    "motion magnifier, 256 px": (magnifier, 16),
}


def measure(name: str, device: torch.device, scale: float, steps: int) -> Iterator[tuple[str, Any]]:
    """Figures of one case."""
    build, batch = CASES[name]
    batch = max(1, int(batch * scale))
    with torch.device(device):
        model, forward = build(batch)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-5, fused=device.type == "cuda") if trained else None
    average = [p.detach().clone() for p in trained]

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16), torch.set_grad_enabled(bool(trained)):
            loss = forward()
        if optimiser:
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            torch._foreach_lerp_(average, [p.detach() for p in trained], 0.001)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()
    try:
        with FlopCounterMode(display=False) as counter:
            step()
        flops = counter.get_total_flops()
    except AssertionError:  # torch 2.11's counter doesn't know grouped queries
        flops = 6 * batch * VLM_TOKENS * sum(p.numel() for p in trained)
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    seconds = (time.perf_counter() - start) / steps
    yield "batch", batch
    yield "trained_parameters_millions", round(sum(p.numel() for p in trained) / 1e6, 1)
    yield "items_a_second", round(batch / seconds, 1)
    yield "model_tflops_a_second", round(flops / seconds / 1e12, 1)
    if device.type == "cuda":
        yield "memory_gib", round(torch.cuda.max_memory_allocated() / 2**30, 1)
        if peak := peak_of(torch.cuda.get_device_name(device)):
            yield "share_of_peak", round(flops / seconds / peak, 3)


def main() -> None:
    """Measures and prints, case by case; one that fails is told and the next begins."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on every batch")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), metavar="CASE")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"}
    for name in args.cases:
        try:
            found[name] = dict(measure(name, device, args.scale, args.steps))
        except Exception as error:
            traceback.print_exc()
            found[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps({name: found[name]}), flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        if args.out:
            args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
