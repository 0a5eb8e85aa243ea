"""Reads encoded pictures from anywhere: what is wrong with one is an answer here, never a crash.

Pictures travel encoded between stages; a stage that needs pixels calls `decode`.
"""

from __future__ import annotations

import base64
import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import numpy as np

MAX_PIXELS = 64_000_000
"""Larger pictures aren't unpacked: a file of kilobytes can unpack to gigabytes."""

FAULTS = ("missing", "unreadable", "truncated", "enormous", "animated", "not_rgb")
"""What can be wrong with one picture."""

_BEGINNINGS = {b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp"}
"""First bytes of the formats that servers read beside JPEG."""
_ADDRESS = re.compile(r" ?<[\w.]+ object at 0x[0-9a-f]+>")
_PLAIN_MODES = ("RGB", "RGBA", "RGBX", "RGBa", "L", "LA", "La", "P", "PA", "1")


@dataclass(frozen=True)
class Fault:
    """Why a picture can't be used.

    Attributes:
        reason: one of `FAULTS`.
        detail: what exactly, for a person.
    """

    reason: str
    detail: str = ""


def decode(data: bytes | None, max_pixels: int = MAX_PIXELS) -> Image.Image | Fault:
    """An encoded picture as RGB, or what is wrong with it.

    Size, frames and colour model are looked at before any pixel is unpacked. Transparency is put on white.

    Args:
        data: PNG, JPEG, WebP or whatever else Pillow reads.
        max_pixels: width x height above which a picture counts as enormous.

    Returns:
        A loaded RGB picture; a `Fault` if there are no bytes, no picture in them, or not all of it; if it is too
        large, has several frames, or isn't of 8 bits a channel in grey or RGB (CMYK, Lab, 16 bits).
    """
    if not data:
        return Fault("missing", "no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
            picture = Image.open(BytesIO(data))
    except Image.DecompressionBombError as error:
        return Fault("enormous", str(error))
    except Exception as error:  # decoders of foreign formats raise whatever they like on foreign bytes
        return Fault("unreadable", words_of(error))
    width, height = picture.size
    if width * height > max_pixels:
        return Fault("enormous", f"{width} x {height} px, at most {max_pixels:,} px are read")
    if width * height == 0:
        return Fault("unreadable", f"{width} x {height} px")
    try:
        if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:  # MPO: a phone's photo with its depth map
            return Fault("animated", f"{picture.n_frames} frames")
        if picture.mode not in _PLAIN_MODES:
            return Fault("not_rgb", f"colour mode {picture.mode}")
        picture.load()
        if picture.has_transparency_data:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
        return picture.convert("RGB")
    except Exception as error:  # as above
        cut = "truncated" in str(error).lower() or "not processed" in str(error) or isinstance(error, EOFError)
        return Fault("truncated" if cut else "unreadable", words_of(error))


def words_of(error: Exception) -> str:
    """A decoder's error, the same in every run: without the address of the object that it names.

    >>> words_of(ValueError("cannot identify image file <_io.BytesIO object at 0x7f835dd6f510>"))
    'ValueError: cannot identify image file'
    """
    return f"{type(error).__name__}: {_ADDRESS.sub('', str(error))}"[:300].rstrip()


def png(image: np.ndarray) -> bytes:
    """A picture as PNG.

    Args:
        image: (H, W, 3) uint8, RGB.
    """
    out = BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def image_block(data: bytes) -> dict[str, Any]:
    """An encoded picture as an `image_url` block of a chat message, a data URL of its own format.

    >>> image_block(b"GIF89a")["image_url"]["url"]
    'data:image/gif;base64,R0lGODlh'
    """
    kind = next((kind for start, kind in _BEGINNINGS.items() if data.startswith(start)), "jpeg")
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}
