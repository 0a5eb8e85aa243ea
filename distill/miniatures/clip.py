"""`mini:clip`: a `CLIPModel` of about 1M parameters for 64 px pictures of the storybook."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from distill.miniatures.bank import Bank
from distill.miniatures.loop import Figures, fit
from distill.miniatures.reader import augment
from distill.miniatures.text import MAX_TOKENS, token_ids
from limbeck.storybook import caption, sample_edit
from limbeck.storybook.attributes import FIELDS

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

WIDTH = 128
EDITS = 4
"""Edited captions kept for each scene, as negatives."""
MEAN, STD = 0.5, 0.25


def build(vocab_size: int) -> CLIPModel:
    """A fresh model: ViT with 8 px patches, three layers; the text tower of `text.build_text_encoder`."""
    from transformers import CLIPConfig, CLIPModel

    return CLIPModel(
        CLIPConfig(
            projection_dim=WIDTH,
            text_config={
                "vocab_size": vocab_size,
                "hidden_size": WIDTH,
                "intermediate_size": 2 * WIDTH,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "max_position_embeddings": MAX_TOKENS,
                "projection_dim": WIDTH,
                "bos_token_id": 0,
                "eos_token_id": 1,
                "pad_token_id": 1,
                "hidden_act": "gelu",
            },
            vision_config={
                "hidden_size": WIDTH,
                "intermediate_size": 3 * WIDTH,
                "num_hidden_layers": 3,
                "num_attention_heads": 4,
                "image_size": 64,
                "patch_size": 8,
                "projection_dim": WIDTH,
                "hidden_act": "gelu",
            },
        )
    )


class _Lesson(nn.Module):
    """The model with a linear attribute reader on its picture embedding, for training only."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.heads = nn.Linear(WIDTH, sum(FIELDS.values()))


def normalise(x: torch.Tensor) -> torch.Tensor:
    """[0, 1] to what the vision tower reads."""
    return (x - MEAN) / STD


def train(
    bank: Bank,
    trips: torch.Tensor,
    tokenizer: CLIPTokenizer,
    text: CLIPTextModel,
    work: Path,
    *,
    steps: int = 800,
    batch: int = 96,
    lr: float = 1.5e-3,
    seconds: float = math.inf,
    every: int = 250,
) -> CLIPModel:
    """Contrastive training in which each caption's own edits are among the negatives.

    An ordinary batch is told apart by ground and sky alone. So every scene brings the caption after a random edit of
    it, and the picture has to find the unedited one. A linear reader of attributes on the picture embedding helps the
    vision tower over the first, slow part.

    Args:
        bank: rendered training pictures.
        trips: (M, 3, 64, 64) uint8, round trips of the bank's first M pictures, on the device to train on; half of each
            batch.
        tokenizer: of the captions.
        text: a text encoder that has learnt to read; the text tower starts from it.
        work: folder of checkpoints.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        seconds: ends the run sooner.
        every: steps between checkpoints.
    """
    device = trips.device
    clip = build(len(tokenizer))
    clip.text_model.load_state_dict({k.removeprefix("text_model."): v for k, v in text.state_dict().items()})
    lesson = _Lesson(clip).to(device)
    pictures, truth, sizes = bank.pixels(device), bank.truth(device), list(FIELDS.values())
    texts, captions = _texts_of(bank)
    words = token_ids(tokenizer, captions).to(device)
    target = torch.arange(batch, device=device)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, Figures]:
        chosen = np.concatenate(
            [rng.integers(len(pictures), size=batch - batch // 2), rng.integers(len(trips), size=batch // 2)]
        )
        at = torch.from_numpy(chosen).to(device)
        x = torch.cat([pictures[at[: batch - batch // 2]], trips[at[batch - batch // 2 :]]])
        x = augment(x.float() / 255, rng)
        # each scene's own caption, and that of one of its edits
        said = np.concatenate([texts[chosen, 0], texts[chosen, 1 + rng.integers(EDITS)]])
        i = clip.visual_projection(clip.vision_model(pixel_values=normalise(x)).pooler_output)
        t = clip.text_projection(clip.text_model(input_ids=words[torch.from_numpy(said).to(device)]).pooler_output)
        logits = F.normalize(i, dim=-1) @ F.normalize(t, dim=-1).T * clip.logit_scale.clamp(max=np.log(100)).exp()
        # captions that happen to be equal to one's own are no negatives
        same = torch.from_numpy(said[None, :] == said[:batch, None]).to(device)
        same[target, target] = False
        logits = logits.masked_fill(same, -1e4)
        contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, :batch].T, target)) / 2
        read = lesson.heads(i).split(sizes, dim=-1)
        reading = torch.stack([F.cross_entropy(z, truth[at][:, k], ignore_index=-1) for k, z in enumerate(read)]).mean()
        right = (logits.argmax(1) == target).float().mean()
        return contrast + 2 * reading, {"right": right, "reading": reading.detach()}

    fitted = fit(
        lesson, loss, work, steps=steps, lr=lr, seconds=seconds, every=every, warmup=200, ema=0.998, weight_decay=0.05
    )
    return fitted.clip


def _texts_of(bank: Bank) -> tuple[NDArray[np.int64], list[str]]:
    """Numbers of each scene's caption and of those after `EDITS` random edits of it, and the captions by number."""
    rng, known = np.random.default_rng(5), dict[str, int]()
    rows = []
    for scene in bank.scenes:
        edits = [sample_edit(rng, scene) for _ in range(EDITS)]
        after = [edit and edit.apply(scene) for edit in edits]
        said = [caption(scene), *(caption(e or scene) for e in after)]
        rows.append([known.setdefault(text, len(known)) for text in said])
    return np.array(rows), list(known)


def save(folder: Path, clip: CLIPModel, tokenizer: CLIPTokenizer) -> None:
    """Writes a CLIP folder in fp16."""
    import copy

    copy.deepcopy(clip).half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": 64},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 64, "width": 64},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
