"""Specifications: what they say of themselves, and what they refuse.

Oracles: waveforms against their formulas and their own Fourier transform; finite differences for the fields; errors
that name what was found and what to do.
"""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from limbeck.errors import SettingError
from limbeck.motion.clip import make_clip
from limbeck.motion.cutouts import load_picture
from limbeck.motion.fields import field, steepest_px
from limbeck.motion.motions import Beam, Membrane, Swelling, Translation, Wave
from limbeck.motion.render import build_scene
from limbeck.motion.spec import ClipSpec, Gain, Layer, Noise, Picture, Plain, Shape, StorybookPage
from limbeck.motion.waveforms import Breathing, Chirp, Damped, Heartbeat, Modes, Partial, Ramp, Sine, Sway
from limbeck.storybook import sample_scene

SINE = Sine(frequency_hz=2.0)
ELASTIC = [
    Wave(amplitude_px=1, direction_rad=1, across_rad=2, wavelength_px=40, waveform=SINE),
    Beam(amplitude_px=1, base_px=(20, 40), axis_rad=-1.4, length_px=35, mode=1, waveform=SINE),
    Beam(amplitude_px=1, base_px=(20, 40), axis_rad=-1.4, length_px=35, mode=2, waveform=SINE),
    Beam(amplitude_px=1, base_px=(20, 40), axis_rad=-1.4, length_px=35, mode=3, waveform=SINE),
    Membrane(amplitude_px=1, direction_rad=1, corner_px=(5, 4), size_px=(30, 40), orders=(2, 1), waveform=SINE),
    Swelling(amplitude_px=1, centre_px=(22, 20), radius_px=12, waveform=SINE),
]


@pytest.mark.parametrize(
    "wave",
    [
        Sine(frequency_hz=1.7, phase_rad=0.4),
        Modes(partials=(Partial(frequency_hz=1.7, weight=1), Partial(frequency_hz=3.1, weight=0.6, phase_rad=1))),
        Damped(natural_frequency_hz=1.7, damping_ratio=0.05),
        Heartbeat(frequency_hz=1.2, phase_rad=0.2),
        Breathing(frequency_hz=0.6),
        Sway(frequency_hz=0.9),
        Chirp(start_hz=1.0, end_hz=3.0, duration_s=20.0),
    ],
    ids=lambda wave: wave.kind,
)
def test_waveforms_stay_in_range_and_hold_the_frequencies_they_name(wave):
    seconds, fps = 20, 60
    value = wave.value(np.arange(seconds * fps) / fps)
    assert np.abs(value).max() <= 1 + 1e-6
    assert np.abs(value).max() > 0.8
    spectrum = np.abs(np.fft.rfft((value - value.mean()) * np.hanning(len(value))))
    frequency = np.fft.rfftfreq(len(value), 1 / fps)
    if wave.kind != "chirp":
        assert abs(frequency[spectrum.argmax()] - wave.frequency_hz) <= 1 / seconds
    above = spectrum[frequency > wave.highest_frequency_hz + 0.5]
    assert above.max() < 0.02 * spectrum.max()


def test_a_ramp_arrives_and_a_damped_wave_decays_as_its_ratio_says():
    assert Ramp(duration_s=0.5).value(np.array([0, 0.25, 0.5, 2])).tolist() == [0, 0.5, 1, 1]
    wave = Damped(natural_frequency_hz=4.0, damping_ratio=0.03)
    period = 1 / wave.frequency_hz
    peaks = wave.value(np.array([0.25, 1.25]) * period)
    assert np.log(peaks[0] / peaks[1]) == pytest.approx(2 * np.pi * 0.03 / np.sqrt(1 - 0.03**2), rel=1e-6)


@pytest.mark.parametrize("motion", ELASTIC, ids=lambda motion: f"{motion.kind}{getattr(motion, 'mode', '')}")
def test_fields_have_their_peak_their_jacobian_and_their_steepest_slope(motion):
    y, x = torch.meshgrid(*(torch.arange(-10, 60, 0.5, dtype=torch.float64) + 0.123 for _ in range(2)), indexing="ij")
    (ex, ey), jacobian = field(motion, x, y)
    size = torch.hypot(ex, ey)
    if motion.kind == "beam":  # up to its tip; beyond, it goes on straight
        size = size[(x - 20) * np.cos(-1.4) + (y - 40) * np.sin(-1.4) <= 35]
    assert size.max() == pytest.approx(1, abs=5e-3)
    step = 1e-5
    for axis, (dx, dy) in enumerate(((step, 0), (0, step))):
        (ax, ay), _ = field(motion, x + dx, y + dy)
        (bx, by), _ = field(motion, x - dx, y - dy)
        for row, numeric in enumerate(((ax - bx) / (2 * step), (ay - by) / (2 * step))):
            error = (numeric - jacobian[row][axis]).abs()
            # A membrane has a kink at its rim; everything else is smooth.
            assert error.quantile(0.99) < 1e-6
            assert motion.kind == "membrane" or error.max() < 1e-4
    norm = torch.sqrt(sum((part * part) for row in jacobian for part in row))
    assert norm.max() <= steepest_px(motion) * 1.0001 * (2**0.5 if motion.kind == "swelling" else 1)


def clip(**changes):
    motion = Translation(amplitude_px=0.5, direction_rad=0, waveform=SINE)
    facts = {"width_px": 32, "height_px": 24, "frames": 4, "layers": (Layer(texture=Noise(seed=1), motions=(motion,)),)}
    return ClipSpec(**(facts | changes))


