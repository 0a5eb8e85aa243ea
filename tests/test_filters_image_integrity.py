"""Pairs of pictures that can't be before and after. Oracle: files that the test damages itself, each in one way."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from skimage import data

from filters.image_integrity import ImageIntegrity
from limbeck.pictures import Fault, decode
from limbeck.scores import pair_similarities, unit_rows
from limbeck.stage import Drop

CAT = Image.fromarray(data.chelsea()).resize((64, 48))
CUP = Image.fromarray(data.coffee()).resize((64, 48))


def stored(picture, form="PNG", **options):
    buffer = BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def bomb(side=60_000):
    """A PNG whose header claims `side` x `side` px: the pixels needn't be there, nobody may unpack them."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


BAD = {
    "no bytes": (b"", "missing"),
    "null": (None, "missing"),
    "text": (b"<html>404 Not Found</html>", "unreadable"),
    "png, cut": (stored(CAT)[:3000], "truncated"),
    "png, header only": (stored(CAT)[:20], "unreadable"),
    "jpeg, cut": (stored(CAT, "JPEG", quality=95)[:1500], "truncated"),
    "webp, cut": (stored(CAT, "WEBP")[:300], "unreadable"),
    "zero wide": (stored(CAT).replace(struct.pack(">II", 64, 48), struct.pack(">II", 0, 48)), "unreadable"),
    "bomb": (bomb(), "enormous"),
    "bomb below Pillow's own limit": (bomb(9000), "enormous"),
    "cmyk": (stored(CAT.convert("CMYK"), "JPEG"), "not_rgb"),
    "lab": (stored(CAT.convert("LAB"), "TIFF"), "not_rgb"),
    "16 bits": (stored(Image.fromarray(np.asarray(CAT.convert("L")).astype(np.uint16) * 257)), "not_rgb"),
    "animated gif": (stored(CAT, "GIF", save_all=True, append_images=[CUP]), "animated"),
    "animated webp": (stored(CAT, "WEBP", save_all=True, append_images=[CUP]), "animated"),
    "animated png": (stored(CAT, "PNG", save_all=True, append_images=[CUP]), "animated"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("side", ["original_image", "edited_image"])
def test_a_picture_that_cannot_be_used_is_a_counted_drop(name, side):
    found, reason = BAD[name]
    row = {"id": "0", "original_image": stored(CAT), "edited_image": stored(CUP)} | {side: found}
    (drop,) = ImageIntegrity().score([row], run=None)
    assert isinstance(drop, Drop)
    assert (drop.id, drop.reason) == ("0", reason)
    assert drop.detail.startswith(side)
    assert reason in ImageIntegrity.reasons


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA"])
def test_whole_pictures_are_read_whatever_their_form(form, mode):
    if (form, mode) in {("JPEG", "P"), ("JPEG", "RGBA"), ("JPEG", "LA"), ("BMP", "LA")}:
        return  # no such files
    picture = decode(stored(CAT.convert(mode), form))
    assert not isinstance(picture, Fault)
    assert (picture.mode, picture.size) == ("RGB", CAT.size)


def test_transparency_is_put_on_white():
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert decode(stored(clear)).getpixel((0, 0)) == (255, 255, 255)


def noise(scale, seed=0):
    pixels = 128 + np.random.default_rng(seed).normal(0, scale, (48, 64, 3))
    return Image.fromarray(pixels.clip(0, 255).astype("uint8"))


@pytest.mark.parametrize(
    ("before", "after", "direction", "reasons"),
    [
        (CAT, CUP, None, ()),
        (CAT, CUP, 0.3, ()),
        (CAT, Image.new("RGB", CAT.size, "navy"), None, ("blank",)),
        (noise(0.5), CAT, None, ("blank",)),
        (noise(4), CAT, None, ()),
        (CAT, CAT, None, ("identical",)),
        (CAT, CUP, -0.3, ("swapped",)),
        (CAT, CAT, -0.3, ("identical", "swapped")),
    ],
)
def test_pairs(before, after, direction, reasons):
    stage = ImageIntegrity()
    (scores,) = stage.score([{"id": "0", "original_image": stored(before), "edited_image": stored(after)}], run=None)
    assert set(scores) == {field.name for field in stage.writes}
    assert stage.decide(scores | {"clip_sim_dir": direction}) == reasons
    without = stage.decide(scores)
    assert without == tuple(reason for reason in reasons if reason != "swapped")


@pytest.mark.parametrize("after", [CUP.resize((64, 47)), CUP.transpose(Image.Transpose.ROTATE_90)])
def test_pictures_of_different_size(after):
    (drop,) = ImageIntegrity().score(
        [{"id": "0", "original_image": stored(CAT), "edited_image": stored(after)}], run=None
    )
    assert drop.reason == "sizes_differ"
    assert drop.detail == f"original_image 64 x 48 px, edited_image {after.width} x {after.height} px"


def test_one_changed_thing_is_enough_to_differ():
    """A square of 8 x 8 px, 100 levels brighter: 64 * 100 / (64 * 48 * 255) = 0.0082 of difference."""
    changed = CAT.copy()
    changed.paste((100, 100, 100), (0, 0, 8, 8))
    base = CAT.copy()
    base.paste((0, 0, 0), (0, 0, 8, 8))
    (scores,) = ImageIntegrity().score(
        [{"id": "0", "original_image": stored(base), "edited_image": stored(changed)}], run=None
    )
    assert scores["difference"] == pytest.approx(64 * 100 / (64 * 48 * 255))
    assert ImageIntegrity().decide(scores) == ()
    assert ImageIntegrity(min_difference=0.01).decide(scores) == ("identical",)


def test_swapped_pictures_are_those_that_fit_crosswise():
    """cos(i0,t0) + cos(i1,t1) - cos(i0,t1) - cos(i1,t0) = (i1 - i0) . (t1 - t0): the sign of the direction score."""
    i0, i1, t0, t1 = (unit_rows(np.random.default_rng(seed).normal(size=(200, 16))) for seed in range(4))
    straight = (i0 * t0 + i1 * t1).sum(1)
    crosswise = (i0 * t1 + i1 * t0).sum(1)
    direction = pair_similarities(i0, i1, t0, t1)["clip_sim_dir"]
    assert ((straight < crosswise) == (direction < 0)).all()
    back = pair_similarities(i1, i0, t0, t1)["clip_sim_dir"]
    np.testing.assert_allclose(back, -direction, atol=1e-6)


def test_settings_are_checked():
    for wrong in ({"max_pixels": 0}, {"min_difference": 2}, {"min_contrast": -1}, {"min_variance": 1}):
        with pytest.raises(ValidationError):
            ImageIntegrity(**wrong)
