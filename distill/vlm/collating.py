"""Conversations to one batch of tensors: ids padded on the right, and the places of what is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn
from transformers import DynamicCache

from distill.student import Batch
from distill.vlm import beginnings
from distill.vlm.asking import picture
from distill.vlm.top_tokens import LOGPROBS, TAIL, TOP
from distill.vlm.words import Encoded, Words

if TYPE_CHECKING:
    from PIL import Image

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


def collated(conversations: Sequence[Conversation], words: Words, pixels: Preprocess, share: bool = False) -> Batch:
    """A batch.

    Args:
        conversations: what is learnt.
        words: the tokenizer.
        pixels: the vision tower's preprocessing.
        share: whether conversations that begin with one picture share that beginning, see `distill.vlm.beginnings`.

    Returns:
        `input_ids`, `attention_mask` (B, T); `pixel_values` (N, 3, S, S), all pictures in order; `keep` (P,), the
        places whose logits any row needs. With something shared, `begin_ids` (F, T') and `begin_pixels` (N', 3, S, S),
        and for each group i of what follows them, short ones first, `after_ids_i` and `after_mask_i` (B', T''),
        `after_of_i` (B',), which they follow, and `after_keep_i` (P',).
        Of all those logits, row by row, the whole conversations first: `answer_at` (L,), which belong to a label,
        `answer_ids` (L,), which it is, `answer_of` (L,), in which conversation; `taught_at` (M,) alike for what the
        teacher says, with `top_ids` and `top_logprobs` (M, k) and `tail` (M,).

    Convention: the logits at a place speak of the token after it.
    """
    found = beginnings.NOTHING
    if share:
        every = [c.encoded.ids for c in conversations]
        found = beginnings.shared(every, [c.images for c in conversations], words.image_id)
    whole, after = _Rows(), []
    for n, c in enumerate(conversations):
        if n not in found.of:
            whole.add(n, c, 0)
    for group in beginnings.of_one_length(found, [len(c.encoded) for c in conversations]):
        after.append(_Rows())
        for n in group:
            after[-1].add(n, conversations[n], found.length)
    shown = [image for n in whole.numbers for image in _pictures(conversations[n])]
    ids, there, keep = whole.tensors(words.pad_id, at_least=0 if found.of else 1)
    batch = {"input_ids": ids, "attention_mask": there, "pixel_values": _pixels(shown, pixels), "keep": keep}
    if found.of:
        first = conversations[found.firsts[0]].encoded.ids[: found.length]
        shown = [image for n in found.firsts for image in _pictures(conversations[n])]
        batch |= {
            "begin_ids": torch.tensor(first).repeat(len(found.firsts), 1),
            "begin_pixels": _pixels(shown, pixels),
        }
    before, answers, taught = [len(batch["input_ids"]) * len(keep)], whole.flat(whole.answers), whole.flat(whole.taught)
    for i, rows in enumerate(after):
        ids, there, keep = rows.tensors(words.pad_id)
        of = torch.tensor([found.of[n] for n in rows.numbers])
        batch |= {f"after_ids_{i}": ids, f"after_mask_{i}": there, f"after_of_{i}": of, f"after_keep_{i}": keep}
        answers += rows.flat(rows.answers, sum(before))
        taught += rows.flat(rows.taught, sum(before))
        before.append(len(ids) * len(keep))
    every_part = [whole, *after]
    targets = [t for rows in every_part for t in rows.targets]
    k = targets[0][TOP].shape[1] if targets else 1
    return batch | {
        "answer_at": torch.tensor(answers, dtype=torch.long),
        "answer_ids": torch.tensor([i for rows in every_part for i in rows.answer_ids], dtype=torch.long),
        "answer_of": torch.tensor([r.numbers[row] for r in every_part for row, _ in r.answers], dtype=torch.long),
        "taught_at": torch.tensor(taught, dtype=torch.long),
        "top_ids": _stacked(targets, TOP, (0, k)).long(),
        "top_logprobs": _stacked(targets, LOGPROBS, (0, k)).float(),
        "tail": _stacked(targets, TAIL, (0,)).float(),
    }


class _Rows:
    """Rows that go through the model together, and their places whose logits are needed.

    Attributes:
        numbers: of the conversations.
        answers: row and place before each token that is learnt.
        answer_ids: those tokens.
        taught: row and place before each token that the teacher speaks of.
        targets: what it says, of each row that has a target.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.answers: list[tuple[int, int]] = []
        self.answer_ids: list[int] = []
        self.taught: list[tuple[int, int]] = []
        self.targets: list[dict[str, NDArray[Any]]] = []
        self._ids: list[list[int]] = []

    def add(self, number: int, c: Conversation, start: int) -> None:
        """A conversation, without its first `start` tokens."""
        row, ids = len(self._ids), c.encoded.ids
        self.numbers.append(number)
        self._ids.append(ids[start:])
        learnt = [i for i, learns in enumerate(c.encoded.learnt) if learns]
        before = [(row, i - start - 1) for i in learnt]
        if c.labelled:
            self.answers += before
            self.answer_ids += [ids[i] for i in learnt]
        if c.target is not None:
            m = min(len(learnt), len(c.target[TAIL]))  # another row's target may be of another length
            self.taught += before[:m]
            self.targets.append({name: value[:m] for name, value in c.target.items()})

    @cached_property
    def keep(self) -> list[int]:
        """Places that any row needs."""
        return sorted({place for _, place in (*self.answers, *self.taught)}) or [0]

    def tensors(self, pad_id: int, at_least: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, T) ids, (B, T) whether there is one, (P,) `keep`; rows of padding where every conversation was too long."""
        ids = torch.full((max(at_least, len(self._ids)), max(map(len, self._ids), default=1)), pad_id)
        there = torch.zeros_like(ids)
        there[:, 0] = 1
        for row, own in enumerate(self._ids):
            ids[row, : len(own)] = torch.tensor(own)
            there[row, : len(own)] = 1
        return ids, there, torch.tensor(self.keep)

    def flat(self, pairs: Sequence[tuple[int, int]], offset: int = 0) -> list[int]:
        """Rows and places as numbers of logits, of which there are `keep` in each row."""
        number = {place: i for i, place in enumerate(self.keep)}
        return [offset + row * len(self.keep) + number[place] for row, place in pairs]


def _pictures(c: Conversation) -> list[Image.Image]:
    return [picture(data, c.row_id) for data in c.images]


def _pixels(shown: Sequence[Image.Image], pixels: Preprocess) -> torch.Tensor:
    return pixels(shown)["pixel_values"] if shown else torch.zeros(0, 3, 1, 1)


def _stacked(targets: list[dict[str, Any]], name: str, empty: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([t[name] for t in targets]) if targets else np.zeros(empty, np.float32))


def logits_of(model: nn.Module, batch: Batch) -> torch.Tensor:
    """(R, V) logits that `answer_at` and `taught_at` count, of a `LlavaForConditionalGeneration`, or a wrapped one."""
    found = []
    if len(batch["input_ids"]):
        pixels = batch["pixel_values"]
        found.append(
            model(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                pixel_values=pixels if len(pixels) else None,
                logits_to_keep=batch["keep"],
                use_cache=False,
            ).logits
        )
    if "begin_ids" in batch:
        ids = batch["begin_ids"]
        begun = model(
            input_ids=ids, pixel_values=batch["begin_pixels"], logits_to_keep=1, use_cache=True
        ).past_key_values
        for i in count():
            if f"after_ids_{i}" not in batch:
                break
            after, of = batch[f"after_ids_{i}"], batch[f"after_of_{i}"]
            places = torch.arange(after.shape[1], device=ids.device) + ids.shape[1]
            found.append(
                model(
                    input_ids=after,
                    attention_mask=torch.cat([torch.ones_like(ids)[of], batch[f"after_mask_{i}"]], 1),
                    position_ids=places.expand_as(after),
                    past_key_values=DynamicCache([(layer.keys[of], layer.values[of]) for layer in begun.layers]),
                    use_cache=True,
                    logits_to_keep=batch[f"after_keep_{i}"],
                ).logits
            )
    return torch.cat([logits.flatten(0, 1) for logits in found])


def cross_entropy(logits: torch.Tensor, batch: Batch, vocabulary: int) -> torch.Tensor:
    """(L,) of each learnt token, float32; rows of the output past the tokens that exist are left out."""
    said = logits[batch["answer_at"]][:, :vocabulary].float()
    return F.cross_entropy(said, batch["answer_ids"], reduction="none")


EXPONENTS = {"token": 0.0, "square": 0.5, "sample": 1.0}
"""What a token of an answer of n tokens weighs: one over n to this power. Names and powers are those of InternVL 2.5."""


def token_weights(answer_of: torch.Tensor, reduction: str) -> torch.Tensor:
    """(L,) weights of learnt tokens, by how long the answer is that each is part of.

    Args:
        answer_of: (L,), the conversation of each token.
        reduction: `token`, `square` or `sample`.

    >>> token_weights(torch.tensor([0, 0, 0, 0, 2]), "square").tolist()
    [0.5, 0.5, 0.5, 0.5, 1.0]
    """
    lengths = torch.bincount(answer_of)[answer_of].float()
    return lengths ** -EXPONENTS[reduction]


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
        rows = chosen[tensors["answer_of"].cpu().numpy()]
        np.add.at(nll, rows, each)
        np.add.at(tokens, rows, 1)
    return nll, tokens
