"""The loop every miniature trains in: warm-up and linear decay to zero, EMA, checkpoints, resume.

A run is a function of its seed: batch t is drawn from `default_rng([seed, t])`, so a resumed run sees the batches
an undisturbed one would have seen.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

Loss = Callable[[np.random.Generator, int], tuple[torch.Tensor, dict[str, float]]]
"""(rng of this step, step) -> (loss, figures to log)."""


def fit(
    model: nn.Module,
    loss: Loss,
    work: Path,
    *,
    steps: int,
    lr: float,
    seed: int = 0,
    warmup: int = 100,
    decay: float = 1.0,
    ema: float = 0.999,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.99),
    every: int = 250,
    on_checkpoint: Callable[[nn.Module, int], None] | None = None,
) -> nn.Module:
    """Trains `model` in place and returns its exponential moving average.

    Args:
        model: what to train; parameters that don't require gradients are left alone.
        loss: the loss of a step; it closes over `model`.
        work: folder of the checkpoint and of `log.jsonl`; a checkpoint found there is continued.
        steps: optimiser steps in all.
        lr: peak learning rate of AdamW.
        seed: seed of the batches.
        warmup: steps of linear warm-up.
        decay: share of the run, at its end, over which the rate falls linearly to zero.
        ema: decay of the moving average; ramped up from (1 + t) / (10 + t).
        weight_decay: of matrices; vectors and scalars get none.
        betas: of AdamW.
        every: steps between checkpoints.
        on_checkpoint: called with (EMA model, step) after each checkpoint.
    """
    torch.set_flush_denormal(True)
    work.mkdir(parents=True, exist_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=betas)
    average = copy.deepcopy(model).requires_grad_(False).eval()
    first = 0
    saved = work / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    model.train()
    start, seen = time.time(), first
    with (work / "log.jsonl").open("a") as log:
        for step in range(first, steps):
            rate = lr * min(1.0, (step + 1) / warmup, (steps - step) / max(1, decay * steps))
            for group in optimiser.param_groups:
                group["lr"] = rate
            torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
            value, figures = loss(np.random.default_rng([seed, step]), step)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            norm = nn.utils.clip_grad_norm_(trained, 1.0)
            if not torch.isfinite(norm):
                raise FloatingPointError(f"gradient norm {norm} at step {step}; last good checkpoint: {saved}")
            optimiser.step()
            with torch.no_grad():
                d = min(ema, (1 + step) / (10 + step))
                for a, p in zip(average.parameters(), model.parameters(), strict=True):
                    a.lerp_(p, 1 - d)
                for a, b in zip(average.buffers(), model.buffers(), strict=True):
                    a.copy_(b)
            if (step + 1) % 50 == 0:
                pace = (time.time() - start) / (step + 1 - seen)
                line = {"step": step + 1, "loss": round(value.item(), 5), "norm": round(norm.item(), 3)}
                log.write(json.dumps({**line, "s_per_step": round(pace, 3), **figures}) + "\n")
                log.flush()
            if (step + 1) % every == 0 or step + 1 == steps:
                state = {"model": model.state_dict(), "average": average.state_dict(), "step": step + 1}
                torch.save({**state, "optimiser": optimiser.state_dict()}, saved.with_suffix(".tmp"))
                saved.with_suffix(".tmp").rename(saved)
                if on_checkpoint:
                    on_checkpoint(average, step + 1)
    return average
