"""Storybook scenes as source rows: `source.storybook = { rows = 500 }` in a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from limbeck.storybook.grammar import caption
from limbeck.storybook.scene import Split, sample_scene, split_of


def rows(n: int, seed: int, *, split: Split | None = None, things: int | None = None) -> Iterator[dict[str, Any]]:
    """Yields `n` scenes of distinct content, the same ones for the same arguments; a larger `n` begins alike.

    Args:
        n: how many.
        seed: of the drawing.
        split: scenes of one split only; of all three by default.
        things: one, two or three things in each scene; mixed by default.

    Yields:
        `id` (a hash of the caption), `caption`, `scene` (JSON), `split` and `group`.

    Raises:
        ValueError: `split` or `things` is none of theirs.
    """
    if split not in (None, "train", "validation", "test"):
        raise ValueError(f"source.storybook.split is {split!r}; expected train, validation or test")
    if things not in (None, 1, 2, 3):
        raise ValueError(f"source.storybook.things is {things!r}; expected 1, 2 or 3")
    rng, seen = np.random.default_rng([seed, 0x5704]), set()
    while len(seen) < n:
        scene = sample_scene(rng, things=things, split=split)
        text = caption(scene)
        if text in seen:
            continue
        seen.add(text)
        row_id = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        yield {
            "id": row_id,
            "caption": text,
            "scene": scene.to_json(),
            "split": split_of(scene),
            "group": row_id,
        }
