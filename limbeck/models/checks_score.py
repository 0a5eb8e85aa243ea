"""Checks of a score model: embeddings equal those of transformers itself, called directly, in whatever company."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from limbeck.models.score_transformers import TransformersScore
from limbeck.storybook.render import render
from limbeck.storybook.scene import Scene
from limbeck.storybook.source import rows
from limbeck.verification import Check

_COUNT = 6
_NEAR = {torch.float32: 0.999}
_HALF_NEAR = 0.99


def checks(model: TransformersScore, role: str) -> tuple[str, list[Check]]:
    """How it runs, and what was found."""
    scenes = list(rows(_COUNT, 11))
    pictures = [Image.fromarray(render(Scene.from_json(row["scene"]), 160).image) for row in scenes]
    pictures[-1] = pictures[-1].resize((200, 90))  # not every picture is square
    texts = [row["caption"] for row in scenes]
    near, embedded = _NEAR.get(model.dtype, _HALF_NEAR), model.embed_images(pictures)
    direct, direct_texts = _directly(model, pictures, texts)
    found = []
    if model.resize == "model":
        found.append(_alike("pictures against transformers itself", embedded, direct, near))
    alone = np.concatenate([model.embed_images([picture]) for picture in pictures])
    found.append(_alike("a picture alone and in a batch", embedded, alone, near))
    if model.has_text:
        found.append(_alike("texts against transformers itself", model.embed_texts(texts), direct_texts, near))
    apart = float((embedded @ embedded.T)[~np.eye(_COUNT, dtype=bool)].max())
    found.append(Check("other pictures are told apart", apart < near, f"nearest cosine {apart:.4f}", f"below {near}"))
    return f"{str(model.dtype).removeprefix('torch.')} on {model.device}", found


def _alike(name: str, a: np.ndarray, b: np.ndarray, near: float) -> Check:
    """Cosines, row by row."""
    cosine = float((a * b).sum(1).min())
    return Check(name, cosine >= near, f"least cosine {cosine:.6f}", f"at least {near}")


@torch.inference_mode()
def _directly(model: TransformersScore, pictures: list[Image.Image], texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Unit embeddings by transformers' own classes, one input at a time."""
    hub = {"revision": model.revision, "trust_remote_code": False}
    loaded = (
        AutoModel.from_pretrained(model.name, dtype=model.dtype, use_safetensors=True, **hub).to(model.device).eval()
    )
    processor = AutoImageProcessor.from_pretrained(model.name, backend="pil", **hub)
    images = []
    for picture in pictures:
        inputs = processor(picture, return_tensors="pt").to(model.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        output = loaded.get_image_features(**inputs) if model.has_text else loaded(**inputs)
        images.append(output.pooler_output[0].float().cpu().numpy())
    words = []
    if model.has_text:
        tokenizer = AutoTokenizer.from_pretrained(model.name, **hub)
        for text in texts:
            inputs = tokenizer(
                text, padding="max_length", truncation=True, max_length=model.max_tokens, return_tensors="pt"
            )
            ids = inputs["input_ids"].to(model.device)
            words.append(loaded.get_text_features(input_ids=ids).pooler_output[0].float().cpu().numpy())
    return _unit(images), _unit(words) if words else np.zeros((0, 1))


def _unit(rows: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(rows)
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
