"""Point tracks as TAP-Vid reads them: float32, exact to 3e-5 px at 384 px; a corner is the origin, not a centre.

One pickle, tap.pkl: clip -> video (T, H, W, 3) uint8, points (N, T, 2) as shares of width and height, occluded (N, T).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from limbeck.exports import Exported
from limbeck.published_rows import Published


def write(source: Published, out: Path) -> Exported:
    """Fills `out` with tap.pkl; clips are numbered in the order of the splits.

    Raises:
        RequestError: the build has no tracks (a `specs_only` one).
    """
    from limbeck.motion.exports import write_tap
    from limbeck.motion.storage import decode

    names = ("frames", "tracks", "tracks_visible")
    source.need(names, "tap")

    def clips() -> Iterator[tuple[np.ndarray, ...]]:
        for split in source.splits:
            for row in source.rows(split, names):
                yield tuple(decode(row[name]) for name in names)

    return Exported(out, write_tap(clips(), out / "tap.pkl"), f"{out / 'tap.pkl'}")
