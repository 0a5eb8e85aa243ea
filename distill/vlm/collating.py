"""Conversations to one batch of tensors: ids padded on the right, and the places of what is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from distill.student import Batch
from distill.vlm.asking import picture
from distill.vlm.top_tokens import LOGPROBS, TAIL, TOP
from distill.vlm.words import Encoded, Words

if TYPE_CHECKING:
    from limbeck.models.preprocess import Preprocess


@dataclass(frozen=True)
class Conversation:
    """One conversation, and what is learnt from it.

    Attributes:
        row_id: the row it comes from, for messages.
        encoded: its ids.
        images: its pictures, in the order in which it shows them.
        labelled: whether the ids of its answers are learnt.
        target: the teacher's likeliest tokens at the places of its answers, or None.
    """

    row_id: str
    encoded: Encoded
    images: Sequence[bytes]
    labelled: bool
    target: Mapping[str, NDArray[Any]] | None = None


def collated(conversations: Sequence[Conversation], words: Words, pixels: Preprocess) -> Batch:
    """A batch.

    Returns:
        `input_ids`, `attention_mask` (B, T); `pixel_values` (N, 3, S, S), all pictures in order; `keep` (P,), the
        places whose logits any row needs; `answer_at` (L, 2), row and index into `keep` of each label, and `answer_ids`
        (L,); `taught_at` (M, 2) alike for what the teacher says, with `top_ids` and `top_logprobs` (M, k) and `tail` (M,).

    Convention: the logits at a place speak of the token after it.
    """
    width = max((len(c.encoded) for c in conversations), default=1)
    ids = torch.full((max(1, len(conversations)), width), words.pad_id)
    there = torch.zeros_like(ids)
    there[:, 0] = 1  # also where every row was too long
    answer_at: list[tuple[int, int]] = []
    taught_at: list[tuple[int, int]] = []
    answer_ids: list[int] = []
    shown, targets = [], []
    for n, c in enumerate(conversations):
        ids[n, : len(c.encoded)] = torch.tensor(c.encoded.ids)
        there[n, : len(c.encoded)] = 1
        shown += [picture(data, c.row_id) for data in c.images]
        learnt = [i for i, learns in enumerate(c.encoded.learnt) if learns]
        if c.labelled:
            answer_at += [(n, i - 1) for i in learnt]
            answer_ids += [c.encoded.ids[i] for i in learnt]
        if c.target is not None:
            m = min(len(learnt), len(c.target[TAIL]))  # another row's target may be of another length
            taught_at += [(n, i - 1) for i in learnt[:m]]
            targets.append({name: value[:m] for name, value in c.target.items()})
    keep = sorted({place for _, place in (*answer_at, *taught_at)}) or [0]
    number = {place: i for i, place in enumerate(keep)}
    k = targets[0][TOP].shape[1] if targets else 1
    return {
        "input_ids": ids,
        "attention_mask": there,
        "pixel_values": pixels(shown)["pixel_values"] if shown else torch.zeros(0, 3, 1, 1),
        "keep": torch.tensor(keep),
        "answer_at": _pairs(answer_at, number),
        "answer_ids": torch.tensor(answer_ids, dtype=torch.long),
        "taught_at": _pairs(taught_at, number),
        "top_ids": _stacked(targets, TOP, (0, k)).long(),
        "top_logprobs": _stacked(targets, LOGPROBS, (0, k)).float(),
        "tail": _stacked(targets, TAIL, (0,)).float(),
    }


def _pairs(pairs: list[tuple[int, int]], number: dict[int, int]) -> torch.Tensor:
    return torch.tensor([(row, number[place]) for row, place in pairs], dtype=torch.long).reshape(-1, 2)


def _stacked(targets: list[dict[str, Any]], name: str, empty: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([t[name] for t in targets]) if targets else np.zeros(empty, np.float32))


def logits_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    """(B, P, V) logits at the places of `keep`; one forward pass of a `LlavaForConditionalGeneration`, or a wrapped one."""
    pixels = batch["pixel_values"]
    return model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        pixel_values=pixels if len(pixels) else None,
        logits_to_keep=batch["keep"],
        use_cache=False,
    ).logits


def cross_entropy(logits: torch.Tensor, batch: Batch, vocabulary: int) -> torch.Tensor:
    """(L,) of each learnt token, float32; rows of the output past the tokens that exist are left out."""
    rows, places = batch["answer_at"].unbind(-1)
    said = logits[rows, places][:, :vocabulary].float()
    return F.cross_entropy(said, batch["answer_ids"], reduction="none")


@torch.inference_mode()
def likelihood(
    model: nn.Module, words: Words, pixels: Preprocess, conversations: Sequence[Conversation], batch: int = 32
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) negative log-likelihood of each conversation's answers, and (N,) how many tokens those have."""
    device = next(model.parameters()).device
    nll, tokens = np.zeros(len(conversations)), np.zeros(len(conversations))
    order = sorted(range(len(conversations)), key=lambda n: len(conversations[n].encoded))
    for start in range(0, len(order), batch):
        chosen = np.array(order[start : start + batch])
        tensors = {k: v.to(device) for k, v in collated([conversations[n] for n in chosen], words, pixels).items()}
        each = cross_entropy(logits_of(model, tensors), tensors, len(words)).cpu().numpy()
        rows = chosen[tensors["answer_at"][:, 0].cpu().numpy()]
        np.add.at(nll, rows, each)
        np.add.at(tokens, rows, 1)
    return nll, tokens
