"""Truth about a clip.

Oracles: forward after backward is the identity; a brute-force comparison of layers at 16 times the resolution from the
outlines' own equations; a least-squares fit and the Fourier transform of tracks.
"""

import numpy as np
import pytest
import torch

from limbeck.motion.clip import make_clip
from limbeck.motion.motions import Beam, Membrane, Rotation, Scaling, Swelling, Translation, Wave
from limbeck.motion.pose import frame_times, layer_pose
from limbeck.motion.render import Shot, build_scene, render
from limbeck.motion.spec import ClipSpec, Gain, Layer, Noise, Shape, Window
from limbeck.motion.truth import flow_between, soft_alpha
from limbeck.motion.waveforms import Ramp, Sine

SINE = Sine(frequency_hz=3.0, phase_rad=0.3)
MOTIONS = {
    "translation": Translation(amplitude_px=0.8, direction_rad=0.3, waveform=SINE),
    "rotation": Rotation(amplitude_px=0.8, pivot_px=(30, 26), radius_px=20, waveform=SINE),
    "scaling": Scaling(amplitude_px=0.8, pivot_px=(30, 26), radius_px=20, waveform=SINE),
    "wave": Wave(amplitude_px=0.8, direction_rad=1, across_rad=2, wavelength_px=40, waveform=SINE),
    "beam": Beam(amplitude_px=0.8, base_px=(30, 60), axis_rad=-1.4, length_px=50, mode=2, waveform=SINE),
    "membrane": Membrane(amplitude_px=0.8, direction_rad=1, corner_px=(5, 5), size_px=(40, 50), waveform=SINE),
    "swelling": Swelling(amplitude_px=0.8, centre_px=(30, 26), radius_px=18, waveform=SINE),
}
SHAKE = (
    Translation(amplitude_px=0.3, direction_rad=0.4, waveform=Sine(frequency_hz=7)),
    Rotation(amplitude_px=0.3, pivot_px=(32, 32), radius_px=40, waveform=Sine(frequency_hz=5)),
)


@pytest.mark.parametrize("kind", MOTIONS)
@pytest.mark.parametrize(
    "gain",
    [
        None,
        Gain(gain_total=4.0),
        Gain(gain_total=4.0, rule="displacement", x=0.5, window=Window(centre_px=(30, 30), sigma_px=60)),
    ],
)
def test_continuous_motion_is_consistent_forward_and_backward(kind, gain):
    clip = ClipSpec(
        width_px=64,
        height_px=56,
        frames=8,
        shake=SHAKE,
        layers=(Layer(texture=Noise(seed=1), motions=(MOTIONS[kind],)),),
    )
    times = frame_times(clip)[1:]
    pose = layer_pose(clip, 0, times, gain)
    x = torch.arange(64, dtype=torch.float64)[None, None, :]
    y = torch.arange(56, dtype=torch.float64)[None, :, None]
    vx, vy = pose.backward(x, y)
    dx, dy = pose.forward(x + vx, y + vy)
    assert vx.abs().max() > 0.1
    assert (vx + dx).abs().max() < 1e-10
    assert (vy + dy).abs().max() < 1e-10


