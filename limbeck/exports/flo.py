"""Optical flow as Middlebury .flo files: float32, exact to 1e-9 px at 0.01 px; no mask, so occluded flow is in it.

000000/forward_0000.flo     from frame 0 to frame 1 of the first clip
000000/backward_0000.flo    from frame 1 to frame 0
ids.txt                     row ids in the order of the folders
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from limbeck.exports import Exported
from limbeck.published_rows import Published


def write(source: Published, out: Path) -> Exported:
    """Fills `out`: a folder for every clip, in the order of the splits.

    Raises:
        RequestError: the build has no flow (a `specs_only` one).
    """
    from limbeck.motion.exports import write_flo
    from limbeck.motion.storage import decode

    source.need(("flow_forward", "flow_backward"), "flo")
    ids: list[str] = []

    def flows() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for split in source.splits:
            for row in source.rows(split, ("id", "flow_forward", "flow_backward")):
                ids.append(row["id"])
                yield decode(row["flow_forward"]), decode(row["flow_backward"])

    count = write_flo(flows(), out)
    (out / "ids.txt").write_text("".join(f"{name}\n" for name in ids))
    return Exported(out, count)
