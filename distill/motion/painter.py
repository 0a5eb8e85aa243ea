"""Training pairs painted at every step on the device that trains, from a bank of layers that stays there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.motion.pairs import spec_of
from limbeck.errors import RequestError

if TYPE_CHECKING:
    from distill.dataset import Dataset

_LOOKS_AT = 32
"""Clips from whose size that of all is told."""


class Painter:
    """A bank of the training clips' layers.

    Attributes:
        at: position of a row in the dataset to its number in the bank.
    """

    def __init__(self, dataset: Dataset, device: str) -> None:
        """Makes nothing yet."""
        self._dataset, self._device, self._bank = dataset, device, None
        self.at: dict[int, int] = {}

    def prepare(self, positions: Sequence[int] | NDArray[np.int64]) -> None:
        """Makes the layers of these clips, if they aren't those that are there.

        Raises:
            RequestError: a clip has more than two frames, or can't be rendered, or as many as these don't fit a bank,
                which is known after the first few.
        """
        wanted = {int(position): n for n, position in enumerate(positions)}
        if wanted == self.at:
            return
        import torch

        from limbeck.motion import batch
        from limbeck.motion.render import build_scene

        scenes, size = [], 0
        for position in wanted:
            row = self._dataset.row(position)
            spec = spec_of(row)
            if spec.frames != 2:
                raise RequestError(
                    f"row {row['id']} has {spec.frames} frames", expected="pairs, frames = 2", where="student.paint",
                    remedy="build clips of two frames, or use paint = 'stored'",
                )  # fmt: skip
            try:
                with torch.inference_mode():
                    scenes.append(build_scene(spec))
            except ValueError as error:
                raise RequestError(f"row {row['id']}: {error}", where="student.paint") from error
            size += batch.texels(scenes[-1])
            if len(scenes) in (_LOOKS_AT, len(wanted)) and size * len(wanted) >= batch.MOST_TEXELS * len(scenes):
                raise RequestError(
                    f"the layers of {len(wanted):,} clips take {16 * size / len(scenes) * len(wanted) / 1e9:,.0f} GB",
                    expected=f"at most {batch.MOST_TEXELS * len(scenes) // size:,} such clips in a bank of {16 * batch.MOST_TEXELS / 1e9:,.0f} GB",
                    where="student.paint",
                    remedy="set budget.labelled to fewer, or use paint = 'stored'",
                )
        self._bank, self.at = batch.Bank.of(scenes, self._device), wanted

    def paint(self, clips: Sequence[int], seeds: Sequence[int], crop_px: int = 0) -> dict[str, Any]:
        """A batch as `Motion.batch` has it, on the device. A row depends on its own clip and seed alone.

        Args:
            clips: B numbers of the bank.
            seeds: B, each of a row's noise, dither, gain and crop, in [0, 2^63).
            crop_px: side of the crops; 0 is the whole frame.
        """
        import torch

        from limbeck.motion.training import training_batch

        generators = [torch.Generator(self._device).manual_seed(seed) for seed in seeds]
        with torch.no_grad():
            painted = training_batch(self._bank, clips, generators)
        frames, magnified, gains = painted["frames"], painted["magnified"], painted["gain_total"]
        height, width = frames.shape[-2:]
        side = crop_px or min(height, width)
        cuts = []
        for n, rng in enumerate(map(np.random.default_rng, seeds)):
            gain = int(rng.integers(gains.shape[1]))
            top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            cuts.append((n, gain, slice(top, top + side), slice(left, left + side)))
        return {
            "first": torch.stack([frames[n, 0, :, y, x] for n, _, y, x in cuts]),
            "second": torch.stack([frames[n, 1, :, y, x] for n, _, y, x in cuts]),
            "target": torch.stack([magnified[n, gain, 1, :, y, x] for n, gain, y, x in cuts]),
            "gain": torch.stack([gains[n, gain] for n, gain, _, _ in cuts]),
            "labelled": torch.ones(len(cuts), dtype=torch.bool, device=frames.device),
        }
