"""Motion that comes out is the motion that went in.

Oracles: the phase of a cosine, read by its own Fourier coefficient; algebra of translations; identities that
hold bit for bit; and wrong flows, which have to do worse than the true one.
"""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from limbeck.motion.motions import Rotation, Swelling, Translation, Wave
from limbeck.motion.pose import frame_times, layer_pose
from limbeck.motion.render import Shot, build_scene, render
from limbeck.motion.spec import ClipSpec, Gain, Grating, Layer, Noise, Pulse, Shape, Window
from limbeck.motion.truth import flow_between
from limbeck.motion.waveforms import Ramp, Sine

RAMP = Ramp(duration_s=1 / 30)


def moved(shift_px, angle=0.0):
    return Translation(amplitude_px=shift_px, direction_rad=angle, waveform=RAMP)


def grating_clip(period_px, shift_px, angle=0.0, **more):
    layer = Layer(texture=Grating(period_px=period_px, angle_rad=angle), motions=(moved(shift_px, angle),))
    return ClipSpec(width_px=64, height_px=64, frames=2, layers=(layer,), **more)


def frames_of(clip, shots, dtype=torch.float64):
    return render([build_scene(clip, dtype=dtype)], shots)[0]


def phases(frames, period_px, angle):
    """Phase of each frame's cosine, Gaussian-windowed so that it need not fit the frame."""
    y, x = np.mgrid[: frames.shape[-2], : frames.shape[-1]]
    bell = np.exp(-((x - 31.5) ** 2 + (y - 31.5) ** 2) / (2 * 9**2))
    along = x * np.cos(angle) + y * np.sin(angle)
    probe = bell * np.exp(-2j * np.pi * along / period_px)
    return np.angle(((frames[:, 0].double().numpy() - 0.5) * probe).sum((-2, -1)))


def shift_of(first, other, period_px):
    return float((first - other + np.pi) % (2 * np.pi) - np.pi) * period_px / (2 * np.pi)


