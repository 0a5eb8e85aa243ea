"""Checks of an image model: noise and attention are shared as InstructPix2Pix shares them, in whatever company."""

from __future__ import annotations

import numpy as np
import torch

from limbeck.models.image_diffusers import DiffusersImageModel
from limbeck.models.noise import standard_normal
from limbeck.models.roles import PairRequest
from limbeck.models.shared_attention import SharedAttentionProcessor, Sharing
from limbeck.storybook.source import rows
from limbeck.verification import Check

_STEPS = 4
_GUIDANCE = 3.0
_LEVELS = {torch.float32: 1}
"""Greatest difference in grey levels of the same picture in another company; half precision rounds by batch."""
_HALF_LEVELS = 24
_SAME = {torch.float32: 1e-4}
_HALF_SAME = 0.05


def checks(model: DiffusersImageModel, role: str) -> tuple[str, list[Check]]:
    """How it runs, and what was found."""
    captions = [row["caption"] for row in rows(4, 11, things=1)]
    dtype = model.renderer.pipe.unet.dtype
    requests = [
        PairRequest(captions[0], captions[1], 11, 0.9, _GUIDANCE),
        PairRequest(captions[1], captions[2], 2**63 + 5, 0.2, _GUIDANCE),
        PairRequest(captions[2], captions[3], 3, 0.5, 1.0),
        PairRequest(captions[3], captions[3], 4, 0.0, _GUIDANCE),
    ]
    together = model.render_pairs(requests, steps=_STEPS)
    alone = [model.render_pairs([request], steps=_STEPS)[0] for request in requests]
    levels, same = _LEVELS.get(dtype, _HALF_LEVELS), _SAME.get(dtype, _HALF_SAME)
    company = max(
        _levels(a, b) for pair, one in zip(together, alone, strict=True) for a, b in zip(pair, one, strict=True)
    )
    noise = _levels(*together[3])
    spread = min(float(np.std(np.asarray(picture))) for pair in together for picture in pair)
    other = model.render_pairs([PairRequest(captions[3], captions[3], 5, 0.0, _GUIDANCE)], steps=_STEPS)[0][0]
    shared, control = _against_copied_logits(model, captions)
    return f"{str(dtype).removeprefix('torch.')} on {model.renderer.pipe._execution_device}", [
        Check("a pair alone and in a batch", company <= levels, f"{company} of 255", f"at most {levels}"),
        Check("the same caption twice, without shared attention: noise is shared at every step", noise <= levels,
              f"{noise} of 255", f"at most {levels}"),
        Check("shared queries and keys against copied logits, one step", shared <= same and control > 10 * shared,
              f"{shared:.1e} of the spread; {control:.1e} without sharing", f"at most {same:g}, a tenth of without"),
        Check("pictures, and another seed another one", spread > 1 and _levels(together[3][0], other) > 1,
              f"spread {spread:.0f} of 255, another seed {_levels(together[3][0], other)} away", "more than 1 each"),
    ]  # fmt: skip


def _levels(a: object, b: object) -> int:
    """Largest difference in grey levels."""
    return int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())


@torch.inference_mode()
def _against_copied_logits(model: DiffusersImageModel, captions: list[str]) -> tuple[float, float]:
    """Largest difference of one denoising step, in standard deviations: to copied logits, and to no sharing at all."""
    made, seeds = model.renderer, [1, 2]
    device = made.pipe._execution_device
    side = made.size // made.pipe.vae_scale_factor
    prompts = [captions[0], captions[1], captions[2], captions[3]]  # two sources, then their targets

    def step(fractions: list[float]) -> torch.Tensor:
        guidance = torch.full((4,), _GUIDANCE, device=device)
        denoise = made._denoiser(prompts, guidance, _STEPS, torch.tensor(fractions))
        noise = standard_normal(seeds, 0, (made.pipe.unet.config.in_channels, side, side)).to(device).repeat(2, 1, 1, 1)
        return denoise(noise * (denoise.sigmas[0] ** 2 + 1).sqrt(), 0)

    ours, without = step([1.0, 0.0]), step([0.0, 0.0])  # the first pair shares, the second doesn't
    made.pipe.unet.set_attn_processor(CopiedLogits())
    try:
        copied = step([1.0, 0.0])
    finally:
        made.pipe.unet.set_attn_processor(SharedAttentionProcessor())
        made.pipe.maybe_free_model_hooks()
    spread = float(copied.std())
    return tuple(float((found - copied).abs().max()) / spread for found in (ours, without))


class CopiedLogits:
    """Attention with its logits written out, the source's copied over the target's: what sharing has to equal."""

    def __call__(
        self,
        attn: torch.nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        sharing: Sharing | None = None,
    ) -> torch.Tensor:
        """Attends; `hidden_states` is (N, S, C), rows as in `limbeck.models.shared_attention`."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            project(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for project, x in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        logits = query @ key.transpose(-1, -2) * attn.scale  # (N, heads, S, S)
        if encoder_hidden_states is None and sharing is not None:
            by_side = logits.unflatten(0, (-1, 2, sharing.pairs))  # (halves, side, pairs, ...)
            by_side[:, 1, : sharing.shared] = by_side[:, 0, : sharing.shared]
        mixed = (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor
