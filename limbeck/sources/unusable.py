"""What can't be used of a source: one row's captions and pictures, checked alike for every kind."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable


@dataclass(frozen=True)
class Unusable:
    """A source row that can't be used.

    Attributes:
        where: file and line, or what else tells it from others.
        reason: one of `limbeck.sources.REASONS`.
        detail: for a person.
    """

    where: str
    reason: str
    detail: str = ""


def checked(row: dict[str, Any], source: SourceTable, where: str) -> dict[str, Any] | Unusable:
    """The row with its pictures made plain, or why it can't be used."""
    if "caption" in row:
        caption = row["caption"]
        if not isinstance(caption, str):
            return Unusable(where, "caption_missing", f"found {type(caption).__name__}")
        if not caption.strip():
            return Unusable(where, "caption_empty")
        if len(caption) > source.max_chars:
            return Unusable(
                where, "caption_too_long", f"{len(caption)} characters; the recipe allows {source.max_chars}"
            )
    for name, value in row.items():
        if isinstance(value, bytes):
            picture = plain_picture(value, source.max_pixels)
            if isinstance(picture, tuple):
                return Unusable(where, *picture)
            row[name] = picture
    return row


def plain_picture(data: bytes, max_pixels: int) -> bytes | tuple[str, str]:
    """An encoded picture as RGB or greyscale PNG or JPEG, upright; or (reason, detail).

    Pictures that are so already keep their bytes. Anything else, CMYK or with transparency or rotated by its EXIF
    tag, is encoded anew as PNG. The size is read from the header before any pixel is decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large files, whose limit follows, and of odd tags
        return _plain_picture(data, max_pixels)


def _plain_picture(data: bytes, max_pixels: int) -> bytes | tuple[str, str]:
    from PIL import Image, ImageOps

    from limbeck.pictures import words_of

    if not data:
        return "image_empty", "0 bytes"
    try:
        picture = Image.open(io.BytesIO(data))
        width, height = picture.size
        if width * height > max_pixels:
            return "image_too_large", f"{width} x {height}; the recipe allows {max_pixels} pixels"
        if width == 0 or height == 0:
            return "image_empty", f"{width} x {height}"
        if getattr(picture, "is_animated", False):
            return "image_animated", f"{picture.n_frames} frames"
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        if picture.mode in ("RGB", "L") and picture.format in ("PNG", "JPEG") and upright.size == picture.size:
            return data
        if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
            ground = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(ground, upright.convert("RGBA"))
        if upright.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
            upright = upright.point(lambda level: level / 257).convert("L")
        out = io.BytesIO()
        upright.convert("RGB").save(out, "PNG")
        return out.getvalue()
    except Image.DecompressionBombError as error:
        return "image_too_large", str(error)
    except Exception as error:  # decoders of foreign formats raise whatever they like on foreign bytes
        return "image_unreadable", words_of(error)