@pytest.mark.parametrize("period_px", [4.0, 5.3, 8.0, 16.0])
@pytest.mark.parametrize("angle", [0.0, np.pi / 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gain_on_gratings_is_one_within_half_a_percent(period_px, angle, dtype):
    for shift_px in (0.01, 0.03, 0.1, 0.3, 1.0):
        clip = grating_clip(period_px, shift_px, angle)
        first, second = phases(frames_of(clip, [Shot(0, frame_times(clip))], dtype), period_px, angle)
        assert shift_of(first, second, period_px) / shift_px == pytest.approx(1, abs=5e-3)


def test_one_texel_a_pixel_would_not_be_enough():
    clip = grating_clip(4.0, 0.01, oversampling=1)
    first, second = phases(frames_of(clip, [Shot(0, frame_times(clip))]), 4.0, 0.0)
    assert shift_of(first, second, 4.0) / 0.01 == pytest.approx(0.955, abs=1e-3)  # the kernel's known figure


@pytest.mark.parametrize("gain_total", [2.0, 10.0, 60.0])
@pytest.mark.parametrize("rule", ["parameters", "displacement"])
def test_magnified_phase_is_gain_total_times_the_input_phase(gain_total, rule):
    clip = grating_clip(16.0, 0.1, gains=(Gain(gain_total=gain_total, rule=rule),))
    later = frame_times(clip)[1:]
    rest, near, far = phases(frames_of(clip, [Shot(0, frame_times(clip)), Shot(0, later, clip.gains[0])]), 16.0, 0.0)
    wanted = gain_total * 0.1
    turns = round((wanted - shift_of(rest, far, 16.0)) / 16.0)
    ratio = (shift_of(rest, far, 16.0) + 16.0 * turns) / shift_of(rest, near, 16.0)
    assert ratio == pytest.approx(gain_total, rel=0.01)


def everything(gain, shift_px=0.3):
    """A clip with every kind of map: translation, rotation, wave and swelling, with a pulse."""
    sine = Sine(frequency_hz=4.0, phase_rad=0.4)
    shape = Shape(radius_px=10, lobes=((3, 0.2, 0.5),))
    return ClipSpec(
        width_px=64,
        height_px=48,
        frames=4,
        gains=(gain,),
        layers=(
            Layer(
                texture=Noise(seed=1),
                motions=(
                    Wave(amplitude_px=shift_px, direction_rad=1, across_rad=0.5, wavelength_px=50, waveform=sine),
                ),
            ),
            Layer(
                texture=Noise(seed=2),
                shape=shape,
                centre_px=(20, 20),
                motions=(Translation(amplitude_px=shift_px, direction_rad=0.7, waveform=sine),),
                pulse=Pulse(amplitude=0.0 if shift_px == 0 else 0.02, waveform=sine),
            ),
            Layer(
                texture=Noise(seed=3),
                shape=shape,
                centre_px=(36, 26),
                motions=(
                    Rotation(amplitude_px=shift_px, pivot_px=(36, 26), radius_px=12, waveform=sine),
                    Swelling(amplitude_px=shift_px, centre_px=(36, 26), radius_px=12, waveform=sine),
                ),
            ),
        ),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "gain",
    [
        Gain(gain_total=1.0),
        Gain(gain_total=1.0, rule="displacement", x=0.5, window=Window(centre_px=(9, 9), sigma_px=9)),
        Gain(gain_total=4.0, layers=(0.0, 0.0, 0.0)),
    ],
)
def test_gain_one_is_the_input_bit_for_bit(gain, dtype):
    clip = everything(gain)
    times = frame_times(clip)
    frames = frames_of(clip, [Shot(0, times), Shot(0, times, clip.gains[0])], dtype)
    assert torch.equal(frames[:4], frames[4:])
    assert not torch.equal(frames[0], frames[1])


@pytest.mark.parametrize("rule", ["parameters", "displacement"])
def test_zero_shift_is_the_first_frame_bit_for_bit(rule):
    clip = everything(Gain(gain_total=7.0, rule=rule), shift_px=0.0)
    times = frame_times(clip)
    frames = frames_of(clip, [Shot(0, times), Shot(0, times, clip.gains[0])], torch.float32)
    assert all(torch.equal(frames[0], frame) for frame in frames)


@pytest.mark.parametrize(("x", "y"), [(1.0, 0.0), (0.5, 0.25)])
def test_a_gain_map_by_axis_magnifies_each_axis_by_its_share_of_the_extra_motion(x, y):
    gain = Gain(gain_total=10, rule="displacement", x=x, y=y)
    clip = ClipSpec(
        width_px=32,
        height_px=32,
        frames=2,
        gains=(gain,),
        layers=(Layer(texture=Noise(seed=1), motions=(moved(0.5, 0.6),)),),
    )
    pose = layer_pose(clip, 0, frame_times(clip)[1:], gain)
    dx, dy = pose.forward(torch.zeros(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64))
    assert dx.item() == pytest.approx((1 + 9 * x) * 0.5 * np.cos(0.6), abs=1e-12)
    assert dy.item() == pytest.approx((1 + 9 * y) * 0.5 * np.sin(0.6), abs=1e-12)


def test_a_gain_map_in_space_falls_off_as_its_bell():
    window = Window(centre_px=(10, 12), sigma_px=20)
    gain = Gain(gain_total=5, rule="displacement", window=window)
    layer = Layer(texture=Noise(seed=1), motions=(moved(0.5),))
    clip = ClipSpec(width_px=64, height_px=64, frames=2, gains=(gain,), layers=(layer,))
    x = torch.tensor([10.0, 30.0, 50.0], dtype=torch.float64)[None]
    dx, _ = layer_pose(clip, 0, frame_times(clip)[1:], gain).forward(x, torch.full_like(x, 12.0))
    bell = np.exp([-0.0, -0.5, -2.0])  # at the centre, one sigma and two
    assert dx[0].tolist() == pytest.approx((0.5 * (1 + 4 * bell)).tolist(), abs=1e-12)


def test_motion_is_magnified_from_the_first_frame_whatever_the_waveform_is_there():
    wave = Sine(frequency_hz=4.0, phase_rad=1.1)  # 0.89 at time 0
    grating = Grating(period_px=16)
    layer = Layer(
        texture=grating, motions=(Translation(amplitude_px=0.3, direction_rad=0.0, waveform=wave),),
    )  # fmt: skip
    clip = ClipSpec(width_px=64, height_px=64, frames=4, layers=(layer,), gains=(Gain(gain_total=8),))
    still = clip.model_copy(update={"layers": (layer.model_copy(update={"motions": ()}),)})
    times = frame_times(clip)
    frames = frames_of(clip, [Shot(0, times), Shot(0, times, clip.gains[0])])
    assert torch.equal(frames[0], frames[4])
    assert (frames[0] - frames_of(still, [Shot(0, times[:1])])[0]).abs().max() < 1e-12
    shown = phases(frames, 16.0, 0.0)
    for t in (1, 2, 3):
        moved_px = 0.3 * (np.sin(2 * np.pi * 4.0 * times[t] + 1.1) - np.sin(1.1))
        assert shift_of(shown[0], shown[t], 16.0) == pytest.approx(moved_px, rel=5e-3)
        assert shift_of(shown[0], shown[4 + t], 16.0) == pytest.approx(8 * moved_px, rel=5e-3)


def test_flow_to_the_magnified_frame_is_gain_times_the_flow_for_translations():
    clip = ClipSpec(
        width_px=64,
        height_px=64,
        frames=2,
        gains=(Gain(gain_total=12.5),),
        layers=(
            Layer(texture=Noise(seed=1), motions=(moved(0.11, 0.3),)),
            Layer(texture=Noise(seed=2), shape=Shape(radius_px=12), centre_px=(30, 30), motions=(moved(0.37, 2.0),)),
        ),
    )
    scene = build_scene(clip)
    start, end = Shot(0, frame_times(clip)[:1]), Shot(0, frame_times(clip)[1:])
    ids = render([scene], [start])[1]
    plain = flow_between(scene, start, end, ids, torch.float64).flow
    large = flow_between(scene, start, Shot(0, end.times_s, clip.gains[0]), ids, torch.float64).flow
    assert torch.allclose(large, 12.5 * plain, rtol=0, atol=1e-12)
    assert plain[0, 2, 2].tolist() == pytest.approx([0.11 * np.cos(0.3), 0.11 * np.sin(0.3)], abs=1e-12)
    assert plain[0, 30, 30].tolist() == pytest.approx([0.37 * np.cos(2.0), 0.37 * np.sin(2.0)], abs=1e-12)


@pytest.mark.parametrize("rule", ["parameters", "displacement"])
def test_rotation_scales_the_angle_or_the_displacement_as_the_rule_says(rule):
    gain = Gain(gain_total=20, rule=rule)
    turn = Rotation(amplitude_px=1.0, pivot_px=(16, 16), radius_px=20, waveform=RAMP)
    clip = ClipSpec(
        width_px=32, height_px=32, frames=2, gains=(gain,), layers=(Layer(texture=Noise(seed=1), motions=(turn,)),)
    )
    pose = layer_pose(clip, 0, frame_times(clip)[1:], gain)
    dx, dy = pose.forward(torch.tensor([[[26.0]]], dtype=torch.float64), torch.tensor([[[16.0]]], dtype=torch.float64))
    angle = 1.0 / 20
    by_parameters = (10 * (np.cos(20 * angle) - 1), 10 * np.sin(20 * angle))
    by_displacement = (20 * 10 * (np.cos(angle) - 1), 20 * 10 * np.sin(angle))
    assert (dx.item(), dy.item()) == pytest.approx(by_parameters if rule == "parameters" else by_displacement, abs=1e-9)


def test_wrong_flows_warp_worse_than_the_true_one():
    clip = everything(Gain(gain_total=1.0), shift_px=0.4)
    steady = tuple(layer.model_copy(update={"pulse": None}) for layer in clip.layers)
    clip = clip.model_copy(update={"layers": steady})
    scene = build_scene(clip, dtype=torch.float64)
    start, end = Shot(0, frame_times(clip)[:1]), Shot(0, frame_times(clip)[1:2])
    frames, ids = render([scene], [start, end])
    truth = flow_between(scene, start, end, ids[:1], torch.float64)
    flow = truth.flow[0].numpy()
    wrong = {
        "none": 0 * flow, "half": 0.5 * flow, "double": 2 * flow, "flipped": -flow, "swapped": flow[..., ::-1],
    }  # fmt: skip
    keep = ~(truth.occluded[0] | truth.outside[0]).numpy()
    keep[:3], keep[-3:], keep[:, :3], keep[:, -3:] = False, False, False, False
    # Away from outlines, where one pixel shows two layers.
    same = np.ones_like(keep)
    for step in (-3, -2, -1, 1, 2, 3):
        for axis in (0, 1):
            same &= np.roll(ids[0].numpy(), step, axis) == ids[0].numpy()

    def error(candidate):
        y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(float)
        channel = frames[1, 1].numpy()
        warped = map_coordinates(channel, [y + candidate[..., 1], x + candidate[..., 0]], order=5, mode="mirror")
        return np.sqrt(np.mean((warped - frames[0, 1].numpy())[keep & same] ** 2))

    best = error(flow)
    for name, candidate in wrong.items():
        assert error(candidate) > 10 * best, name


def test_a_texture_does_not_depend_on_how_far_the_scene_moves_or_how_finely_it_is_kept():
    def first_frame(shift_px, oversampling):
        layer = Layer(texture=Noise(seed=1, tile_px=48, finest_px=3), motions=(moved(shift_px),))
        clip = ClipSpec(width_px=64, height_px=40, frames=2, oversampling=oversampling, layers=(layer,))
        return frames_of(clip, [Shot(0, np.zeros(1))])[0]

    assert torch.equal(first_frame(0.1, 2), first_frame(20.0, 2))
    assert (first_frame(0.1, 2) - first_frame(0.1, 3)).abs().max() < 1e-6
    assert (first_frame(0.1, 2)[:, :, :16] - first_frame(0.1, 2)[:, :, 48:]).abs().max() < 1e-6  # tiles
