"""Trains `mini:reader` on rendered pictures and on their round trips through the autoencoder, never on generations."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from distill.miniatures.bank import Bank
from distill.miniatures.loop import Figures, fit
from limbeck.models.reader import Reader
from limbeck.storybook.attributes import FIELDS, attributes


def train(
    bank: Bank,
    trips: torch.Tensor,
    work: Path,
    *,
    steps: int = 1200,
    batch: int = 64,
    lr: float = 2e-3,
    seconds: float = math.inf,
    every: int = 250,
) -> Reader:
    """Half of each batch is rendered, half the round trip of other pictures; with shift, blur, noise and gain.

    Args:
        bank: rendered training pictures.
        trips: (M, 3, 64, 64) uint8, round trips of the bank's first M pictures, on the device to train on.
        work: folder of checkpoints.
        steps: optimiser steps.
        batch: pictures a step.
        lr: peak learning rate.
        seconds: ends the run sooner.
        every: steps between checkpoints.
    """
    device = trips.device
    model, pictures, truth = Reader().to(device), bank.pixels(device), bank.truth(device)

    def loss(rng: np.random.Generator, step: int) -> tuple[torch.Tensor, Figures]:
        a = torch.from_numpy(np.sort(rng.integers(len(pictures), size=batch // 2))).to(device)
        b = torch.from_numpy(rng.integers(len(trips), size=batch // 2)).to(device)
        target = torch.cat([truth[a], truth[b]])
        logits = model(augment(torch.cat([pictures[a], trips[b]]).float() / 255, rng))
        parts = [F.cross_entropy(z, target[:, i], ignore_index=-1) for i, z in enumerate(logits)]
        right = torch.stack([z.argmax(-1) == target[:, i] for i, z in enumerate(logits)], 1)[target >= 0]
        return torch.stack(parts).mean(), {"right": right.float().mean()}

    return fit(model, loss, work, steps=steps, lr=lr, seconds=seconds, every=every, warmup=100, ema=0.995)


def augment(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Small shifts, a blur for every third batch, a gain and noise, so that no single pixel decides."""
    dy, dx = (int(v) for v in rng.integers(-2, 3, 2))
    x = F.pad(x, (2, 2, 2, 2), mode="replicate")[:, :, 2 + dy : 66 + dy, 2 + dx : 66 + dx]
    if rng.random() < 0.33:
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    gain = 1 + 0.06 * torch.randn(len(x), 1, 1, 1, device=x.device)
    return (x * gain + 0.03 * torch.randn_like(x) * float(rng.random())).clamp(0, 1)


def accuracy(reader: Reader, images: NDArray[np.uint8], bank: Bank) -> dict[str, float]:
    """Share right, per attribute, where the attribute exists."""
    truth = np.stack([attributes(s) for s in bank.scenes[: len(images)]])
    found = reader.read(images)
    return {name: float((found[:, i] == truth[:, i])[truth[:, i] >= 0].mean()) for i, name in enumerate(FIELDS)}
