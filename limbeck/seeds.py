"""A seed for every row and draw, by hashing: no seed depends on how many came before it.

Seed chains (each seed drawn from the generator that the last one seeded) fall into short cycles; the reference
implementation of InstructPix2Pix repeats itself after a few hundred prompts. A hash doesn't, and a row keeps its
seed whatever part, batch, process or order it is computed in.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def seed(recipe_seed: int, stage: str, row_id: str, draw: int = 0) -> int:
    """The 64-bit seed of one draw for one row at one stage; the same on every platform.

    >>> seed(7, "edit_pairs", "9f3c/0", 3)
    15373583371305401556
    >>> seed(7, "edit_pairs", "9f3c/0", 4)
    15823609745378214842

    Args:
        recipe_seed: `dataset.seed` of the recipe.
        stage: the stage's id in the recipe.
        row_id: id of the row.
        draw: which of the row's draws, such as the ordinal of a sample.
    """
    text = "\x1f".join((str(int(recipe_seed)), stage, row_id, str(int(draw))))
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=b"limbeck.seed").digest(), "little")


def rng(recipe_seed: int, stage: str, row_id: str, draw: int = 0) -> np.random.Generator:
    """A generator (PCG64) for one draw; NumPy keeps `random`, `integers` and `choice` of PCG64 alike across platforms.

    >>> round(rng(7, "edit_pairs", "9f3c/0", 3).random(), 12)
    0.281616260279
    """
    return np.random.Generator(np.random.PCG64(seed(recipe_seed, stage, row_id, draw)))


def unit(*names: str) -> float:
    """A fixed pseudo-random number in [0, 1) from names: splits by group, samples of rejects.

    >>> 0 <= unit("split", "9f3c") < 1
    True
    """
    text = "\x1f".join(names)
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=b"limbeck.unit").digest(), "little") / 2**64
