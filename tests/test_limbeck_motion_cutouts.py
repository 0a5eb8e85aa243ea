"""Cut-outs in clips: how large they are by their pixels, and what follows for motion, labels and gains.

Oracles: displacements worked out by hand and rendered; the law of clips without cut-outs; specifications as they were
stored before cut-outs had an extent.
"""

import json
import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from limbeck.motion.clip import make_clip
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.cutouts import extent
from limbeck.motion.gain import check_gains, clip_peak_px, largest_gain, layer_box, turned
from limbeck.motion.layer_draws import Material
from limbeck.motion.motions import Rotation, Scaling
from limbeck.motion.row import labels
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec, Layer, Picture, Plain
from limbeck.motion.waveforms import Ramp

NAME = "c" * 64
RAMP = Ramp(duration_s=1 / 30)


def square(side, left, top, wide, tall=None):
    """A cut-out of `side` px, of which a box shows."""
    pixels = torch.zeros(4, side, side)
    pixels[:3], pixels[3, top : top + (tall or wide), left : left + wide] = 0.5, 1
    return pixels


def turning(kind=Rotation, side=192, known=True, **facts):
    """A frame of 192 px with a cut-out of 40 px in its middle, turned or grown by 0.02."""
    motion = kind(amplitude_px=0.6, pivot_px=(96, 96), radius_px=30, waveform=RAMP)
    shown = extent(square(40, 0, 0, 40)) if known else None
    layer = Layer(texture=Picture(sha256=NAME, extent=shown), centre_px=(96, 96), motions=(motion,))
    return ClipSpec(width_px=side, height_px=side, frames=2, layers=(Layer(texture=Plain()), layer), **facts)


def test_an_extent_is_the_box_of_what_shows():
    assert extent(square(40, 0, 0, 40)) == (-20, -20, 20, 20)
    assert extent(square(9, 5, 1, 3, 2)) == (0.5, -3.5, 3.5, -1.5)
    faint = square(8, 2, 2, 4) * 0.4
    assert extent(faint) == extent(faint[:3]) == (-4, -4, 4, 4)


@pytest.mark.parametrize(("kind", "by_hand"), [(Rotation, 2 * math.sin(0.01)), (Scaling, math.expm1(0.02))])
def test_the_label_is_what_the_corners_of_a_cut_out_move(kind, by_hand):
    spec = turning(kind)
    assert clip_peak_px(spec) == pytest.approx(by_hand * 20 * math.sqrt(2), rel=1e-9)
    rendered = make_clip(spec, {NAME: square(40, 0, 0, 40)}, tracks=0, occlusion=False)
    moved = rendered.forward.flow.norm(dim=-1).max().item()
    assert 0.93 * clip_peak_px(spec) < moved <= clip_peak_px(spec)  # pixels' centres, not corners
    half = spec.layers[1].model_copy(update={"texture": spec.layers[1].texture.model_copy(update={"scale": 0.5})})
    smaller = spec.model_copy(update={"layers": (spec.layers[0], half)})
    assert clip_peak_px(smaller) == pytest.approx(clip_peak_px(spec) / 2, rel=1e-9)


def test_gains_of_small_cut_outs_are_drawn_as_those_of_shapes_are():
    """Of shapes none is refused or under the least gain. Counting the frame as moving, 10 in 100 and 17 in 100 were."""
    settings, material = ClipSettings(objects=(2, 4)), Material(cutouts={NAME: extent(square(60, 4, 4, 52))})
    for subset in ("ordinary", "deformation"):
        clips = [draw_clip(settings, subset, seed, material) for seed in range(60)]
        for clip in clips:
            check_gains(clip)
        assert min(clip.gains[0].gain_total for clip in clips) >= 1.999  # found by halving
        assert max(map(clip_peak_px, clips)) <= 10
        if subset == "ordinary":  # what bends has to bend less where it is small
            shapes = [draw_clip(settings, subset, seed) for seed in range(60)]
            medians = [np.median([clip.gains[0].gain_total for clip in each]) for each in (clips, shapes)]
            assert 0.7 < medians[0] / medians[1] < 1.4


def test_the_smallest_cut_outs_turn_no_further_than_a_gain_of_2_can_show():
    settings = ClipSettings(objects=(3, 4), amplitude_px=(8.0, 10.0))
    material = Material(cutouts={NAME: extent(square(9, 2, 2, 5))})
    clips = [draw_clip(settings, "static_background", seed, material) for seed in range(60)]
    assert sum(m.kind != "translation" for clip in clips for layer in clip.layers for m in layer.motions) > 20
    assert max(map(turned, clips)) == pytest.approx(0.375, rel=1e-6)
    assert min(largest_gain(clip, 100) for clip in clips) >= 1.999


def test_a_cut_out_moves_about_what_shows_of_it():
    """A thing in the corner of a transparent picture neither swings about its empty middle nor leaves its beam."""
    material = Material(cutouts={NAME: extent(square(200, 0, 0, 20))})
    kinds = set()
    for subset in ("ordinary", "deformation"):
        for seed in range(12):
            clip = draw_clip(ClipSettings(objects=(2, 4), amplitude_px=(0.1, 0.2)), subset, seed, material)
            for index, layer in enumerate(clip.layers[1:], 1):
                left, top, right, bottom = layer_box(clip, index)
                assert (right - left, bottom - top) == pytest.approx((20 * layer.texture.scale,) * 2)
                for motion in layer.motions:
                    kinds.add(motion.kind)
                    about = getattr(motion, "pivot_px", getattr(motion, "centre_px", None))
                    assert about is None or about == pytest.approx(((left + right) / 2, (top + bottom) / 2))
                assert clip_peak_px(clip) <= 0.2
    assert {"rotation", "scaling", "beam", "membrane", "swelling", "wave"} <= kinds


def test_specifications_stored_before_are_read_as_they_were():
    """`motion_clips` 2 stored no extent: the frame counts as moving, as it did when gain and labels were drawn."""
    old = turning(known=False)
    text = old.model_dump_json()
    assert "extent" not in text
    read = ClipSpec.model_validate_json(text)
    assert read == old
    assert layer_box(read, 1) == (0, 0, 191, 191)
    assert labels(read)["peak_px"] == pytest.approx(2 * math.sin(0.01) * math.hypot(96, 96), rel=1e-9)
    make_clip(read, {NAME: square(40, 0, 0, 40)}, tracks=0)


def test_an_extent_survives_json_and_has_a_size():
    spec = turning()
    assert ClipSpec.model_validate_json(spec.model_dump_json()) == spec
    assert json.loads(spec.model_dump_json())["layers"][1]["texture"]["extent"] == [-20, -20, 20, 20]
    with pytest.raises(ValidationError, match="expected left < right and top < bottom"):
        Picture(sha256=NAME, extent=(1, 0, 1, 2))
