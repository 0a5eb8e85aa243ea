"""A teacher that has to be asked while its student trains: frozen, and no part of the student.

Held as a plain attribute of a student's module, a teacher would be switched to training mode by the parent's `train()`,
collected by the optimiser, wrapped for several processes and written into every checkpoint. Here it is none of these.
Cache its answers instead where you can (`distill.teacher`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Frozen:
    """Wraps a module; not a module itself, so that no parent finds it.

    >>> teacher = Frozen(nn.Dropout(0.9))
    >>> parent = nn.Linear(1, 1); parent.teacher = teacher
    >>> _ = parent.train()
    >>> bool((teacher(torch.ones(8)) == 1).all()), [name for name, _ in parent.named_modules()]
    (True, [''])
    """

    def __init__(self, module: nn.Module) -> None:
        """Takes the module over."""
        self._module = module.eval().requires_grad_(False)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """A forward pass in evaluation mode, without gradients, whatever happened to the module in between."""
        self._module.eval()
        with torch.no_grad():
            return self._module(*arguments, **named)

    def to(self, device: str | torch.device) -> Frozen:
        """Moves it."""
        self._module.to(device)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        """Copies of a student share their teacher."""
        return self
