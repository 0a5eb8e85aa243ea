"""`limbeck train-miniatures [NAME ...]`: trains the built-in models in order and measures them on held-out scenes.

    bank        pictures of training scenes, rendered once
    text        the captions' tokenizer and text encoder            needs bank
    vae         the autoencoder                                     needs bank
    decoder     its decoder, polished while the encoder stands still   needs vae
    reader      the judge                                           needs decoder
    clip        the scorer                                          needs text, decoder
    llm         the writer
    edits       the writer once more, mostly on edits               needs llm
    diffusion   the painter                                         needs text, vae; exports with decoder

Every step keeps its checkpoints in the work folder and goes on from them; what is finished is not trained again.
Steps that don't need each other can run at the same time, each in a process of its own.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.miniatures import clip as clip_
from distill.miniatures import llm as llm_
from distill.miniatures import reader as reader_
from distill.miniatures import text as text_
from distill.miniatures import unet as unet_
from distill.miniatures import vae as vae_
from distill.miniatures.bank import Bank, channels_first, open_bank

HOME = Path(__file__).parent.parent.parent / "limbeck" / "miniatures"
WORK = Path(".cache/miniatures")
NAMES = ("bank", "text", "vae", "decoder", "reader", "clip", "llm", "edits", "diffusion")
TRIPS = 24_000

PLANS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {"bank": {"pictures": 40_000}, "llm": {"lessons": 60_000}},
    "cuda": {
        "bank": {"pictures": 80_000},
        "text": {"steps": 4000, "batch": 256},
        "vae": {"steps": 30_000, "batch": 96, "seconds": 105, "every": 2000},
        "decoder": {"steps": 30_000, "batch": 96, "seconds": 90, "every": 2000},
        "reader": {"steps": 20_000, "batch": 256, "seconds": 80, "every": 2000},
        "clip": {"steps": 20_000, "batch": 256, "seconds": 80, "every": 2000},
        "llm": {"lessons": 400_000, "steps": 40_000, "batch": 192, "lr": 2e-3, "seconds": 340, "every": 2000},
        "diffusion": {"steps": 40_000, "batch": 512, "seconds": 285, "every": 2000},
    },
}
"""What each step does otherwise than by default, by kind of device. The limits in seconds are those under which the
published weights were trained, with the steps that don't need each other at the same time on one GPU."""


@dataclass(frozen=True)
class Shop:
    """Where and on what trainings work.

    Attributes:
        work: folder of banks and checkpoints.
        home: folder of the finished models.
        device: torch device; the first GPU by default, else the CPU.
        plan: by step, settings that differ from the defaults; by default those of `PLANS` for the device.
    """

    work: Path = WORK
    home: Path = HOME
    device: str = field(default_factory=lambda: "cuda" if torch.cuda.is_available() else "cpu")
    plan: dict[str, dict[str, Any]] | None = None

    def settings(self, name: str, *without: str) -> dict[str, Any]:
        """What the plan says of a step, but for some keys."""
        plan = PLANS[torch.device(self.device).type] if self.plan is None else self.plan
        return {key: value for key, value in plan.get(name, {}).items() if key not in without}

    def bank(self) -> Bank:
        """Training pictures."""
        return open_bank(self.work, self.settings("bank").get("pictures", 40_000))

    def held_out(self, n: int = 1000) -> Bank:
        """Pictures of test scenes, for figures only."""
        return open_bank(self.work, n, "test", seed=1)

    def done(self, name: str) -> Path:
        """Where the finished weights of a step lie, in the precision they were trained in."""
        return self.work / name / "final"

    def vae(self, name: str = "vae") -> Any:
        """The finished autoencoder; of `decoder`, the one with the polished decoder."""
        from diffusers import AutoencoderKL

        return AutoencoderKL.from_pretrained(self.done(name)).eval().to(self.device)

    def text(self) -> tuple[Any, Any]:
        """Tokenizer and the text encoder that has learnt to read."""
        from transformers import CLIPTextModel, CLIPTokenizer

        encoder = CLIPTextModel.from_pretrained(self.done("text")).to(self.device)
        return CLIPTokenizer.from_pretrained(self.done("text")), encoder

    def trips(self) -> torch.Tensor:
        """(TRIPS, 3, 64, 64) uint8, round trips of the first pictures of the bank through the autoencoder."""
        return channels_first(np.load(self.work / "trips.npy")).to(self.device)


