"""Many clips painted at once are what each of them is alone.

Oracles: `render` and `flow_between`, clip by clip; the flow of a translation, worked out by hand.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from limbeck.errors import SettingError
from limbeck.motion.batch import Bank, is_batchable, paint_many, training_shots
from limbeck.motion.curriculum import SUBSETS, ClipSettings
from limbeck.motion.motions import Rotation, Scaling, Translation, Wave
from limbeck.motion.pose import frame_times
from limbeck.motion.render import Shot, build_scene, render
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec, Gain, Grating, Layer, Noise, Pulse, Sensor, Shape, Window
from limbeck.motion.truth import flow_between
from limbeck.motion.waveforms import Ramp, Sine

SMALL = ClipSettings(width_px=56, height_px=40, frames=3, objects=(1, 4), amplitude_px=(0.01, 4.0))
RAMP = Ramp(duration_s=1 / 30)


def one_by_one(clips):
    """Frames, ids and flows of every clip's training shots, each clip rendered alone."""
    frames, ids, flows = [], [], []
    for clip in clips:
        scene, times = build_scene(clip), frame_times(clip)
        shots, _ = training_shots([clip])
        one, seen = render([scene], shots)
        earlier, later = Shot(0, times[:-1], shaken=True), Shot(0, times[1:], shaken=True)
        flows.append(flow_between(scene, earlier, later, seen[: len(times) - 1], occlusion=False).flow)
        frames.append(one)
        ids.append(seen)
    return torch.cat(frames), torch.cat(ids), torch.cat(flows)


def compared(clips):
    frames, ids, flows = one_by_one(clips)
    got = paint_many(Bank.of([build_scene(clip) for clip in clips]), *training_shots(clips))
    torch.testing.assert_close(got.frames, frames, atol=1e-6, rtol=0)
    assert torch.equal(got.layer_ids, ids)
    torch.testing.assert_close(got.flow, flows, atol=2e-6, rtol=1e-6)
    return got


def rich(**more):
    """Every affine motion, two on one layer, a pulse, shake, and gains of both rules with maps."""
    sine = Sine(frequency_hz=4.0, phase_rad=0.4)
    texture, disc = Noise(seed=5, tile_px=64), Shape(radius_px=9)
    layers = (
        Layer(texture=texture, motions=(Scaling(amplitude_px=1.5, pivot_px=(28, 20), radius_px=30, waveform=sine),)),
        Layer(
            texture=Grating(period_px=6), shape=disc, centre_px=(18, 18), pulse=Pulse(amplitude=0.01, waveform=sine),
            motions=(
                Translation(amplitude_px=0.8, direction_rad=2.0, waveform=sine),
                Rotation(amplitude_px=1.2, pivot_px=(18, 18), radius_px=9, waveform=RAMP),
            ),
        ),
        Layer(texture=texture, shape=disc, centre_px=(50, 35)),
    )  # fmt: skip
    clip = dict(
        width_px=56, height_px=40, frames=4, layers=layers, gains=(
            Gain(gain_total=5), Gain(gain_total=4, layers=(0, 1, 1)), Gain(gain_total=6, rule="displacement", x=1, y=0),
        ),
        shake=(Translation(amplitude_px=0.5, direction_rad=1.0, waveform=sine),
               Rotation(amplitude_px=0.3, pivot_px=(28, 20), radius_px=30, waveform=RAMP)),
    )  # fmt: skip
    return ClipSpec(**clip | more)


def test_drawn_clips_of_every_affine_subset_together():
    clips = [draw_clip(SMALL, name, 3) for name in SUBSETS]
    clips = [clip for clip in clips if is_batchable(clip)]
    assert len(clips) == len(SUBSETS) - 1  # all but deformation
    compared(clips)


def test_motions_on_motions_shake_pulse_and_gain_maps():
    still = rich(layers=rich().layers[:1], shake=(), gains=(Gain(gain_total=3),), frames=2)
    got = compared([rich(), still])
    assert got.frames.shape == (4 + 3 * 3 + 2 + 1, 3, 40, 56)
    assert got.flow.shape == (3 + 1, 40, 56, 2)


