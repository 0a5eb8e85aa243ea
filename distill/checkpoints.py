"""A training on disk, written aside and renamed: a kill leaves the last whole one.

    work/checkpoint.pt    trained weights and buffers, average, optimiser, scaler, step, looks; random numbers need no
                          keeping, since every step seeds them from (seed, step, process)
    work/best.pt          trained weights and buffers of the best look

Frozen weights are not in it: `Student.build` gives them again. No teacher is ever in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.store import disk_errors, sync_folder

LAST, BEST = "checkpoint.pt", "best.pt"


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """What a training changes: parameters with gradients, and buffers that are saved."""
    every = list(model.named_parameters(remove_duplicate=False))  # tied weights have two names
    trained = {name for name, p in every if p.requires_grad}
    frozen = {name for name, p in every if not p.requires_grad}
    return {name: value for name, value in model.state_dict().items() if name in trained or name not in frozen}


def load_trained(model: nn.Module, state: dict[str, Tensor]) -> None:
    """The inverse of `trained_state`.

    Raises:
        RuntimeError: it is the state of another architecture.
    """
    missing = trained_state(model).keys() - state.keys()
    unexpected = model.load_state_dict(state, strict=False).unexpected_keys
    if missing or unexpected:
        raise RuntimeError(f"a checkpoint of another model: {sorted(missing)[:3]} missing, {unexpected[:3]} unknown")


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state.

    Raises:
        DiskFull: the last one stays.
    """
    aside = path.with_suffix(".tmp")
    try:
        with disk_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(state, aside)
            aside.replace(path)
            sync_folder(path.parent)
    finally:  # not before the disk was looked at
        aside.unlink(missing_ok=True)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """A state, or None where there is none; nothing but tensors and plain values is unpickled."""
    place = "cpu" if device.type == "cpu" else device  # torch knows no cpu:1, which is what accelerate says
    return torch.load(path, map_location=place, weights_only=True) if path.is_file() else None
