"""Text as a U-Net of the SD 1.5 or SDXL class reads it: every distinct prompt is encoded once and remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import DiffusionPipeline

_ENCODER_BATCH = 32
_REMEMBERED = 1024


@dataclass(frozen=True)
class TextConditioning:
    """What the U-Net is told, one row a picture.

    Attributes:
        hidden: (N, S, C) token embeddings.
        pooled: (N, D) embedding of the whole text; SDXL only.
    """

    hidden: torch.Tensor
    pooled: torch.Tensor | None

    def __add__(self, other: TextConditioning) -> TextConditioning:
        """This one's rows, then the other's."""
        pooled = None if self.pooled is None else torch.cat([self.pooled, other.pooled])
        return TextConditioning(torch.cat([self.hidden, other.hidden]), pooled)


class TextEncoder:
    """Encodes prompts with a pipeline's own `encode_prompt`, so both tokenizers and text encoders of SDXL are used."""

    def __init__(self, pipe: DiffusionPipeline) -> None:
        self._pipe = pipe
        self._is_xl = getattr(pipe, "text_encoder_2", None) is not None
        self._known: OrderedDict[str, tuple[torch.Tensor, torch.Tensor | None]] = OrderedDict()
        self._negative: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def __call__(self, prompts: Sequence[str]) -> TextConditioning:
        """Embeddings of the prompts, in their order."""
        unknown = [p for p in dict.fromkeys(prompts) if p not in self._known]
        fresh = {}
        for start in range(0, len(unknown), _ENCODER_BATCH):
            some = unknown[start : start + _ENCODER_BATCH]
            fresh |= zip(some, zip(*self._encode(some), strict=True), strict=True)
        rows = [fresh[p] if p in fresh else self._known[p] for p in prompts]
        self._remember(fresh)
        return _stack(rows)

    def negative(self, count: int) -> TextConditioning:
        """The empty negative prompt `count` times; zeros where the pipeline's config says so (SDXL base)."""
        if self._negative is None:
            hidden, pooled = self._encode([""], negative=True)
            self._negative = hidden[0], pooled[0]
        return _stack([self._negative] * count)

    def token_count(self, prompt: str) -> tuple[int, int]:
        """(tokens of the prompt with its start and end marks, tokens the model reads)."""
        tokenizer = self._pipe.tokenizer or self._pipe.tokenizer_2
        return len(tokenizer(prompt, truncation=False, verbose=False).input_ids), tokenizer.model_max_length

    def _encode(self, prompts: list[str], negative: bool = False) -> tuple[Sequence, Sequence]:
        """(hidden, pooled) of some prompts; `pooled` is a sequence of None for SD 1.5."""
        device = self._pipe._execution_device
        if self._is_xl:
            hidden, zero, pooled, zero_pooled = self._pipe.encode_prompt(
                prompt=prompts, device=device, do_classifier_free_guidance=negative
            )
            return (zero, zero_pooled) if negative else (hidden, pooled)
        hidden, zero = self._pipe.encode_prompt(prompts, device, 1, do_classifier_free_guidance=negative)
        return (zero if negative else hidden), [None] * len(prompts)

    def _remember(self, fresh: dict[str, tuple[torch.Tensor, torch.Tensor | None]]) -> None:
        """Keeps the latest prompts; a prompt comes back for each of its samples."""
        self._known |= fresh
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)


def _stack(rows: Sequence[tuple[torch.Tensor, torch.Tensor | None]]) -> TextConditioning:
    hidden = torch.stack([hidden for hidden, _ in rows])
    pooled = None if rows[0][1] is None else torch.stack([pooled for _, pooled in rows])
    return TextConditioning(hidden, pooled)