def test_flow_of_a_translation_worked_out_by_hand():
    layer = Layer(
        texture=Grating(period_px=8), motions=(Translation(amplitude_px=0.5, direction_rad=0.3, waveform=RAMP),)
    )
    clip = ClipSpec(width_px=24, height_px=16, frames=2, layers=(layer,), gains=(Gain(gain_total=7),))
    bank = Bank.of([build_scene(clip)])
    shots, pairs = training_shots([clip])
    flow = paint_many(bank, shots, pairs).flow
    expected = 0.5 * torch.tensor([np.cos(0.3), np.sin(0.3)])
    torch.testing.assert_close(flow, expected.float().expand(1, 16, 24, 2), atol=1e-7, rtol=0)
    magnified = paint_many(bank, shots, [(0, 2)]).flow  # from the first frame to the target
    torch.testing.assert_close(magnified, 7 * flow, atol=1e-6, rtol=0)


def test_a_choice_of_clips_in_any_order():
    clips = [draw_clip(SMALL, "ordinary", seed) for seed in range(3)]
    bank = Bank.of([build_scene(clip) for clip in clips])
    all_of_them = paint_many(bank, *training_shots(clips)).frames.unflatten(0, (3, 5))
    some = paint_many(bank, *training_shots(clips, [2, 0, 2])).frames.unflatten(0, (3, 5))
    assert torch.equal(some, all_of_them[[2, 0, 2]])


@pytest.mark.parametrize(
    ("clip", "why"),
    [
        (rich(layers=(Layer(texture=Noise(seed=1), motions=(
            Wave(amplitude_px=0.5, direction_rad=0, across_rad=0, wavelength_px=30, waveform=RAMP),)),), gains=()), "bends"),
        (rich(gains=(Gain(gain_total=2, rule="displacement", window=Window(centre_px=(5, 5), sigma_px=20)),)), "in space"),
    ],
)  # fmt: skip
def test_what_is_no_affine_map_is_refused(clip, why):
    assert not is_batchable(clip)
    with pytest.raises(SettingError, match=why):
        paint_many(Bank.of([build_scene(clip)]), *training_shots([clip]))


def test_a_rolling_shutter_is_refused():
    clip = rich(sensor=Sensor(readout_s=0.01))
    assert not is_batchable(clip)
    rows = frame_times(clip)[:, None] + np.zeros(clip.height_px)
    with pytest.raises(SettingError, match="rolling shutter"):
        paint_many(Bank.of([build_scene(clip)]), [Shot(0, rows)])


def test_a_bank_holds_one_size():
    scenes = [build_scene(rich()), build_scene(rich(width_px=64))]
    with pytest.raises(SettingError, match="2 sizes"):
        Bank.of(scenes)


@pytest.mark.skipif(find_spec("triton") is not None, reason="Triton is here")
def test_without_triton_the_fused_kernel_says_so():
    clip = draw_clip(SMALL, "static", 1)
    with pytest.raises(SettingError, match="Triton is missing"):
        paint_many(Bank.of([build_scene(clip)]), *training_shots([clip]), fused=True)


@pytest.mark.skipif(not find_spec("triton"), reason="Triton comes with torch for CUDA only")
def test_the_fused_kernel_interpreted():
    code = """
import torch
from limbeck.motion.batch import Bank, paint_many, training_shots
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.render import build_scene
from limbeck.motion.sampling import draw_clip
small = ClipSettings(width_px=40, height_px=24, frames=2, objects=(1, 2))
clips = [draw_clip(small, name, 1) for name in ("shake", "pulse")]
bank, (shots, pairs) = Bank.of([build_scene(clip) for clip in clips]), training_shots(clips)
one, other = (paint_many(bank, shots, pairs, fused=fused) for fused in (True, False))
torch.testing.assert_close(one.frames, other.frames, atol=1e-6, rtol=0)
torch.testing.assert_close(one.flow, other.flow, atol=1e-6, rtol=0)
assert torch.equal(one.layer_ids, other.layer_ids)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})