def test_flow_closes_to_a_ten_thousandth_pixel_in_float64_and_the_stored_grid_loses_what_the_docs_say():
    layers = (
        Layer(texture=Noise(seed=1), motions=(MOTIONS["wave"],)),
        Layer(texture=Noise(seed=2), shape=Shape(radius_px=14), centre_px=(30, 28), motions=(MOTIONS["rotation"],)),
    )
    clip = ClipSpec(width_px=64, height_px=56, frames=3, layers=layers)
    scene = build_scene(clip, dtype=torch.float64)
    first, last = Shot(0, frame_times(clip)[:1]), Shot(0, frame_times(clip)[2:])
    ids = render([scene], [first, last])[1]
    forward = flow_between(scene, first, last, ids[:1], torch.float64)
    assert forward.flow.norm(dim=-1).max() > 0.3
    # The continuous maps, at the very places where the forward flow lands.
    worst = 0.0
    for depth in (0, 1):
        mine = ids[0] == depth
        y, x = (part.double()[None] for part in torch.nonzero(mine).T)
        fx, fy = forward.flow[0][mine].T
        start, end = (layer_pose(clip, depth, shot.times_s) for shot in (first, last))
        vx, vy = end.backward(x + fx, y + fy)
        dx, dy = start.forward(x + fx + vx, y + fy + vy)
        worst = max(worst, float((fx + vx + dx).abs().max()), float((fy + vy + dy).abs().max()))
    assert worst < 1e-4 / 1e4
    single = flow_between(scene, first, last, ids[:1], torch.float32).flow
    assert (single.double() - forward.flow).abs().max() < 1e-6  # float32 maps
    half = forward.flow.half().double()
    assert (half - forward.flow).abs().max() < 2.5e-4  # float16 storage below 1 px
    # A stored grid has to be interpolated at landing points: that, not its number format, is what it loses.
    backward = flow_between(scene, last, first, ids[1:], torch.float64).flow[0]
    y, x = torch.meshgrid(
        torch.arange(56.0, dtype=torch.float64), torch.arange(64.0, dtype=torch.float64), indexing="ij"
    )
    to = torch.stack([(x + forward.flow[0, ..., 0]) / 63, (y + forward.flow[0, ..., 1]) / 55], -1) * 2 - 1
    at = torch.nn.functional.grid_sample(backward.permute(2, 0, 1)[None], to[None], align_corners=True)[0].permute(
        1, 2, 0
    )
    error = (forward.flow[0] + at).norm(dim=-1)
    outside_objects = (ids[0] == 0) & ((x - 30) ** 2 + (y - 28) ** 2 > 18**2)
    outside_objects[:3], outside_objects[-3:], outside_objects[:, :3], outside_objects[:, -3:] = (
        False,
        False,
        False,
        False,
    )
    assert 1e-6 < error[outside_objects].max() < 3e-3


def test_occlusion_equals_a_brute_force_comparison_of_layers():
    ramp = Ramp(duration_s=1 / 30)
    discs = [((18.3, 20.1), 9.0, 5.0, 0.2), ((30.7, 24.4), 11.0, 6.0, 2.5), ((24.2, 33.3), 8.0, 4.0, -1.0)]
    layers = [Layer(texture=Noise(seed=1), motions=(Translation(amplitude_px=2.0, direction_rad=1.0, waveform=ramp),))]
    for seed, (centre, radius, shift, angle) in enumerate(discs, 2):
        motion = Translation(amplitude_px=shift, direction_rad=angle, waveform=ramp)
        layers.append(
            Layer(texture=Noise(seed=seed), shape=Shape(radius_px=radius), centre_px=centre, motions=(motion,))
        )
    clip = ClipSpec(width_px=52, height_px=48, frames=2, layers=tuple(layers))
    scene = build_scene(clip, dtype=torch.float64)
    start, end = Shot(0, frame_times(clip)[:1]), Shot(0, frame_times(clip)[1:])
    ids = render([scene], [start])[1]
    truth = flow_between(scene, start, end, ids, torch.float64)

    # Brute force: which disc is nearest, by its equation, on a grid 16 times finer.
    fine = 16
    y, x = np.mgrid[-0.5 : 47.5 : 1 / fine, -0.5 : 51.5 : 1 / fine] + 0.5 / fine
    top = np.zeros(x.shape, int)
    rim = np.full(x.shape, np.inf)
    for depth, ((cx, cy), radius, shift, angle) in enumerate(discs, 1):
        distance = np.hypot(x - cx - shift * np.cos(angle), y - cy - shift * np.sin(angle)) - radius
        top[distance <= 0] = depth
        rim = np.minimum(rim, abs(distance))
    shifts = np.array([[2 * np.cos(1.0), 2 * np.sin(1.0)]] + [[s * np.cos(a), s * np.sin(a)] for _, _, s, a in discs])
    own = ids[0].numpy().astype(int)
    rows, columns = np.mgrid[:48, :52]
    landing = np.stack([columns, rows], -1) + shifts[own]
    cell = np.floor((landing + 0.5) * fine).astype(int)
    inside = (cell >= 0).all(-1) & (cell[..., 0] < 52 * fine) & (cell[..., 1] < 48 * fine)
    at = tuple(np.where(inside, cell[..., axis], 0) for axis in (1, 0))
    expected = (top[at] > own) & inside
    decided = inside & (rim[at] > 0.05)  # within half a fine cell of a rim the finer grid can't tell
    assert np.array_equal((~inside), truth.outside[0].numpy())
    assert expected[decided].sum() > 100
    assert (~expected[decided]).sum() > 1000
    assert np.array_equal(truth.occluded[0].numpy()[decided], expected[decided])
    assert np.allclose(truth.flow[0].numpy(), shifts[own], atol=1e-12)
    alpha = soft_alpha(scene, start)[0]
    covered = torch.stack([alpha[d] >= 0.5 for d in range(4)])
    assert torch.equal(ids[0].long(), (covered * torch.arange(4)[:, None, None]).amax(0))


