"""`mini:clip`: a `CLIPModel` of about 1M parameters for 64 px pictures of the storybook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from distill.miniatures.bank import Bank
from distill.miniatures.loop import fit
from distill.miniatures.reader import augment
from distill.miniatures.text import MAX_TOKENS, token_ids
from limbeck.storybook import caption, sample_edit
from limbeck.storybook.attributes import FIELDS, attributes

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

WIDTH = 128
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
    trips: NDArray[np.uint8],
    tokenizer: CLIPTokenizer,
    text: CLIPTextModel,
    work: Path,
    *,
    steps: int = 800,
    batch: int = 96,
    lr: float = 1.5e-3,
) -> CLIPModel:
    """Contrastive training in which each caption's own edits are among the negatives.

    An ordinary batch is told apart by ground and sky alone. So every scene brings the caption after a random edit of
    it, and the picture has to find the unedited one. A linear reader of attributes on the picture embedding helps the
    vision tower over the first, slow part.

    Args:
        bank: rendered training pictures; half of each batch comes from `trips` where there are any.
        trips: (M, 64, 64, 3) uint8, round trips of the bank's first M pictures through the autoencoder.
        tokenizer: of the captions.
        text: a text encoder that has learnt to read; the text tower starts from it.
        work: folder of checkpoints.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
    """
    clip = build(len(tokenizer))
    clip.text_model.load_state_dict({k.removeprefix("text_model."): v for k, v in text.state_dict().items()})
    lesson = _Lesson(clip)
    truth = torch.tensor(np.stack([attributes(s) for s in bank.scenes]))
    sizes = list(FIELDS.values())

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, dict[str, float]]:
        n = batch // 2 if len(trips) else 0
        a, b = np.sort(rng.integers(len(bank.images), size=batch - n)), rng.integers(max(1, len(trips)), size=n)
        chosen = np.concatenate([a, b])
        x = np.concatenate([bank.images[a], trips[b]]) if n else bank.images[a]
        x = augment(torch.from_numpy(x).permute(0, 3, 1, 2).float() / 255, rng)
        scenes = [bank.scenes[i] for i in chosen]
        edited = [edit.apply(s) if (edit := sample_edit(rng, s)) else None for s in scenes]
        texts = [caption(s) for s in scenes] + [caption(e) for e in edited if e]
        pictures = clip.visual_projection(clip.vision_model(pixel_values=normalise(x)).pooler_output)
        words = clip.text_projection(clip.text_model(input_ids=token_ids(tokenizer, texts)).pooler_output)
        i, t = F.normalize(pictures, dim=-1), F.normalize(words, dim=-1)
        logits = i @ t.T * clip.logit_scale.clamp(max=np.log(100)).exp()
        # captions that happen to be equal to one's own are no negatives
        position = {text: k for k, text in reversed(list(enumerate(texts)))}
        own = torch.tensor([position[text] for text in texts])
        same = own[None, :] == own[: len(scenes), None]
        same[torch.arange(len(scenes)), torch.arange(len(scenes))] = False
        logits = logits.masked_fill(same, -1e4)
        target = torch.arange(len(scenes))
        contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, : len(scenes)].T, target)) / 2
        read = lesson.heads(pictures).split(sizes, dim=-1)
        reading = torch.stack(
            [F.cross_entropy(z, truth[chosen][:, k], ignore_index=-1) for k, z in enumerate(read)]
        ).mean()
        right = (logits.argmax(1) == target).float().mean().item()
        return contrast + 2 * reading, {"right": round(right, 3), "reading": round(reading.item(), 3)}

    return fit(lesson, loss, work, steps=steps, lr=lr, warmup=200, ema=0.998, weight_decay=0.05).clip


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


@torch.no_grad()
def retrieval(clip: CLIPModel, tokenizer: CLIPTokenizer, bank: Bank, among: int = 100) -> float:
    """How often the right caption comes first among `among` distinct ones, over the bank's pictures."""
    clip.eval()
    hits, groups = 0, len(bank.images) // among
    for g in range(groups):
        rows = slice(g * among, (g + 1) * among)
        texts = [caption(s) for s in bank.scenes[rows]]
        x = torch.from_numpy(np.ascontiguousarray(bank.images[rows])).permute(0, 3, 1, 2).float() / 255
        i = clip.visual_projection(clip.vision_model(pixel_values=normalise(x)).pooler_output)
        t = clip.text_projection(clip.text_model(input_ids=token_ids(tokenizer, texts)).pooler_output)
        best = (F.normalize(i, dim=-1) @ F.normalize(t, dim=-1).T).argmax(1)
        hits += sum(texts[int(k)] == texts[j] for j, k in enumerate(best))
    return hits / (groups * among)
