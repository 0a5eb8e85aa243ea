"""How an editor's edits change with s_I and with the number of steps, as figures, a plot, and pictures to look at.

direction against preservation, one point for each s_I     what is gained in one is paid in the other
success in few and many steps                              the fewest within one point of the most
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from distill.editing import judging
from distill.editing.latents import EDITED_PICTURE, INSTRUCTION, SOURCE_PICTURE

if TYPE_CHECKING:
    from limbeck.models.edit_diffusers import Asked, DiffusersEditModel

Point = dict[str, float]
_BATCH = 32


def edited(model: DiffusersEditModel, rows: Sequence[dict[str, Any]], size: int, asked: Asked) -> NDArray[np.uint8]:
    """(N, S, S, 3) edits, each with its row's own noise."""
    found = []
    for at in range(0, len(rows), _BATCH):
        some = rows[at : at + _BATCH]
        before = judging.pixels_of(some, SOURCE_PICTURE, size)
        told, noise = [row[INSTRUCTION] for row in some], [judging.seed_of(row) for row in some]
        found.append(model.edit_pixels(before, told, noise, asked))
    return np.concatenate(found)


def curve(
    model: DiffusersEditModel, rows: Sequence[dict[str, Any]], judge: Any, size: int, asked: Sequence[Asked]
) -> list[Point]:
    """One point for each way of asking: `steps`, `text`, `image`, `evaluations`, and each metric."""
    judged, found = judging.Judged(judge, rows, size), []
    for each in asked:
        items = judged.items(edited(model, rows, size, each))
        point = {"steps": float(each.steps), "text": each.guidance_scale, "image": each.image_guidance_scale}
        point["evaluations"] = float(model.evaluations(each))
        found.append(point | {name: judging.mean(values) for name, values in items.items()})
    return found


def over_scales(asked: Asked, scales: Sequence[float]) -> list[Asked]:
    """The same at other values of s_I."""
    return [replace(asked, image_guidance_scale=float(scale)) for scale in scales]


def over_steps(asked: Asked, steps: Sequence[int]) -> list[Asked]:
    """The same in other numbers of steps."""
    return [replace(asked, steps=int(n)) for n in steps]


def fewest_steps(points: Sequence[Mapping[str, float]], metric: str, within: float = 0.01) -> int:
    """The fewest steps whose figure is within `within` of that in the most steps.

    >>> points = [{"steps": 4, "a": 0.80}, {"steps": 8, "a": 0.895}, {"steps": 100, "a": 0.9}]
    >>> fewest_steps(points, "a")
    8
    """
    most = max(points, key=lambda p: p["steps"])
    return int(min(p["steps"] for p in points if p[metric] >= most[metric] - within))


def table(points: Sequence[Point], columns: Sequence[str]) -> str:
    """Points as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_shown(name, point[name]) for name in columns) + " |" for point in points]
    return "\n".join(lines)


def _shown(name: str, value: float) -> str:
    return f"{value:g}" if name in ("steps", "text", "image", "evaluations") else f"{value:.3f}"


def sheet(rows: Sequence[dict[str, Any]], size: int, edits: Mapping[str, NDArray[np.uint8]], path: Path) -> None:
    """A contact sheet: the picture, the dataset's own edit, and each model's, under the instruction.

    Args:
        rows: one line each.
        size: side of the pictures.
        edits: model to (N, S, S, 3).
        path: of the PNG.
    """
    columns = {
        "before": judging.pixels_of(rows, SOURCE_PICTURE, size),
        "dataset": judging.pixels_of(rows, EDITED_PICTURE, size),
        **edits,
    }
    scale = max(1, 96 // size)
    side, gap, head, line = size * scale, 6, 16, 14
    drawn = Image.new(
        "RGB", (gap + (side + gap) * len(columns), head + (side + line + gap) * len(rows)), (255, 255, 255)
    )
    pen = ImageDraw.Draw(drawn)
    for c, (name, pictures) in enumerate(columns.items()):
        x = gap + c * (side + gap)
        pen.text((x, 2), name, fill=(0, 0, 0))
        for r, pixels in enumerate(pictures[: len(rows)]):
            shown = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            drawn.paste(shown, (x, head + r * (side + line + gap) + line))
    for r, row in enumerate(rows):
        pen.text((gap, head + r * (side + line + gap)), row[INSTRUCTION][:120], fill=(0, 0, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.save(path, optimize=True)
