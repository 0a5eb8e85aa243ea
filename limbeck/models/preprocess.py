"""Pictures to the pixels a scorer was trained on: resize, crop, scale, normalise, without torchvision.

`Preprocess.load` reads the numbers from the model folder's own `preprocessor_config.json`.

Convention: pixels leave as (N, 3, H, W) float32, RGB, first 0..255 -> [0, 1], then `(x - mean) / std`. Pictures
enter as 8-bit PIL images or (H, W, 3) uint8 arrays only: a float picture could be [0, 1] or [-1, 1], and guessing
which is how published scores went wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from limbeck.errors import SettingError

Resize = Literal["model", "ip2p"]
_MODES = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling, as the configs store it


@dataclass(frozen=True)
class Preprocess:
    """How pictures become pixels.

    Attributes:
        size: (height, width) to resize to exactly, or an int for the shortest side.
        crop: (height, width) of the centre crop after resizing, or None.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        mode: `bicubic`, `bilinear` or `nearest`, with antialiasing as Pillow has it.
        resize: `model`; or `ip2p` for InstructPix2Pix's scorer, which squeezes the picture to the final size with
            torch's bicubic kernel, without antialiasing and without rounding.
        dynamic: SigLIP 2 NaFlex: (patch side, most patches); the picture keeps its aspect ratio.
    """

    size: int | tuple[int, int]
    crop: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mode: str = "bicubic"
    resize: Resize = "model"
    dynamic: tuple[int, int] | None = None

    @classmethod
    def from_config(cls, config: dict[str, Any], resize: Resize = "model") -> Preprocess:
        """Reads a `preprocessor_config.json`.

        Raises:
            ValueError: the config resizes in a way that isn't known here.
            SettingError: `ip2p` for a model without a fixed size.
        """
        size, mode = config.get("size"), config.get("resample", 3)
        if mode not in _MODES:
            raise ValueError(f"resample = {mode}: expected one of {_MODES} (PIL.Image.Resampling)")
        dynamic = None
        if "max_num_patches" in config:
            if resize == "ip2p":
                raise SettingError("resize = 'ip2p'", expected="a model of one picture size; NaFlex keeps proportions")
            dynamic = (config.get("patch_size") or 16, config["max_num_patches"])
            size = 0
        elif isinstance(size, dict):
            if "shortest_edge" in size and "longest_edge" not in size:
                size = int(size["shortest_edge"])
            elif {"height", "width"} <= set(size):
                size = (int(size["height"]), int(size["width"]))
        if not isinstance(size, int | tuple):
            raise ValueError(f"size = {size!r}: expected a number, `shortest_edge`, or `height` and `width`")
        crop = config.get("crop_size") if config.get("do_center_crop", False) else None
        if crop is not None:
            crop = (crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop)
        mean, std = (config.get(f"image_{k}") or [default] * 3 for k, default in (("mean", 0.0), ("std", 1.0)))
        if not config.get("do_normalize", True):
            mean, std = [0.0] * 3, [1.0] * 3
        return cls(size, crop, tuple(mean), tuple(std), _MODES[mode], resize, dynamic)

    @classmethod
    def load(cls, folder_or_id: str, revision: str | None = None, resize: Resize = "model") -> Preprocess:
        """Reads it from a folder or Hub id: `preprocessor_config.json`, or its place in `processor_config.json`."""
        from transformers.utils import cached_file

        options = {"revision": revision, "_raise_exceptions_for_missing_entries": False}
        path = cached_file(folder_or_id, "preprocessor_config.json", **options)
        if path:
            with open(path, encoding="utf-8") as file:
                return cls.from_config(json.load(file), resize)
        path = cached_file(folder_or_id, "processor_config.json", **options)
        if path:
            with open(path, encoding="utf-8") as file:
                return cls.from_config(json.load(file)["image_processor"], resize)
        raise FileNotFoundError(f"{folder_or_id}: found neither preprocessor_config.json nor processor_config.json")

    def __call__(self, images: Sequence[Image.Image | np.ndarray]) -> dict[str, torch.Tensor]:
        """Pictures of any sizes to the model's inputs.

        Returns:
            `{"pixel_values": (N, 3, H, W) float32}`; with `dynamic`, (N, patches, 3 * side * side) with
            `pixel_attention_mask` (N, patches) and `spatial_shapes` (N, 2).

        Raises:
            TypeError: a picture isn't 8 bit.
        """
        pictures = [as_uint8(image) for image in images]
        if self.dynamic:
            return self._patches(pictures)
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, picture in enumerate(pictures):
            by_shape[picture.shape].append(index)
        out: list[torch.Tensor | None] = [None] * len(pictures)
        for indices in by_shape.values():
            x = torch.from_numpy(np.stack([pictures[i] for i in indices])).permute(0, 3, 1, 2)  # (n, 3, h, w) uint8
            for index, pixels in zip(indices, self._normalise(self._resize(x)), strict=True):
                out[index] = pixels
        return {"pixel_values": torch.stack(out)}

    def _resize(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, h, w) uint8 to (n, 3, H, W) float32 in [0, 255]."""
        if self.resize == "ip2p":
            size = self.crop or self.size
            size = (size, size) if isinstance(size, int) else size
            return F.interpolate(x.float(), size, mode="bicubic", align_corners=False)
        h, w = x.shape[-2:]
        if isinstance(self.size, int):
            short, long = self.size, int(self.size * max(h, w) / min(h, w))
            size = (short, long) if h <= w else (long, short)
        else:
            size = self.size
        x = resize_like_pillow(x, size, self.mode)
        return centre_crop(x, self.crop) if self.crop else x

    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, H, W) in [0, 255] to zero mean and unit variance by channel."""
        mean, std = (torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (self.mean, self.std))
        return (x / 255 - mean) / std

    def _patches(self, pictures: list[np.ndarray]) -> dict[str, torch.Tensor]:
        """SigLIP 2 NaFlex: each picture as a padded list of patches, row by row."""
        side, most = self.dynamic
        values = torch.zeros(len(pictures), most, 3 * side * side)
        mask = torch.zeros(len(pictures), most, dtype=torch.int32)
        shapes = torch.zeros(len(pictures), 2, dtype=torch.int64)
        for index, picture in enumerate(pictures):
            rows, columns = most_patches(*picture.shape[:2], side, most)
            x = torch.from_numpy(picture[None]).permute(0, 3, 1, 2)
            x = self._normalise(resize_like_pillow(x, (rows * side, columns * side), self.mode))[0]
            x = x.reshape(3, rows, side, columns, side).permute(1, 3, 2, 4, 0)  # (rows, columns, side, side, 3)
            values[index, : rows * columns] = x.reshape(rows * columns, -1)
            mask[index, : rows * columns] = 1
            shapes[index] = torch.tensor((rows, columns))
        return {"pixel_values": values, "pixel_attention_mask": mask, "spatial_shapes": shapes}


def as_uint8(image: Image.Image | np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a PIL image (any 8-bit mode) or an array that is that already.

    Raises:
        TypeError: anything else, with what it was.
    """
    if isinstance(image, Image.Image):
        if image.mode.startswith(("I", "F")):
            raise TypeError(f"found a PIL image of mode {image.mode}; expected 8 bits a channel (convert it first)")
        return np.array(image.convert("RGB"))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return image
    found = f"{type(image).__name__}"
    if hasattr(image, "dtype"):
        found += f" of {image.dtype}, {tuple(image.shape)}, values {float(image.min()):g} to {float(image.max()):g}"
    raise TypeError(f"found {found}; expected a PIL image or an (H, W, 3) uint8 array: float ranges are ambiguous")


