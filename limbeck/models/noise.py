"""Noise that belongs to a picture, not to a batch: every draw is a function of (seed, step) alone.

diffusers' schedulers draw one tensor at batch shape, so a picture's noise depends on what it is rendered with and
on the device. Here each seed has its own counter-based stream on the CPU. NumPy's Philox is used and not
`torch.Generator`, whose CPU engine keeps only the low 32 bits of a seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

_SEED_MASK = (1 << 64) - 1


def standard_normal(seeds: Sequence[int], step: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Unit Gaussian noise of one step, row by row from each row's own seed.

    Args:
        seeds: one 64-bit seed a row; rows with equal seeds get equal noise.
        step: 0 for the initial latent, i for the noise added after step i - 1.
        shape: shape of one row, such as (4, 64, 64).

    Returns:
        (len(seeds), *shape) float32 on the CPU.

    >>> one, both = standard_normal([7], 3, (4, 8, 8)), standard_normal([1, 7], 3, (4, 8, 8))
    >>> bool((one[0] == both[1]).all())
    True
    """
    rows = [_stream(seed, step).standard_normal(shape, dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


def _stream(seed: int, step: int) -> np.random.Generator:
    """The generator of one (seed, step): Philox4x64 with both as its key."""
    return np.random.Generator(np.random.Philox(key=np.array([seed & _SEED_MASK, step], dtype=np.uint64)))
