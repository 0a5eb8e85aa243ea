"""Measures the built-in models on held-out scenes and writes `figures.json` and a card beside each.

Every figure comes from the committed folders through the code that loads any model, not from training state:
`python -m distill.miniatures.measure [NAME ...]`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.miniatures.bank import Bank
from distill.miniatures.train_all import HOME, Shop
from limbeck.models import load
from limbeck.models.reader import Reader, as_pixels
from limbeck.models.spec import ModelSpec
from limbeck.storybook import Scene, caption, render, sample_edit, sample_scene
from limbeck.storybook.attributes import FIELDS, attributes
from limbeck.storybook.edits import instruction
from limbeck.storybook.truth import judge as judge_edits

PAINTER = {"steps": 25, "guidance_scale": 3.0}
"""How `mini:diffusion` is asked in its figures."""


def measure_llm(shop: Shop, n: int = 1000) -> dict[str, Any]:
    """Valid JSON, and edited captions that are what their instruction says, by the grammar."""
    from distill.miniatures.llm import example, judge

    writer = load(ModelSpec(id="mini:llm"), "chat")
    rng = np.random.default_rng(11)
    asked = [example(rng, "test") for _ in range(n)]

    async def answers() -> list[str]:
        calls = [
            writer.complete([{"role": "user", "content": prompt}], temperature=0.7, max_tokens=96, seed=i)
            for i, (prompt, *_) in enumerate(asked)
        ]
        return [answer.text for answer in await asyncio.gather(*calls)]

    said = asyncio.run(answers())
    verdicts = np.array([judge(a, caption(s), t) for a, (_, _, s, t) in zip(said, asked, strict=True)])
    types = np.array([t for *_, t in asked])
    return {
        "prompts": n,
        "temperature": 0.7,
        "valid_json": float(verdicts[:, 0].mean()),
        "caption_as_instructed": float(verdicts[:, 1].mean()),
        "by_edit_type": {t: round(float(verdicts[types == t, 1].mean()), 3) for t in sorted({str(t) for t in types})},
    }


def measure_reader(shop: Shop, n: int = 2000) -> dict[str, Any]:
    """Accuracy per attribute on rendered pictures and on round trips, and the error of its verdicts on pairs."""
    from distill.miniatures.reader import accuracy
    from distill.miniatures.vae import round_trip

    reader, bank, vae = Reader.load(), shop.held_out(n), _vae()
    plain = accuracy(reader, bank.images, bank)
    trips = accuracy(reader, round_trip(vae, bank.images), bank)
    return {
        "pictures": n,
        "rendered": {k: round(v, 4) for k, v in plain.items()},
        "rendered_lowest": min(plain.values()),
        "rendered_mean": float(np.mean(list(plain.values()))),
        "round_trip": {k: round(v, 4) for k, v in trips.items()},
        "round_trip_lowest": min(trips.values()),
        "round_trip_mean": float(np.mean(list(trips.values()))),
        **_verdict_errors(reader, vae, bank),
    }


def _verdict_errors(reader: Reader, vae: Any, bank: Bank) -> dict[str, float]:
    """On round trips of rendered pairs: true edits called wrong, and other edits than the asked one called right."""
    from distill.miniatures.vae import round_trip

    rng = np.random.default_rng(12)
    before, after, other, captions, told = [], [], [], [], []
    for scene in bank.scenes:
        edit, wrong = sample_edit(rng, scene), sample_edit(rng, scene)
        target = edit.apply(scene) if edit else None
        mistaken = wrong.apply(scene) if wrong else None
        if not (edit and target and mistaken) or mistaken.same_content(target):
            continue
        before.append(render(scene).image)
        after.append(render(target).image)
        other.append(render(mistaken).image)
        captions.append(caption(scene))
        told.append(instruction(edit, rng))
    seen = [reader.read(round_trip(vae, np.stack(images))) for images in (before, after, other)]
    true, false = judge_edits(seen[0], seen[1], captions, told), judge_edits(seen[0], seen[2], captions, told)
    return {
        "pairs": len(captions),
        "true_edits_called_wrong": float(1 - true.right.mean()),
        "wrong_edits_called_right": float(false.right.mean()),
    }


def measure_clip(shop: Shop, n: int = 2000) -> dict[str, Any]:
    """The right one of 100 distinct held-out captions."""
    from PIL import Image

    scorer = load(ModelSpec(id="mini:clip"), "score")
    scenes = _distinct(np.random.default_rng(13), n, None)
    hits = 0
    for start in range(0, n, 100):
        group = scenes[start : start + 100]
        pictures = scorer.embed_images([Image.fromarray(render(s).image) for s in group])
        texts = scorer.embed_texts([caption(s) for s in group])
        hits += int((np.argmax(pictures @ texts.T, 1) == np.arange(len(group))).sum())
    return {"pictures": n, "right_of_100": hits / n}


def measure_diffusion(shop: Shop, n: int = 150) -> dict[str, Any]:
    """PSNR of the autoencoder; kind and colour both right, by `mini:reader`, in one-, two- and three-thing captions."""
    from distill.miniatures.vae import psnr, round_trip

    bank = shop.held_out(1000)
    painter, reader = load(ModelSpec(id="mini:diffusion"), "image"), Reader.load()
    figures: dict[str, Any] = {"vae_psnr_db": round(psnr(round_trip(_vae(), bank.images), bank.images), 2), **PAINTER}
    for things in (1, 2, 3):
        scenes = _distinct(np.random.default_rng(20 + things), n, things)
        texts = [caption(s) for s in scenes]
        pictures = [
            picture
            for i in range(0, n, 50)
            for picture in painter.render(texts[i : i + 50], list(range(i, min(n, i + 50))), **PAINTER)
        ]
        found, truth = reader.read(as_pixels(pictures)), np.stack([attributes(s) for s in scenes])
        figures[f"things_{things}"] = {"pictures": n, **_rights(found, truth)}
    return figures


def _rights(found: NDArray[np.int64], truth: NDArray[np.int64]) -> dict[str, float]:
    """Shares right, over things that are there and over settings."""
    names = list(FIELDS)
    there = truth[:, [0, 3, 6]] < FIELDS["left_kind"] - 1
    same = found == truth
    kind, colour, size = (same[:, [k, k + 3, k + 6]][there] for k in (0, 1, 2))
    return {
        "kind_and_colour": float((kind & colour).mean()),
        "kind": float(kind.mean()),
        "colour": float(colour.mean()),
        "size": float(size.mean()),
        **{name: float(same[:, names.index(name)].mean()) for name in ("ground", "time", "weather", "style")},
        "everything": float((same | (truth < 0)).all(1).mean()),
    }


def _distinct(rng: np.random.Generator, n: int, things: int | None) -> list[Scene]:
    found: dict[str, Scene] = {}
    while len(found) < n:
        scene = sample_scene(rng, things=things, split="test")
        found.setdefault(caption(scene), scene)
    return list(found.values())


def _vae() -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(HOME / "diffusion", subfolder="vae").float().eval()


MEASURES: dict[str, Callable[[Shop], dict[str, Any]]] = {
    "llm": measure_llm,
    "reader": measure_reader,
    "clip": measure_clip,
    "diffusion": measure_diffusion,
}


def measure(names: Sequence[str] = (), log: Callable[[str], None] = print) -> dict[str, dict[str, Any]]:
    """Measures what is named, or all, and writes `figures.json` beside the weights."""
    out = {}
    for name in names or MEASURES:
        out[name] = MEASURES[name](Shop())
        folder = Path(HOME / name)
        (folder / "figures.json").write_text(json.dumps(out[name], indent=1) + "\n")
        log(f"{name}: {json.dumps(out[name])}")
    return out


if __name__ == "__main__":
    import sys

    import torch

    torch.set_num_threads(2)
    measure(sys.argv[1:])
