"""Pictures as layers: the user's own, and pages and things of the storybook."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from limbeck.errors import SettingError
from limbeck.motion.spec import Extent, Layer, Picture, StorybookPage
from limbeck.motion.spline import MARGIN

Pictures = Mapping[str, Tensor]
"""sha256 of the file's bytes -> (3 or 4, h, w) float32 in [0, 1], straight (not premultiplied) alpha."""
_STORYBOOK_FINER = 4


def load_picture(data: bytes) -> tuple[str, Tensor]:
    """Name and pixels of an encoded picture; alpha is kept where the file has it.

    Raises:
        SettingError: the bytes are no picture, or a broken one.
    """
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data))
        has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
        pixels = np.asarray(picture.convert("RGBA" if has_alpha else "RGB"), np.float32) / 255
    except (OSError, SyntaxError) as error:  # Pillow's own, for bytes of no format and of a damaged one
        raise SettingError(f"a picture of {len(data)} bytes can't be read", expected="PNG, WebP, JPEG") from error
    return hashlib.sha256(data).hexdigest(), torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def load_folder(folder: Path) -> dict[str, Tensor]:
    """Cut-outs of a folder by hash, in the order of the files' names.

    Raises:
        SettingError: no pictures there, or one that can't be read or has no alpha.
    """
    files = sorted(file for file in folder.glob("*") if file.suffix.lower() in (".png", ".webp"))
    if not files:
        raise SettingError(f"no PNG or WebP in {folder}", where="cutouts", remedy="name a folder of RGBA cut-outs")
    found = {}
    for file in files:
        try:
            name, pixels = load_picture(file.read_bytes())
        except SettingError as error:
            raise SettingError(f"{file} can't be read", expected="a cut-out (RGBA)", where="cutouts") from error
        if pixels.shape[0] != 4:
            raise SettingError(f"{file} has no alpha", expected="a cut-out (RGBA)", where="cutouts")
        found[name] = pixels
    return found


def extent(pixels: Tensor) -> Extent:
    """Where a cut-out shows: left, top, right, bottom of its alpha of at least one half, from its middle, in its pixels.

    That is what `layer_ids`, flow and tracks count as the layer. All of a picture that nowhere shows so much.

    >>> cut_out = torch.zeros(4, 8, 10)
    >>> cut_out[3, 2:4, 1:9] = 1
    >>> extent(cut_out)
    (-4.0, -2.0, 4.0, 0.0)

    Args:
        pixels: (3 or 4, h, w) in [0, 1].
    """
    height, width = pixels.shape[1:]
    shows = pixels[3] >= 0.5 if len(pixels) == 4 else torch.ones(height, width, dtype=torch.bool)
    shows = shows if shows.any() else torch.ones_like(shows)
    rows, columns = torch.nonzero(shows.any(1))[:, 0].tolist(), torch.nonzero(shows.any(0))[:, 0].tolist()
    return (columns[0] - width / 2, rows[0] - height / 2, columns[-1] + 1 - width / 2, rows[-1] + 1 - height / 2)


def picture_size_px(texture: Picture | StorybookPage, factor: int, pictures: Pictures) -> tuple[float, float]:
    """Height and width of a picture in output pixels."""
    pixels, scale = _pixels(texture, factor, pictures)
    return pixels.shape[1] * scale, pixels.shape[2] * scale