def test_tracks_oscillate_at_the_labelled_frequency_with_the_labelled_amplitude():
    frequency_hz, amplitude_px = 3.3, 0.05
    wave = Sine(frequency_hz=frequency_hz, phase_rad=0.9)
    layers = (
        Layer(texture=Noise(seed=1)),
        Layer(
            texture=Noise(seed=2),
            shape=Shape(radius_px=12),
            centre_px=(30, 30),
            motions=(Translation(amplitude_px=amplitude_px, direction_rad=0.5, waveform=wave),),
        ),
    )
    clip = make_clip(ClipSpec(width_px=64, height_px=64, frames=64, layers=layers), tracks=10)
    times = frame_times(clip.spec)
    assert clip.tracks.layer.tolist().count(1) == 5
    assert clip.tracks.visible.all()
    design = np.stack(
        [np.sin(2 * np.pi * frequency_hz * times), np.cos(2 * np.pi * frequency_hz * times), np.ones(64)], 1
    )
    for points, layer in zip(clip.tracks.points, clip.tracks.layer, strict=True):
        along = points @ np.array([np.cos(0.5), np.sin(0.5)])
        if layer == 0:
            assert np.ptp(along) == 0
            continue
        spectrum = np.abs(np.fft.rfft(along - along.mean()))
        peak_hz = np.fft.rfftfreq(64, 1 / 30)[spectrum.argmax()]
        assert abs(peak_hz - frequency_hz) <= 30 / 64
        (sine, cosine, _), *_ = np.linalg.lstsq(design, along, rcond=None)
        assert np.hypot(sine, cosine) == pytest.approx(amplitude_px, rel=0.01)
        assert np.arctan2(cosine, sine) == pytest.approx(0.9, abs=0.01)


def test_backward_flow_leads_back_and_is_not_the_forward_flow():
    motion = Translation(amplitude_px=1.75, direction_rad=0.0, waveform=Ramp(duration_s=1 / 30))
    clip = make_clip(
        ClipSpec(width_px=32, height_px=24, frames=2, layers=(Layer(texture=Noise(seed=1), motions=(motion,)),))
    )
    assert torch.allclose(clip.forward.flow, torch.tensor([1.75, 0.0]).expand(1, 24, 32, 2))
    assert torch.allclose(clip.backward.flow, -clip.forward.flow)
    assert clip.forward.outside[0, :, -2:].all()
    assert not clip.forward.outside[0, :, :-2].any()
