"""What can't be used of a source: one row's captions and pictures, checked alike for every kind."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from limbeck.records import COLUMNS, SPLIT_NAME, is_image

if TYPE_CHECKING:
    from limbeck.recipe import SourceTable


_MAY_LACK = ("mask_image",)
"""Pictures that a row can do without."""


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
    """The row with its pictures made plain and its values as their columns hold them, or why it can't be used."""
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
        if is_image(COLUMNS[name]):
            picture = _picture(value, source.max_pixels)
            if isinstance(picture, tuple) and not (name in _MAY_LACK and value is None):
                reason, detail = picture
                return Unusable(where, reason, detail if name == "image" else f"{name}: {detail}")
            row[name] = picture if isinstance(picture, bytes) else None
        elif value is not None:
            try:
                row[name] = fitted(value, COLUMNS[name].type)
            except (ValueError, TypeError, OverflowError):
                return Unusable(
                    where, "row_unreadable", f"{name}: found {_short(value)}, expected {COLUMNS[name].type}"
                )
    if (split := row.get("split")) and not SPLIT_NAME.fullmatch(split):
        return Unusable(
            where, "row_unreadable", f"split: {split!r} can't be a split's name; expected letters, digits and _"
        )
    return row


def _picture(value: Any, max_pixels: int) -> bytes | tuple[str, str]:
    """A plain picture, or (reason, detail)."""
    data = picture_bytes(value)
    return ("image_missing", _no_picture(value)) if data is None else plain_picture(data, max_pixels)


def picture_bytes(value: Any) -> bytes | None:
    """The encoded bytes of a value, or of a `datasets` `Image` that wasn't decoded; None where it holds none."""
    if isinstance(value, dict):
        data, path = value.get("bytes"), value.get("path")
        if data is not None:
            return data
        return Path(path).read_bytes() if path and Path(path).is_file() else None
    return value if isinstance(value, bytes) else None


def _no_picture(value: Any) -> str:
    """Why `picture_bytes` found none.

    >>> _no_picture(None), _no_picture("photos/a.png"), _no_picture({"bytes": None, "path": "a.png"})
    ('nothing there', 'found str, expected an encoded picture', "there is no file 'a.png'")
    """
    if isinstance(value, dict):
        return f"there is no file {value['path']!r}" if value.get("path") else "nothing there"
    return "nothing there" if value is None else f"found {type(value).__name__}, expected an encoded picture"


def fitted(value: Any, kind: pa.DataType) -> Any:
    """A value as a column of that type holds it: CSV knows text alone, and names may be numbers.

    >>> fitted("7", pa.int32()), fitted(7, pa.string()), fitted("", pa.float32()), fitted("train", pa.string())
    (7, '7', None, 'train')

    Raises:
        ValueError, TypeError, OverflowError: it is of another kind (Arrow's own errors are ValueError or TypeError).
    """
    if pa.types.is_string(kind):
        if isinstance(value, str):
            return value
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return str(value) if is_number else pa.scalar(value, kind).as_py()
    if isinstance(value, str) and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        if not value.strip():
            return None
        value = int(value) if pa.types.is_integer(kind) else float(value)
    pa.scalar(value, kind)
    return value


def _short(value: Any) -> str:
    """A value's type, and the value where it is short.

    >>> _short("many"), _short(["x" * 90])
    ("'many'", 'list')
    """
    shown = repr(value) if isinstance(value, str | int | float) and len(str(value)) <= 40 else ""
    return shown or type(value).__name__


def plain_picture(data: bytes, max_pixels: int) -> bytes | tuple[str, str]:
    """An encoded picture as RGB or greyscale PNG or JPEG, upright; or (reason, detail).

    Pictures that are so already keep their bytes. Anything else, CMYK or with transparency or turned or mirrored by its
    EXIF tag, is encoded anew as PNG; of the several pictures of a phone's MPO the first is taken. The size is read from
    the header before any pixel is decoded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large files, whose limit follows, and of odd tags
        return _plain_picture(data, max_pixels)


def _plain_picture(data: bytes, max_pixels: int) -> bytes | tuple[str, str]:
    from PIL import ExifTags, Image, ImageOps

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
        if getattr(picture, "is_animated", False) and picture.format != "MPO":  # of phones: the photo comes first
            return "image_animated", f"{picture.n_frames} frames"
        picture.load()
        is_upright = picture.getexif().get(ExifTags.Base.Orientation, 1) not in range(2, 9)
        upright = ImageOps.exif_transpose(picture)
        if picture.mode in ("RGB", "L") and picture.format in ("PNG", "JPEG") and is_upright:
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