def resize_like_pillow(x: torch.Tensor, size: tuple[int, int], mode: str = "bicubic") -> torch.Tensor:
    """Antialiased resize, within 1/255 of `PIL.Image.resize`.

    Width first, then height, with rounding (halves up) in between, as Pillow does it: in one step, sharp edges
    overshoot and differ by up to 15 levels. Pillow 13 takes the height first where that is much less work, as when a
    tall picture becomes a square; there its own result differs from that of Pillow 12 by up to 6 levels at edges.

    Args:
        x: (N, 3, h, w), values 0 to 255, any dtype.
        size: (height, width).
        mode: `bicubic`, `bilinear` or `nearest`.

    Returns:
        (N, 3, height, width) float32, whole numbers in [0, 255].
    """
    x = x.float()
    if mode == "nearest":
        return F.interpolate(x, size, mode="nearest-exact")
    for step in ((x.shape[-2], size[1]), size):
        if step != tuple(x.shape[-2:]):
            x = F.interpolate(x, step, mode=mode, align_corners=False, antialias=True)
            x = (x + 0.5).floor().clamp(0, 255)
    return x


def centre_crop(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cuts (..., h, w) to `size` about the middle; a side that is too short is padded with zeros (black)."""
    h, w = x.shape[-2:]
    pad_h, pad_w = max(size[0] - h, 0), max(size[1] - w, 0)
    if pad_h or pad_w:
        x = F.pad(x, ((pad_w + 1) // 2, pad_w // 2, (pad_h + 1) // 2, pad_h // 2))
        h, w = x.shape[-2:]
    top, left = (h - size[0]) // 2, (w - size[1]) // 2
    return x[..., top : top + size[0], left : left + size[1]]


def most_patches(height: int, width: int, side: int, most: int) -> tuple[int, int]:
    """Rows and columns of patches nearest the picture's aspect ratio, at most `most` in all.

    The largest scale s with ceil(s h / side) * ceil(s w / side) <= most, found by bisection to 1e-5 as in the
    reference implementation (Tschannen et al. 2025, SigLIP 2, section 2.4.2), so that rounding falls alike.

    >>> most_patches(512, 512, 16, 256)
    (16, 16)
    """
    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        scale = (low + high) / 2
        if _count(height, scale, side) * _count(width, scale, side) <= most:
            low = scale
        else:
            high = scale
    return _count(height, low, side), _count(width, low, side)


def _count(length: int, scale: float, side: int) -> int:
    """Patches along one side after scaling, at least one."""
    return max(1, int(np.ceil(length * scale / side)))