def train_text(shop: Shop) -> None:
    """Tokenizer and text encoder."""
    tokenizer = text_.build_tokenizer()
    encoder = text_.build_text_encoder(len(tokenizer)).to(shop.device)
    encoder = text_.teach_reading(encoder, tokenizer, shop.bank(), shop.work / "text", **shop.settings("text"))
    encoder.save_pretrained(shop.done("text"))
    tokenizer.save_pretrained(shop.done("text"))


def train_vae(shop: Shop) -> None:
    """The autoencoder, and its `scaling_factor`.

    Differs: the factor is 5.5 times what makes the latents' standard deviation one (they are measured after diffusers'
    default of 0.18215). The painter that is committed was trained with it; see docs/LOG.md.
    """
    x = shop.bank().pixels(shop.device)
    vae = vae_.train(x, shop.work / "vae", **shop.settings("vae"))
    vae.register_to_config(scaling_factor=round(1 / unet_.latents_of(vae, x[:2000]).std().item(), 4))
    vae.save_pretrained(shop.done("vae"))


def train_decoder(shop: Shop) -> None:
    """The decoder once more, with the encoder as it is."""
    bank = shop.bank()
    vae = vae_.polish_decoder(shop.vae(), bank.pixels(shop.device), shop.work / "decoder", **shop.settings("decoder"))
    vae.save_pretrained(shop.done("decoder"))
    np.save(shop.work / "trips.npy", vae_.round_trip(vae, bank.images[:TRIPS], batch=200))


def train_reader(shop: Shop) -> None:
    """The judge."""
    from safetensors.torch import save_file

    model = reader_.train(shop.bank(), shop.trips(), shop.work / "reader", **shop.settings("reader"))
    folder = shop.home / "reader"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()},
        folder / "model.safetensors",
    )


def train_clip(shop: Shop) -> None:
    """The scorer."""
    tokenizer, text = shop.text()
    model = clip_.train(shop.bank(), shop.trips(), tokenizer, text, shop.work / "clip", **shop.settings("clip"))
    clip_.save(shop.home / "clip", model, tokenizer)


def train_llm(shop: Shop) -> None:
    """The writer."""
    tokenizer, work = llm_.build_tokenizer(), shop.work / "llm"
    corpus = llm_.open_corpus(work, shop.settings("llm").get("lessons", 60_000), tokenizer)
    model = llm_.build(len(tokenizer))
    model = llm_.train(model, corpus, work, device=shop.device, **shop.settings("llm", "lessons"))
    llm_.save(shop.home / "llm", model, tokenizer)


def train_edits(shop: Shop) -> None:
    """The writer once more, mostly on edits, from its published weights at a low rate."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    home, work = shop.home / "llm", shop.work / "edits"
    tokenizer = AutoTokenizer.from_pretrained(home)
    corpus = llm_.open_corpus(work, shop.settings("edits").get("lessons", 60_000), tokenizer, edits=0.9)
    model = AutoModelForCausalLM.from_pretrained(home, dtype=torch.float32)
    settings = {"steps": 1000, "batch": 32, "lr": 4e-4} | shop.settings("edits", "lessons")
    llm_.save(home, llm_.train(model, corpus, work, device=shop.device, **settings), tokenizer)


def train_diffusion(shop: Shop) -> None:
    """The painter, from the finished autoencoder and text encoder."""
    tokenizer, text = shop.text()
    bank = shop.bank()
    latents = unet_.latents_of(shop.vae(), bank.pixels(shop.device))
    unet_.train(bank, latents, tokenizer, text, shop.work / "diffusion", **shop.settings("diffusion"))
    export_diffusion(shop)


def export_diffusion(shop: Shop) -> None:
    """Writes the pipeline folder from the newest checkpoint's average, finished or not."""
    tokenizer, text = shop.text()
    pair = unet_.Pair(unet_.build(), text)
    state = torch.load(shop.work / "diffusion" / "checkpoint.pt", weights_only=True, map_location="cpu")
    pair.load_state_dict(state["average"])
    folder = shop.home / "diffusion"
    shutil.rmtree(folder, ignore_errors=True)
    unet_.save_pipeline(folder, shop.vae("decoder" if shop.done("decoder").exists() else "vae"), pair, tokenizer)
    unet_.write_world(folder)


STEPS: dict[str, Callable[[Shop], Any]] = {
    "bank": Shop.bank,
    "text": train_text,
    "vae": train_vae,
    "decoder": train_decoder,
    "reader": train_reader,
    "clip": train_clip,
    "llm": train_llm,
    "edits": train_edits,
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
