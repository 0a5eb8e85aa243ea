"""The loop every miniature trains in: warm-up and linear decay to zero, EMA, checkpoints, resume.

A run is a function of its seed: batch t is drawn from `default_rng([seed, t])`, so a resumed run sees the batches
an undisturbed one would have seen. With a limit in seconds, how far it gets depends on the machine.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

Figures = dict[str, "torch.Tensor | float"]
Loss = Callable[[np.random.Generator, int], tuple[torch.Tensor, Figures]]
"""(rng of this step, step) -> (loss, figures to log). A figure stays a tensor until it is logged: asking a GPU for a
number at every step makes it wait."""

LOG_EVERY = 50
_LOOK_EVERY = {"cpu": 1}  # steps between looks at the gradient's norm; other devices would wait at each


def fit(
    model: nn.Module,
    loss: Loss,
    work: Path,
    *,
    steps: int,
    lr: float,
    seconds: float = math.inf,
    seed: int = 0,
    warmup: int = 100,
    decay: float = 1.0,
    ema: float = 0.999,
    weight_decay: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.99),
    every: int = 250,
    on_checkpoint: Callable[[nn.Module, int], None] | None = None,
) -> nn.Module:
    """Trains `model` in place, on the device it is on, and returns its exponential moving average there.

    Args:
        model: what to train; parameters that don't require gradients are left alone.
        loss: the loss of a step; it closes over `model`.
        work: folder of the checkpoint and of `log.jsonl`; a checkpoint found there is continued.
        steps: optimiser steps in all.
        lr: peak learning rate of AdamW.
        seconds: ends the run sooner, with the rate's decay fitted to it.
        seed: seed of the batches.
        warmup: steps of linear warm-up.
        decay: share of the run, at its end, over which the rate falls linearly to zero.
        ema: decay of the moving average; ramped up from (1 + t) / (10 + t).
        weight_decay: of matrices; vectors and scalars get none.
        betas: of AdamW.
        every: steps between checkpoints.
        on_checkpoint: called with (EMA model, step) after each checkpoint.

    Raises:
        FloatingPointError: a gradient that is not finite; the last good checkpoint stays.
    """
    torch.set_flush_denormal(True)
    torch.set_float32_matmul_precision("high")  # TF32 where there is one
    work.mkdir(parents=True, exist_ok=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    device = trained[0].device.type
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=device == "cuda")
    average = copy.deepcopy(model).requires_grad_(False).eval()
    first, spent = 0, 0.0
    saved = work / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved, weights_only=True, map_location=trained[0].device)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first, spent = state["step"], state.get("seconds", 0.0)
    model.train()
    start = time.monotonic() - spent
    begun, seen, step = time.monotonic(), first, first
    with (work / "log.jsonl").open("a") as log:
        while step < steps:
            passed = max(step / steps, (time.monotonic() - start) / seconds)
            if passed >= 1 and step > first:
                break
            rate = lr * min(1.0, (step + 1) / warmup, max(0.0, 1 - passed) / max(1 / steps, decay))
            for group in optimiser.param_groups:
                group["lr"] = rate
            torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
            value, figures = loss(np.random.default_rng([seed, step]), step)
            optimiser.zero_grad(set_to_none=True)
            value.backward()
            norm = nn.utils.clip_grad_norm_(trained, 1.0)
            saves = (step + 1) % every == 0 or step + 1 == steps
            if (saves or step % _LOOK_EVERY.get(device, LOG_EVERY) == 0) and not torch.isfinite(norm):
                raise FloatingPointError(f"gradient norm {norm} at step {step}; last good checkpoint: {saved}")
            optimiser.step()
            with torch.no_grad():
                d = min(ema, (1 + step) / (10 + step))
                torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - d)
                for a, b in zip(average.buffers(), model.buffers(), strict=True):
                    a.copy_(b)
            step += 1
            if step % LOG_EVERY == 0:
                pace = (time.monotonic() - begun) / (step - seen)
                line = {"step": step, "loss": round(value.item(), 5), "norm": round(norm.item(), 3)}
                said = {name: round(float(figure), 4) for name, figure in figures.items()}
                log.write(json.dumps({**line, "s_per_step": round(pace, 4), **said}) + "\n")
                log.flush()
            if saves:
                _save(saved, model, average, optimiser, step, time.monotonic() - start)
                if on_checkpoint:
                    on_checkpoint(average, step)
    _save(saved, model, average, optimiser, step, time.monotonic() - start)
    return average


def _save(
    path: Path, model: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    state = {"model": model.state_dict(), "average": average.state_dict(), "step": step, "seconds": seconds}
    torch.save({**state, "optimiser": optimiser.state_dict()}, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").rename(path)
