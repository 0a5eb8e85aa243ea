"""Preprocessing of scorers. Oracles: Pillow's resize, transformers' own PIL image processors, the reference's one call.

Photographs come with scikit-image: no download.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, Siglip2ImageProcessorPil, SiglipImageProcessorPil

from limbeck.models.preprocess import Preprocess, resize_like_pillow

PHOTOS = {name: Image.fromarray(getattr(data, name)()).convert("RGB") for name in ("chelsea", "coffee", "rocket")}
PHOTOS["text"] = Image.fromarray(data.text()).convert("RGB")
PHOTOS["checker"] = Image.fromarray(np.kron(np.indices((20, 31)).sum(0) % 2, np.ones((7, 7))).astype(np.uint8) * 255)
CLIP = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("size", [(224, 224), (64, 97), (384, 384)])
@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_resize_is_within_one_level_of_pillow(name, size, mode):
    photo = PHOTOS[name].convert("RGB")
    want = np.asarray(photo.resize(size[::-1], Image.Resampling[mode.upper()])).astype(int)
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
    got = resize_like_pillow(x, size, mode)[0].permute(1, 2, 0).numpy()
    assert np.abs(got - want).max() <= 1
    assert np.abs(got - want).mean() < 0.02


PROCESSORS = {
    "clip": CLIPImageProcessorPil(**CLIP),
    "clip, small": CLIPImageProcessorPil(size={"shortest_edge": 64}, crop_size={"height": 80, "width": 80}),
    "dinov2": BitImageProcessorPil(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224},
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    ),
    "siglip": SiglipImageProcessorPil(size={"height": 224, "width": 224}),
    "siglip2": Siglip2ImageProcessorPil(patch_size=16, max_num_patches=64),
}  # fmt: skip


@pytest.mark.parametrize("name", PROCESSORS)
def test_like_the_model_s_own_processor(name, tmp_path):
    """Within one grey level, for wide, tall, grey, CMYK and RGBA pictures in one batch."""
    processor = PROCESSORS[name]
    processor.save_pretrained(tmp_path)
    ours = Preprocess.load(str(tmp_path))
    photos = [*PHOTOS.values(), PHOTOS["coffee"].crop((0, 0, 350, 400))]  # wide and tall
    photos += [PHOTOS["rocket"].convert(mode) for mode in ("L", "CMYK", "RGBA")]
    got = ours(photos)
    want = processor([p.convert("RGB") for p in photos], return_tensors="pt")
    assert set(got) == set(want)
    level = 1 / 255 / min(ours.std)
    assert (got["pixel_values"] - want["pixel_values"]).abs().max() <= level * 1.001
    for key in set(got) - {"pixel_values"}:
        assert torch.equal(got[key].long(), want[key].long()), key


def test_old_configs_with_bare_numbers():
    """As openai/clip-vit-large-patch14 stores them."""
    stored = {"size": 224, "crop_size": 224, "do_center_crop": True, "do_resize": True, "do_normalize": True}
    old = Preprocess.from_config(stored | {"resample": 3, "image_mean": [0.5] * 3, "image_std": [0.25] * 3})
    assert (old.size, old.crop, old.mean, old.std, old.mode) == (224, (224, 224), (0.5,) * 3, (0.25,) * 3, "bicubic")


def test_ip2p_is_the_reference_s_aliased_resize():
    """`F.interpolate(x in [0, 1], size=224, mode="bicubic", align_corners=False)`, then mean and std; no crop."""
    ours = Preprocess.from_config({**CLIP, "image_mean": [0.48] * 3, "image_std": [0.27] * 3}, resize="ip2p")
    photo = PHOTOS["chelsea"]
    x = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float() / 255
    want = (torch.nn.functional.interpolate(x, size=(224, 224), mode="bicubic", align_corners=False) - 0.48) / 0.27
    got = ours([photo])["pixel_values"]
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)
    model = Preprocess.from_config({**CLIP, "image_mean": [0.48] * 3, "image_std": [0.27] * 3})([photo])
    assert (got - model["pixel_values"]).abs().max() > 0.5  # aliasing is not a detail


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0)])
def test_float_pictures_are_refused_since_their_range_is_a_guess(low, high):
    ours = Preprocess.from_config(CLIP)
    with pytest.raises(TypeError, match=f"values {low:g} to {high:g}.*ambiguous"):
        ours([np.linspace(low, high, 300).reshape(10, 10, 3)])
    with pytest.raises(TypeError, match="mode I;16"):
        ours([Image.new("I;16", (8, 8))])


def test_a_picture_does_not_depend_on_its_batch():
    ours = Preprocess.from_config(CLIP)
    together = ours(list(PHOTOS.values()))["pixel_values"]
    for photo, pixels in zip(PHOTOS.values(), together, strict=True):
        assert torch.equal(ours([photo])["pixel_values"][0], pixels)
