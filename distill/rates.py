"""Learning rates: of a step, and of a model's parts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from distill.tables import TrainTable


def rate(step: int, settings: TrainTable) -> float:
    """The learning rate of a step, a function of nothing else.

    >>> from distill.tables import TrainTable
    >>> table = TrainTable(steps=100, warmup=10, lr=1.0, schedule="linear")
    >>> rate(0, table), rate(9, table), rate(55, table), rate(99, table) > 0
    (0.1, 1.0, 0.5, True)
    >>> again = TrainTable(steps=100, warmup=0, lr=1.0, schedule="linear", restarts=[60], restart_lr=0.2)
    >>> rate(30, again), rate(60, again), rate(80, again)
    (0.5, 0.2, 0.1)
    """
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    bounds = [settings.warmup, *(settings.restarts or ()), settings.steps]
    start, end = next(pair for pair in itertools.pairwise(bounds) if step < pair[1] or pair[1] == settings.steps)
    peak = settings.lr if start == settings.warmup else settings.restart_lr or settings.lr
    passed = (step - start) / max(1, end - start)
    if settings.schedule == "linear":
        return peak * (1 - passed)
    return peak * (0.5 * (1 + math.cos(math.pi * passed)) if settings.schedule == "cosine" else 1.0)


def parameter_groups(model: nn.Module, weight_decay: float, paces: Mapping[str, float]) -> list[dict[str, Any]]:
    """Groups of what is trained, for an optimiser: by pace, and matrices apart from what isn't decayed.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    >>> [(len(g["params"]), g["weight_decay"], g["pace"]) for g in parameter_groups(model, 0.1, {"1.": 0.5})]
    [(1, 0.1, 1.0), (1, 0.0, 1.0), (1, 0.1, 0.5), (1, 0.0, 0.5)]
    """
    found: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): [], (1.0, False): []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            pace = next((float(share) for start, share in paces.items() if name.startswith(start)), 1.0)
            found.setdefault((pace, True), [])
            found.setdefault((pace, False), [])
            found[pace, parameter.ndim >= 2].append(parameter)
    return [
        {"params": parameters, "weight_decay": weight_decay if decays else 0.0, "pace": pace}
        for (pace, decays), parameters in found.items()
    ]