def picture_texels(layer: Layer, index: int, box, factor: int, pictures: Pictures) -> np.ndarray:
    """(4, h, w) straight-alpha texels of a layer's picture, centred on its box, padding included.

    Raises:
        SettingError: the picture is smaller than the clip needs, isn't there, or has no alpha though nothing else
            gives the layer an outline.
    """
    from kornia.filters import gaussian_blur2d

    cut_out = index > 0 and layer.shape is None
    pixels, scale_px = _pixels(layer.texture, factor, pictures)
    name, where = _name(layer.texture), f"clip.layers[{index}]"
    if cut_out and pixels.shape[0] != 4:
        raise SettingError(
            f"{name} has no alpha",
            expected="a cut-out (RGBA)",
            where=where,
            remedy="cut it out, or give the layer a shape",
        )
    height, width = (box[3] - box[1]) * factor + 1 + 2 * MARGIN, (box[2] - box[0]) * factor + 1 + 2 * MARGIN
    pixels = pixels.double()
    if not cut_out:
        pixels = torch.cat([pixels[:3], torch.ones_like(pixels[:1])])
    pixels = torch.cat([pixels[:3] * pixels[3:], pixels[3:]])
    scale = scale_px * factor
    size = (max(2, round(pixels.shape[1] * scale)), max(2, round(pixels.shape[2] * scale)))
    if size != pixels.shape[1:]:
        pixels = interpolate(pixels[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
    if not cut_out and (size[0] < height or size[1] < width):
        raise SettingError(
            f"{name} covers {size[1] // factor} x {size[0] // factor} px",
            expected=f"at least {math.ceil(width / factor)} x {math.ceil(height / factor)} px (layer and motion)",
            where=where,
            remedy="take a larger picture, raise its scale, or make the clip smaller",
        )
    pixels = _centred(pixels, height, width)
    blur = math.hypot(layer.texture.blur_px, 0.6 if cut_out else 0.0) * factor
    if blur > 0:
        reach = 2 * math.ceil(3 * blur) + 1
        pixels = gaussian_blur2d(pixels[None], (reach, reach), (blur, blur), border_type="replicate")[0]
    return torch.cat([pixels[:3] / pixels[3:].clamp_min(1e-6), pixels[3:]]).numpy()


def _centred(pixels: Tensor, height: int, width: int) -> Tensor:
    """Cropped or padded with nothing, centre on centre."""
    for axis, wanted in ((1, height), (2, width)):
        spare = pixels.shape[axis] - wanted
        if spare > 0:
            pixels = pixels.narrow(axis, spare // 2, wanted)
        elif spare < 0:
            before, after = -spare // 2, -spare - (-spare // 2)
            pixels = pad(pixels, (0, 0, before, after) if axis == 1 else (before, after))
    return pixels


def _pixels(texture: Picture | StorybookPage, factor: int, pictures: Pictures) -> tuple[Tensor, float]:
    """A picture and the output pixels that one of its pixels covers."""
    if isinstance(texture, StorybookPage):
        return _storybook(texture.scene, texture.thing, texture.side_px * factor), 1 / factor
    if texture.sha256 not in pictures:
        raise SettingError(f"picture {texture.sha256[:12]} is missing", expected="all of the clip's texture_hashes")
    return pictures[texture.sha256], texture.scale


def _name(texture: Picture | StorybookPage) -> str:
    return f"picture {texture.sha256[:12]}" if isinstance(texture, Picture) else "the storybook page"


@lru_cache(maxsize=32)
def _storybook(scene: str, thing: int | None, side: int) -> Tensor:
    """(3, side, side) page, or (4, h, w) one thing of it with soft alpha.

    A thing is drawn four times finer; its alpha is the share of fine pixels inside its outline.
    """
    from limbeck.storybook import Scene, render

    drawn = Scene.from_json(scene)
    if thing is None:
        return torch.from_numpy(render(drawn, side).image).permute(2, 0, 1).float() / 255
    fine = render(drawn, side * _STORYBOOK_FINER)
    mask = torch.from_numpy(fine.full_masks[thing]).float()
    image = torch.from_numpy(fine.image).permute(2, 0, 1).float() / 255
    cells = torch.nn.functional.avg_pool2d(torch.cat([image * mask, mask[None]])[None], _STORYBOOK_FINER)[0]
    rows, columns = torch.nonzero(cells[3] > 0, as_tuple=True)
    cut = cells[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return torch.cat([cut[:3] / cut[3:].clamp_min(1e-6), cut[3:]])
