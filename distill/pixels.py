"""Pictures of rows to what small vision students read: one size, one normalisation, and the config that says so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from limbeck.errors import RequestError
from limbeck.pictures import Fault, decode

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from limbeck.models.preprocess import Preprocess

MEAN, STD = 0.5, 0.25
"""Of pixels in [0, 1], all channels."""


def picture_of(row: dict[str, Any], column: str = "image") -> Image.Image:
    """A row's picture as RGB.

    Raises:
        RequestError: it can't be read.
    """
    picture = decode(row[column])
    if isinstance(picture, Fault):
        raise RequestError(
            f"the picture of row {row['id']} is {picture.reason}: {picture.detail}",
            where=f"column {column}",
            remedy="filter the dataset with `image_integrity` first",
        )
    return picture


def pixels(pictures: Sequence[Image.Image], side: int) -> torch.Tensor:
    """(B, 3, side, side) float32, normalised."""
    return _preprocess(side)(list(pictures))["pixel_values"]


@cache
def _preprocess(side: int) -> Preprocess:
    from limbeck.models.preprocess import Preprocess

    return Preprocess(side, (side, side), (MEAN,) * 3, (STD,) * 3)


def processor_config(kind: str, side: int) -> dict[str, Any]:
    """`preprocessor_config.json` for the same, as transformers reads it.

    Args:
        kind: `CLIPImageProcessor`, `ViTImageProcessor`.
        side: of its pictures.
    """
    crop = {"do_center_crop": True, "crop_size": {"height": side, "width": side}}
    exact = kind == "ViTImageProcessor"  # which knows no crop
    return {
        "image_processor_type": kind,
        "do_resize": True,
        "size": {"height": side, "width": side} if exact else {"shortest_edge": side},
        "resample": 3,
        **({} if exact else crop),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
        "do_convert_rgb": True,
    }
