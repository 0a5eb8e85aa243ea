"""What the curriculum draws.

Oracles: each subset's own definition; a log-uniform law (Kolmogorov-Smirnov); no mass at the gain's bound.
"""

import re

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import kstest

from limbeck.motion.clip import make_clip
from limbeck.motion.curriculum import SUBSETS, ClipSettings
from limbeck.motion.gain import clip_peak_px, draw_gain, largest_gain
from limbeck.motion.motions import Rotation, Scaling, Translation
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec, Gain, Layer, Plain, Shape
from limbeck.motion.waveforms import Ramp

SMALL = ClipSettings(width_px=48, height_px=40, frames=6, objects=(2, 4), object_radius=(0.1, 0.3))


@pytest.mark.parametrize("subset", SUBSETS)
def test_each_subset_is_what_it_says(subset):
    for seed in range(4):
        spec = draw_clip(SMALL, subset, seed)
        background, *objects = spec.layers
        moving = [bool(layer.motions) for layer in spec.layers]
        assert spec.subset == subset
        assert not spec.aliased
        match subset:
            case "background_moves":
                assert moving == [True]
            case "static" | "pulse" | "noise_only" | "flicker_only":
                assert not any(moving)
            case "static_background":
                assert moving == [False] + [True] * len(objects)
            case _:
                assert all(moving)
        assert bool(spec.shake) == (subset == "shake")
        assert all(bool(layer.pulse) == (subset == "pulse") for layer in spec.layers)
        assert bool(spec.sensor.drift) == (subset == "flicker_only")
        if subset == "blurred_background":
            assert background.texture.finest_px >= 12
        if subset == "deformation":
            assert {motion.kind for layer in spec.layers for motion in layer.motions} <= {
                "wave", "beam", "membrane", "swelling",
            }  # fmt: skip
        if subset == "noise_only":
            assert spec.sensor.shot > 0
        assert spec == draw_clip(SMALL, subset, seed)
    assert draw_clip(SMALL, subset, 0) != draw_clip(SMALL, subset, 1)


def test_hard_negatives_change_in_the_input_and_not_in_the_target():
    for subset in ("noise_only", "flicker_only"):
        shown = make_clip(draw_clip(SMALL, subset, 1), tracks=2)
        assert (shown.frames[1:] != shown.frames[:1]).float().mean() > 0.2
        assert (shown.magnified == shown.magnified[:, :1]).all()
        assert shown.forward.flow.abs().max() == 0


def test_gain_times_motion_stays_in_its_bound_and_does_not_pile_up_there():
    settings = ClipSettings(width_px=64, height_px=64, objects=(1, 3))
    clips = [draw_clip(settings, "ordinary", seed) for seed in range(300)]
    motion = np.array([clip_peak_px(clip) for clip in clips])
    shown = np.array([clip_peak_px(clip, clip.gains[0]) for clip in clips])
    gains = np.array([clip.gains[0].gain_total for clip in clips])
    assert shown.max() <= 30
    assert gains.min() >= 1
    assert gains.max() <= 100
    assert (shown > 0.98 * 30).mean() < 0.03
    assert motion.min() < 0.03
    assert (motion < 0.1).mean() == pytest.approx(1 / 3, abs=0.12)  # three decades, log-uniform, layers a little below


def test_no_gain_turns_a_layer_so_far_that_it_comes_back():
    """A disc of 4 px never moves 30 px however far it turns; half a turn and the bound would say nothing any more."""
    turn = Rotation(amplitude_px=2.0, pivot_px=(8, 8), radius_px=20, waveform=Ramp(duration_s=1 / 30))
    disc = Layer(texture=Plain(), shape=Shape(radius_px=4), centre_px=(8, 8), motions=(turn,))
    spec = ClipSpec(width_px=16, height_px=16, frames=2, layers=(Layer(texture=Plain()), disc))
    assert largest_gain(spec, 100) * 2 / 20 == pytest.approx(0.75, rel=1e-3)
    grows = disc.model_copy(update={"motions": (Scaling(**turn.model_dump(exclude={"kind"})),)})
    spec = spec.model_copy(update={"layers": (Layer(texture=Plain()), grows)})
    assert np.exp(largest_gain(spec, 100) * 2 / 20) == pytest.approx(1.75, rel=1e-3)
    by_displacement = largest_gain(spec, 100, Gain(gain_total=1.0, rule="displacement"))
    assert by_displacement * np.expm1(2 / 20) == pytest.approx(0.75, rel=1e-3)


def test_drawn_gains_are_log_uniform_between_their_limits():
    motion = Translation(amplitude_px=2.0, direction_rad=0, waveform=Ramp(duration_s=1 / 30))
    spec = ClipSpec(width_px=16, height_px=16, frames=2, layers=(Layer(texture=Plain(), motions=(motion,)),))
    assert largest_gain(spec, 100) == pytest.approx(15, rel=1e-4)
    assert largest_gain(spec, 9) == 9
    rng = np.random.default_rng(0)
    drawn = np.log([draw_gain(rng, spec, 2.0, 100.0).gain_total for _ in range(400)])
    assert kstest(drawn, "uniform", (np.log(2), np.log(7.5))).pvalue > 0.01


def test_gain_maps_are_by_axis_by_layer_and_by_region_and_keep_the_bound():
    settings = SMALL.model_copy(update={"gain_map_share": 1.0})
    clips = [draw_clip(settings, "ordinary", seed) for seed in range(40)]
    maps = [clip.gains[0] for clip in clips]
    kinds = ["region" if gain.window else "layers" if gain.layers else "axis" for gain in maps]
    assert min(kinds.count(kind) for kind in ("axis", "layers", "region")) >= 6
    for clip, gain, kind in zip(clips, maps, kinds, strict=True):
        assert clip_peak_px(clip, gain) <= clip.bound_px
        assert kind != "axis" or {gain.x, gain.y} == {0.0, 1.0}
    assert not any(gain.layers or gain.window or gain.x != gain.y for gain in draw_clip(SMALL, "ordinary", 1).gains)
    region = clips[kinds.index("region")]
    make_clip(region, tracks=1)  # renders: nothing folds


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"objects": (1, 16)}, "at most 15"),
        ({"gain": (0.5, 10)}, "starts at 1"),
        ({"amplitude_px": (0.1, 40)}, "exceeds bound_px"),
        ({"amplitude_px": (1.0, 0.1)}, "the lower one first"),
        ({"shot": (0.0, 0.1)}, "two positive numbers"),
        ({"frames": 0}, "greater than 0"),
        ({"fps": (0, 1)}, "greater than 0"),
        ({"frame": 3}, "not permitted"),
        ({"waveforms": ()}, "an empty list"),
    ],
)
def test_settings_that_cannot_be_drawn_from_are_refused(changes, says):
    with pytest.raises(ValueError, match=says):
        ClipSettings(**changes)


def test_a_wrong_waveform_is_one_problem():
    with pytest.raises(ValidationError) as refused:
        ClipSettings(waveforms=("squeak",))
    assert refused.value.error_count() == 1


def test_every_setting_has_its_words():
    words = set(re.findall(r"^ {8}(\w+): ", ClipSettings.__doc__, re.M))
    assert words == set(ClipSettings.model_fields)
