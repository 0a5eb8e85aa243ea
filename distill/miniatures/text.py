"""The captions' tokenizer and text encoder of `mini:diffusion` and `mini:clip`.

The tokenizer is CLIP's own kind, trained on captions so that every word of the world is one token. The diffusion
model's text encoder first learns to read: from each place word the thing it closes, and from the end and padding
tokens the whole scene. It costs a minute, and the U-Net then finds the colour with its thing from the first step.
"""

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
from limbeck.storybook.attributes import FIELDS
from limbeck.storybook.grammar import words

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 40
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789,.'-!?:;"


def build_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer in which every word of the storybook is one token; other words fall into letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=4096, initial_alphabet=list(LETTERS), end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator([" ".join([*words(), *LETTERS])] * 4, trainer)
    import json

    state = json.loads(bpe.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split()) for m in state["merges"]]
    vocab = list(state["vocab"])
    tokens = ["<|startoftext|>", "<|endoftext|>", *vocab, *(c + "</w>" for c in LETTERS if c + "</w>" not in vocab)]
    return CLIPTokenizer(
        vocab={t: i for i, t in enumerate(dict.fromkeys(tokens))}, merges=merges, model_max_length=MAX_TOKENS
    )


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(N, MAX_TOKENS) int64, padded with the end token and cut, as a diffusion pipeline does it."""
    return tokenizer(texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt").input_ids


def build_text_encoder(vocab_size: int, width: int = 128, layers: int = 3) -> CLIPTextModel:
    """A fresh CLIP text encoder of about half a million parameters."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocab_size,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=width,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            hidden_act="gelu",
        )
    )


class _Reading(nn.Module):
    """A text encoder with a linear reader on top, for the reading lesson only."""

    def __init__(self, encoder: CLIPTextModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.Linear(encoder.config.hidden_size, sum(FIELDS.values()))


def teach_reading(
    encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    bank: Bank,
    work: Path,
    *,
    steps: int = 900,
    batch: int = 64,
    lr: float = 2e-3,
    seconds: float = math.inf,
) -> CLIPTextModel:
    """Trains the encoder until the end token and every padding token hold the whole scene, linearly readable.

    Args:
        encoder: a fresh one, on the device to train on.
        tokenizer: of the captions.
        bank: training scenes; the pictures are not looked at.
        work: folder of checkpoints.
        steps: optimiser steps.
        batch: captions a step.
        lr: peak learning rate.
        seconds: ends the run sooner.
    """
    device = encoder.device
    model = _Reading(encoder).to(device)
    sizes = list(FIELDS.values())
    ids, truth = token_ids(tokenizer, bank.captions).to(device), bank.truth(device)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, Figures]:
        chosen = torch.from_numpy(rng.integers(len(ids), size=batch)).to(device)
        states = model.encoder(input_ids=ids[chosen]).last_hidden_state
        ended = ids[chosen] == tokenizer.eos_token_id
        logits = model.heads(states[ended]).split(sizes, dim=-1)
        target = truth[chosen][:, None].expand(-1, ids.shape[1], -1)[ended]
        parts = [F.cross_entropy(x, target[:, i], ignore_index=-1) for i, x in enumerate(logits)]
        right = torch.stack([x.argmax(-1) == target[:, i] for i, x in enumerate(logits)], 1)[target >= 0]
        return torch.stack(parts).mean(), {"right": right.float().mean()}

    return fit(model, loss, work, steps=steps, lr=lr, seconds=seconds, warmup=100, ema=0.99, every=500).encoder
