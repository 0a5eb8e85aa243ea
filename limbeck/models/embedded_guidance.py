"""An InstructPix2Pix pipeline whose U-Net reads both guidance scales as an input: any scales, one pass a step.

The stock pipeline has no such input. Here each call of the U-Net gets it, and guidance by branches is left out.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline

from limbeck.models.editing import scale_embedding


class EmbeddedGuidancePix2PixPipeline(StableDiffusionInstructPix2PixPipeline):
    """Called like the stock pipeline; `guidance_scale` and `image_guidance_scale` go into the U-Net.

    The U-Net's `time_cond_proj_dim` is the width of both scales' embedding.
    """

    def __call__(self, *args: Any, guidance_scale: float = 7.5, image_guidance_scale: float = 1.5, **named: Any) -> Any:
        """Edits; see the stock pipeline for the other arguments."""

        def with_scales(module: torch.nn.Module, positional: tuple[Any, ...], given: dict[str, Any]) -> Any:
            rows = positional[0]
            text, image = (
                rows.new_full((len(rows),), v, dtype=torch.float32) for v in (guidance_scale, image_guidance_scale)
            )
            width = self.unet.config.time_cond_proj_dim
            return positional, given | {"timestep_cond": scale_embedding(text, image, width, rows.dtype)}

        hook = self.unet.register_forward_pre_hook(with_scales, with_kwargs=True)
        try:
            return super().__call__(*args, guidance_scale=1.0, image_guidance_scale=1.0, **named)
        finally:
            hook.remove()
