"""Pictures and scenes of the storybook, rendered once and kept for every training."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.storybook import Scene, caption, render, sample_scene
from limbeck.storybook.attributes import attributes
from limbeck.storybook.scene import Split

CHUNK = 500


@dataclass(frozen=True)
class Bank:
    """`images` is (N, 64, 64, 3) uint8, memory-mapped; `scenes` and `captions` go with it, row by row."""

    images: NDArray[np.uint8]
    scenes: list[Scene]

    @property
    def captions(self) -> list[str]:
        """The caption of every picture."""
        return [caption(s) for s in self.scenes]

    def pixels(self, device: str = "cpu") -> torch.Tensor:
        """(N, 3, 64, 64) uint8, in the memory of a device."""
        return channels_first(self.images).to(device)

    def truth(self, device: str = "cpu") -> torch.Tensor:
        """(N, len(FIELDS)) int64 class indices."""
        return torch.tensor(np.stack([attributes(s) for s in self.scenes]), device=device)


def channels_first(images: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1)))


def _chunk(job: tuple[int, Split, int, int]) -> tuple[NDArray[np.uint8], list[str]]:
    seed, split, index, n = job
    rng = np.random.default_rng([seed, index])
    scenes = [sample_scene(rng, split=split) for _ in range(n)]
    return np.stack([render(s).image for s in scenes]), [s.to_json() for s in scenes]


def open_bank(folder: Path, n: int, split: Split = "train", seed: int = 0) -> Bank:
    """Opens `n` pictures of a split, rendering them first where they are not there yet.

    The bank of a seed is a fixed sequence: a larger `n` begins with the same pictures.
    """
    name = folder / f"{split}-{seed}-{n}"
    images, scenes = name.with_suffix(".npy"), name.with_suffix(".jsonl")
    if not (images.exists() and scenes.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        jobs = [(seed, split, i, min(CHUNK, n - i * CHUNK)) for i in range(-(-n // CHUNK))]
        # an executor, not a Pool: a Pool whose workers can't start starts them again for ever
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(_chunk, jobs))
        scenes.write_text("\n".join(line for _, lines in parts for line in lines))
        partial = name.with_suffix(".part.npy")
        np.save(partial, np.concatenate([pictures for pictures, _ in parts]))
        partial.rename(images)
    return Bank(np.load(images, mmap_mode="r"), [Scene.from_json(line) for line in scenes.read_text().splitlines()])
