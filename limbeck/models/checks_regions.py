"""Checks of detectors and segmenters: what they find lies in the picture, and is found again."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from limbeck.storybook.render import render
from limbeck.storybook.scene import Scene
from limbeck.storybook.source import rows
from limbeck.verification import Check


def checks(model: Any, role: str) -> tuple[str, list[Check]]:
    """How it runs, and what was found."""
    scene = Scene.from_json(next(iter(rows(1, 11, things=2)))["scene"])
    drawn = render(scene, 256)
    picture = Image.fromarray(drawn.image)
    how = f"{str(model.dtype).removeprefix('torch.')} on {model.device}" if hasattr(model, "dtype") else ""
    if role == "detect":
        names = [thing.kind for thing in scene.things]
        found, again = (model.detect(picture, names, min_score=0.05) for _ in range(2))
        inside = all(0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1 for x0, y0, x1, y1 in (each.box for each in found))
        scores = [each.score for each in found]
        return how, [
            Check("boxes lie in the picture", inside, f"{len(found)} boxes", "corners from 0 to 1, in order"),
            Check("names are those asked for, the surest first",
                  {each.name for each in found} <= set(names) and scores == sorted(scores, reverse=True),
                  ", ".join(sorted({each.name for each in found})) or "nothing found", ", ".join(names)),
            Check("found again alike", found == again, "the same" if found == again else "others", "the same"),
        ]  # fmt: skip
    boxes = [_box(mask) for mask in drawn.masks]
    masks, again = (model.segment(picture, boxes) for _ in range(2))
    shape = (len(boxes), picture.height, picture.width)
    overlap = [_iou(a, b) for a, b in zip(masks, drawn.masks, strict=True)] if masks.shape == shape else []
    return how, [
        Check("a mask for each box, in the picture's size", masks.shape == shape and masks.dtype == bool,
              f"{masks.shape} {masks.dtype}", f"{shape} bool"),
        Check("found again alike", np.array_equal(masks, again), "compared", "the same"),
        Check("masks against the drawn things", bool(overlap), ", ".join(f"{each:.2f}" for each in overlap),
              "any overlap; 0.8 and more of weights that segment"),
    ]  # fmt: skip


def _box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """A mask's box, corners as shares of width and height."""
    ys, xs = np.nonzero(mask)
    height, width = mask.shape
    return xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))