def test_a_specification_survives_json():
    page = sample_scene(np.random.default_rng(0), things=1).to_json()
    spec = clip(
        layers=(
            Layer(texture=Plain(), motions=ELASTIC),
            Layer(texture=StorybookPage(scene=page, thing=0, side_px=20), centre_px=(9, 9)),
        ),
        gains=(Gain(gain_total=3.3, rule="displacement", x=0.0),),
    )
    assert ClipSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"frames": 0}, "greater than 0"),
        ({"fps": (0, 1)}, "greater than 0"),
        ({"fps": (30, 0)}, "greater than 0"),
        ({"width_px": 0}, "greater than 0"),
        ({"layers": ()}, "at least 1"),
        ({"colour": 3}, "not permitted"),
        ({"fps": (3, 1)}, r"2 Hz, above half the frame rate \(1.5 Hz\).*allow_aliasing"),
        ({"layers": (Layer(texture=Plain(), shape=Shape(radius_px=4)),)}, "background and takes no shape"),
        ({"layers": (Layer(texture=Plain()), Layer(texture=Plain()))}, "layer 1 needs a shape"),
        ({"gains": (Gain(gain_total=2, layers=(1.0, 1.0)),)}, "names 2 layers, the clip has 1"),
        ({"gains": ({"gain_total": 2, "x": 0.5},)}, "needs rule = 'displacement'"),
        ({"gains": ({"gain_total": float("nan")},)}, "finite"),
        ({"shake": (ELASTIC[0],)}, "translation, rotation and scaling only"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        clip(**changes)


def test_aliasing_is_flagged_where_it_is_allowed():
    assert clip(fps=(3, 1), allow_aliasing=True).aliased
    assert not clip().aliased


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gains": (Gain(gain_total=90),)}, r"gain_total = 90 moves things by .* px; expected at most bound_px = 30"),
        (
            {
                "layers": (Layer(texture=Plain(), motions=(ELASTIC[0],)),),
                "gains": (Gain(gain_total=15),),
            },
            "would fold it",
        ),
        ({"bound_px": 0.1}, "the input moves things"),
    ],
)
def test_what_cannot_be_shown_is_refused(changes, says):
    with pytest.raises(SettingError, match=says):
        build_scene(clip(**changes))


def picture(height, width, channels=3):
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(1))


def test_pictures_that_do_not_fit_are_refused():
    name = "0" * 64
    spec = clip(layers=(Layer(texture=Picture(sha256=name), motions=clip().layers[0].motions),))
    with pytest.raises(SettingError, match=r"covers 30 x 20 px; expected at least \d+ x \d+ px"):
        build_scene(spec, {name: picture(20, 30)})
    with pytest.raises(SettingError, match="is missing"):
        build_scene(spec)
    cut_out = Layer(texture=Picture(sha256=name), centre_px=(12, 12))
    with pytest.raises(SettingError, match="has no alpha"):
        build_scene(clip(layers=(Layer(texture=Plain()), cut_out)), {name: picture(10, 10)})
    shaped = cut_out.model_copy(update={"shape": Shape(radius_px=4)})
    build_scene(clip(layers=(Layer(texture=Plain()), shaped)), {name: picture(40, 40)})


def test_a_users_picture_and_cut_out_are_shown_where_they_belong():
    sharp = picture(60, 70)
    smooth = torch.nn.functional.avg_pool2d(sharp[None], 5, 1, 2)[0]
    cut = torch.zeros(4, 9, 9)
    cut[0], cut[3] = 1, 1  # an opaque red square
    names = {"a" * 64: smooth, "b" * 64: cut}
    layers = (Layer(texture=Picture(sha256="a" * 64)), Layer(texture=Picture(sha256="b" * 64), centre_px=(16, 12)))
    shown = make_clip(clip(layers=layers, frames=1), names, tracks=2)
    inside = shown.layer_ids[0] == 1
    assert 70 <= int(inside.sum()) <= 90
    assert shown.clean[0, :, 12, 16].tolist() == pytest.approx([1, 0, 0], abs=0.02)
    # The middle of the picture lies on the middle of the frame, up to half a pixel.
    far = torch.ones(24, 32, dtype=torch.bool)
    far[5:19, 9:23] = False
    errors = [
        float((shown.clean[0] - smooth[:, dy : dy + 24, dx : dx + 32]).abs()[:, far].mean())
        for dy in (17, 18, 19)
        for dx in (18, 19, 20)
    ]
    assert min(errors) < 0.03
    assert errors.index(min(errors)) in (3, 4, 6, 7, 1, 0)


def test_load_picture_keeps_alpha_and_names_by_content():
    import hashlib
    import io

    from PIL import Image

    for mode, channels in (("RGB", 3), ("RGBA", 4), ("L", 3), ("LA", 4)):
        buffer = io.BytesIO()
        Image.new(mode, (5, 4)).save(buffer, "PNG")
        name, pixels = load_picture(buffer.getvalue())
        assert pixels.shape == (channels, 4, 5)
        assert name == hashlib.sha256(buffer.getvalue()).hexdigest()


def test_one_frame_and_no_gain_still_make_a_clip():
    single = make_clip(clip(frames=1), tracks=3)
    assert single.frames.shape == (1, 3, 24, 32)
    assert single.magnified.shape == (0, 1, 3, 24, 32)
    assert single.forward.flow.shape == (0, 24, 32, 2)
    assert single.tracks.points.shape == (3, 1, 2)


def test_one_frame_has_its_gain_and_nothing_to_magnify():
    single = make_clip(
        clip(frames=1, layers=(Layer(texture=Plain(), motions=ELASTIC[:1]),), gains=(Gain(gain_total=2),))
    )
    assert single.magnified.shape == (1, 1, 3, 24, 32)
    assert torch.equal(single.magnified[0], single.clean)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_bytes_that_are_no_picture_are_refused(data):
    with pytest.raises(SettingError, match=rf"a picture of {len(data)} bytes can't be read"):
        load_picture(data)
