"""A moving average of the weights that are trained: often better than the last ones, at the cost of a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Exponential moving average over the trained parameters of one model; buffers are the model's own.

    The decay is ramped up from (1 + t) / (10 + t), so that early weights are forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts at the model's weights; frozen ones aren't copied."""
        self.decay = decay
        self._names = [name for name, p in model.named_parameters() if p.requires_grad]
        self.values = [p.detach().clone() for p in model.parameters() if p.requires_grad]

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Takes the weights after a step in."""
        now = [p for p in model.parameters() if p.requires_grad]
        torch._foreach_lerp_(self.values, [p.detach() for p in now], 1 - min(self.decay, (1 + step) / (10 + step)))

    @contextmanager
    @torch.no_grad()
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model has the averaged weights."""
        own = [p for p in model.parameters() if p.requires_grad]
        kept = [p.detach().clone() for p in own]
        _copy(own, self.values)
        try:
            yield
        finally:
            _copy(own, kept)

    def state_dict(self) -> dict[str, Tensor]:
        """Weights by name."""
        return dict(zip(self._names, self.values, strict=True))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes weights by name over; all of them have to be there.

        Raises:
            KeyError: the average is that of another architecture.
        """
        _copy(self.values, [state[name] for name in self._names])


@torch.no_grad()
def _copy(into: list[Tensor], values: list[Tensor]) -> None:
    for a, b in zip(into, values, strict=True):
        a.copy_(b)
