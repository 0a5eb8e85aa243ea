"""The large editor as a teacher that is asked at every step: noise and time are drawn anew, so nothing can be cached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from distill.frozen import Frozen
from limbeck.models.editing import Scales

if TYPE_CHECKING:
    from distill.editing.network import EditingNetwork


class EditorTeacher:
    """Frozen: in evaluation mode, without gradients, in nobody's parameters."""

    def __init__(self, network: EditingNetwork, empty: Tensor) -> None:
        """`empty` is the state of the empty text, (1, S, D)."""
        self._network, self._empty = Frozen(network), empty

    def to(self, device: str | torch.device) -> EditorTeacher:
        """Moves it."""
        self._network.to(device)
        self._empty = self._empty.to(device)
        return self

    def plain(
        self, noisy: Tensor, source: Tensor, times: Tensor, states: Tensor, taps: Sequence[str] = ()
    ) -> dict[str, Tensor]:
        """One branch, as it is conditioned: `output`, and the output of each tapped block."""
        return self._network(noisy, source, times, states=states, taps=taps)

    def guided(self, noisy: Tensor, source: Tensor, times: Tensor, states: Tensor, scales: Scales) -> Tensor:
        """(B, C, H, W) guided output; branches of weight 0 aren't run."""
        return self._mixed(noisy, source, times, states, scales.weights)

    def guided_each(
        self, noisy: Tensor, source: Tensor, times: Tensor, states: Tensor, text: Tensor, image: Tensor
    ) -> Tensor:
        """The same with scales of each row, (B,)."""
        text, image = text.view(-1, 1, 1, 1), image.view(-1, 1, 1, 1)
        weights = {"neither": 1 - image, "picture": image - text, "both": text}
        return self._mixed(noisy, source, times, states, weights)

    def _mixed(
        self,
        noisy: Tensor,
        source: Tensor,
        times: Tensor,
        states: Tensor,
        weights: dict[str, float] | dict[str, Tensor],
    ) -> Tensor:
        names, n = list(weights), len(noisy)
        pictures = [torch.zeros_like(source) if name == "neither" else source for name in names]
        texts = [states if name == "both" else self._empty.expand(n, -1, -1) for name in names]
        said = self._network(
            noisy.repeat(len(names), 1, 1, 1),
            torch.cat(pictures),
            times.repeat(len(names)),
            states=torch.cat(texts),
        )["output"]
        return sum(weights[name] * each for name, each in zip(names, said.chunk(len(names)), strict=True))


def normalised_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """(B,) squared difference of two blocks' outputs, over the teacher's own mean square: 1 is what saying nothing costs.

    Raw squares have the scale of their layer, and the loudest layer would be all that is learnt. Each row has its own
    scale, so that the value doesn't depend on how a batch was cut.

    Args:
        student: (B, C, H, W).
        teacher: (B, C, H, W).

    Source: Kim et al. 2023, BK-SDM, eq. 4.
    Differs: they add raw squares; here each block counts alike.
    """
    student, teacher = student.float(), teacher.float()
    return (student - teacher).square().mean((1, 2, 3)) / teacher.square().mean((1, 2, 3)).clamp(min=1e-12)
