"""`limbeck train-miniatures [NAME ...]`: trains the built-in models in order and measures them on held-out scenes.

    text        the captions' tokenizer and text encoder            a minute
    vae         the autoencoder                                     the decoder is polished after the U-Net has started
    reader      the judge                                           needs vae
    clip        the scorer                                          needs text, vae
    llm         the writer
    diffusion   the painter                                         needs text, vae

Every step keeps its checkpoints in the work folder and goes on from them; what is finished is not trained again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distill.miniatures import clip as clip_
from distill.miniatures import llm as llm_
from distill.miniatures import reader as reader_
from distill.miniatures import text as text_
from distill.miniatures import unet as unet_
from distill.miniatures import vae as vae_
from distill.miniatures.bank import Bank, open_bank

HOME = Path(__file__).parent.parent.parent / "limbeck" / "miniatures"
WORK = Path(".cache/miniatures")
NAMES = ("text", "vae", "reader", "clip", "llm", "diffusion")
PICTURES, TRIPS = 40_000, 12_000


@dataclass(frozen=True)
class Shop:
    """Where trainings read and write: `work` for banks and checkpoints, `home` for the finished folders."""

    work: Path = WORK
    home: Path = HOME

    def bank(self) -> Bank:
        """Training pictures."""
        return open_bank(self.work, PICTURES)

    def held_out(self, n: int = 1000) -> Bank:
        """Pictures of test scenes, for figures only."""
        return open_bank(self.work, n, "test", seed=1)

    def done(self, name: str) -> Path:
        """Where the finished weights of a step lie, in the precision they were trained in."""
        return self.work / name / "final"

    def vae(self) -> Any:
        """The finished autoencoder."""
        from diffusers import AutoencoderKL

        return AutoencoderKL.from_pretrained(self.done("vae")).eval()

    def text(self) -> tuple[Any, Any]:
        """Tokenizer and the text encoder that has learnt to read."""
        from transformers import CLIPTextModel, CLIPTokenizer

        return CLIPTokenizer.from_pretrained(self.done("text")), CLIPTextModel.from_pretrained(self.done("text"))

    def trips(self) -> NDArray[np.uint8]:
        """Round trips of the first pictures of the bank through the autoencoder."""
        cache = self.work / "trips.npy"
        if not cache.exists():
            np.save(cache, vae_.round_trip(self.vae(), self.bank().images[:TRIPS]))
        return np.load(cache, mmap_mode="r")


def train_text(shop: Shop) -> None:
    """Tokenizer and text encoder."""
    tokenizer = text_.build_tokenizer()
    encoder = text_.teach_reading(text_.build_text_encoder(len(tokenizer)), tokenizer, shop.work / "text", steps=900)
    encoder.save_pretrained(shop.done("text"))
    tokenizer.save_pretrained(shop.done("text"))


def train_vae(shop: Shop) -> None:
    """The autoencoder; its `scaling_factor` makes the training latents' standard deviation one."""
    bank = shop.bank()
    vae = vae_.train(bank, shop.work / "vae")
    with torch.no_grad():
        latents = torch.cat(
            [vae.encode(vae_.pixels(bank.images[i : i + 100])).latent_dist.mode() for i in range(0, 2000, 100)]
        )
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    vae.save_pretrained(shop.done("vae"))


def train_reader(shop: Shop) -> None:
    """The judge."""
    from safetensors.torch import save_file

    model = reader_.train(shop.bank(), shop.trips(), shop.work / "reader")
    folder = shop.home / "reader"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()},
        folder / "model.safetensors",
    )


def train_clip(shop: Shop) -> None:
    """The scorer."""
    tokenizer, text = shop.text()
    model = clip_.train(shop.bank(), shop.trips(), tokenizer, text, shop.work / "clip")
    clip_.save(shop.home / "clip", model, tokenizer)


def train_llm(shop: Shop) -> None:
    """The writer."""
    tokenizer = llm_.build_tokenizer()
    llm_.save(shop.home / "llm", llm_.train(tokenizer, shop.work / "llm"), tokenizer)


def train_diffusion(shop: Shop) -> None:
    """The painter, from the finished autoencoder and text encoder."""
    tokenizer, text = shop.text()
    vae, bank = shop.vae(), shop.bank()
    latents = unet_.latents_of(vae, bank, shop.work / "latents.npy") * vae.config.scaling_factor
    unet_.train(bank, latents, tokenizer, text, shop.work / "diffusion")
    export_diffusion(shop)


def export_diffusion(shop: Shop) -> None:
    """Writes the pipeline folder from the newest checkpoint's average, finished or not."""
    tokenizer, text = shop.text()
    pair = unet_.Pair(unet_.build(), text)
    pair.load_state_dict(torch.load(shop.work / "diffusion" / "checkpoint.pt", weights_only=True)["average"])
    folder = shop.home / "diffusion"
    shutil.rmtree(folder, ignore_errors=True)
    unet_.save_pipeline(folder, shop.vae(), pair, tokenizer)
    unet_.write_world(folder)


STEPS: dict[str, Callable[[Shop], None]] = {
    "text": train_text,
    "vae": train_vae,
    "reader": train_reader,
    "clip": train_clip,
    "llm": train_llm,
    "diffusion": train_diffusion,
}


def train(names: Sequence[str] = (), *, shop: Shop | None = None, log: Callable[[str], None] = print) -> None:
    """Trains what is named, or all; a finished step is skipped unless it is named.

    Args:
        names: some of `NAMES`; all if empty.
        shop: where to read and write.
        log: told when a step begins and ends.

    Raises:
        ValueError: a name that is none of `NAMES`.
    """
    shop = shop or Shop()
    if unknown := [n for n in names if n not in STEPS]:
        raise ValueError(f"no miniature is called {unknown[0]!r}; there are {', '.join(NAMES)}")
    for name in names or NAMES:
        marker = shop.work / f"{name}.done"
        if marker.exists() and not names:
            log(f"{name}: done already")
            continue
        start = time.time()
        log(f"{name}: training; progress in {shop.work / name / 'log.jsonl'}")
        STEPS[name](shop)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps({"seconds": round(time.time() - start)}) + "\n")
        log(f"{name}: done in {time.time() - start:.0f} s")


if __name__ == "__main__":
    import sys

    torch.set_num_threads(int(sys.argv[1]))
    train(sys.argv[2:])
