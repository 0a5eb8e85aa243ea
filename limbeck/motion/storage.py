"""Arrays as lossless bytes that say themselves what they are.

A stored array is a struct: `data` (one blob for each index of the first axis, so that one frame is
read without the others), `shape`, `dtype`, `axes` and `codec`. Nothing has to be guessed:

    png    each blob is a PNG file (uint8, HW or HWC with 1 or 3 channels); any viewer opens it
    zstd   each blob is a Zstandard frame of the little-endian C-order bytes
    planes the same after gathering the 1st, 2nd, ... bytes of all numbers, which packs floats better

Axes are letters: G gain, T frame, P pair of frames, L layer, N point, H row, W column, C colour (RGB),
V vector (x, y).
"""

from __future__ import annotations

import io
import math
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from limbeck.errors import SettingError

Codec = Literal["png", "zstd", "planes"]


def encode(array: np.ndarray, axes: str, codec: Codec = "zstd", level: int = 1) -> dict[str, Any]:
    """An array as a value of type `limbeck.records.ARRAY`.

    >>> stored = encode(np.zeros((2, 4, 4), np.float32), "THW")
    >>> stored["shape"], stored["dtype"], stored["axes"], len(stored["data"])
    ([2, 4, 4], 'float32', 'THW', 2)

    Args:
        array: at least one axis.
        axes: one letter an axis.
        codec: see above; png folds all axes before H into the blobs' order.
        level: effort of the compression.

    Raises:
        SettingError: axes and shape differ in number, or the codec can't hold the array.
    """
    if len(axes) != array.ndim or array.ndim == 0:
        raise SettingError(f"axes {axes!r} for an array of {array.ndim} axes", expected="one letter an axis")
    array = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    if codec == "png":
        pictures = array.reshape(-1, *_picture_shape(array, axes))
        data = [to_png(picture, level) for picture in pictures]
    else:
        data = [pa.compress(_bytes(part, codec), "zstd", asbytes=True) for part in array]
    return {"data": data, "shape": list(array.shape), "dtype": array.dtype.name, "axes": axes, "codec": codec}


def decode(stored: dict[str, Any]) -> np.ndarray:
    """The array of a stored value, bit for bit.

    Raises:
        ValueError: the bytes don't fit the stated shape, or the codec is unknown.
    """
    dtype, shape = np.dtype(stored["dtype"]).newbyteorder("<"), tuple(stored["shape"])
    if stored["codec"] == "png":
        parts = [_from_png(blob) for blob in stored["data"]]
    else:
        parts = [decode_part(stored, index) for index in range(len(stored["data"]))]
    flat = np.concatenate([part.ravel() for part in parts]) if parts else np.empty(0, dtype)
    if flat.size != math.prod(shape):
        raise ValueError(f"stored array holds {flat.size} numbers, its shape {list(shape)} says {math.prod(shape)}")
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape)


def decode_part(stored: dict[str, Any], index: int) -> np.ndarray:
    """One blob: entry `index` of the first axis (for png: of all axes before H, flattened)."""
    blob = stored["data"][index]
    if stored["codec"] == "png":
        return _from_png(blob)
    if stored["codec"] not in ("zstd", "planes"):
        raise ValueError(f"unknown codec {stored['codec']!r}; expected png, zstd or planes")
    dtype, shape = np.dtype(stored["dtype"]).newbyteorder("<"), tuple(stored["shape"])[1:]
    raw = pa.decompress(blob, decompressed_size=math.prod(shape) * dtype.itemsize, codec="zstd", asbytes=True)
    values = np.frombuffer(raw, np.uint8)
    if stored["codec"] == "planes":
        values = np.ascontiguousarray(values.reshape(dtype.itemsize, -1).T)
    return values.view(dtype).reshape(shape)


def _bytes(part: np.ndarray, codec: str) -> bytes:
    raw = np.frombuffer(np.ascontiguousarray(part).tobytes(), np.uint8)
    return (raw.reshape(-1, part.dtype.itemsize).T if codec == "planes" else raw).tobytes()


def _picture_shape(array: np.ndarray, axes: str) -> tuple[int, ...]:
    colours = array.shape[-1] if axes.endswith("C") else None
    if array.dtype != np.uint8 or colours not in (None, 1, 3) or "HW" not in axes:
        raise SettingError(
            f"{array.dtype.name} {axes} {array.shape} is no picture",
            expected="uint8, axes ending in HW or HWC with 3 colours",
            remedy="use codec zstd or planes",
        )
    return array.shape[axes.index("H") :]


def to_png(picture: np.ndarray, level: int) -> bytes:
    """(H, W) or (H, W, 1 or 3) uint8 as a PNG file."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 and picture.ndim == 3 else picture).save(
        buffer, "PNG", compress_level=level
    )
    return buffer.getvalue()


def _from_png(blob: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(blob)))
