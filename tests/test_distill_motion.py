"""The motion student: what it sees, what it is judged by, its whole line on clips of a few pixels.

Oracles: values worked out by hand; magnifiers that are right, half right and wrong on purpose; the simulator's own
rendering; the phase-based baseline itself.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import limbeck
from distill import batches, opening
from distill.arm_names import ARMS
from distill.distilling import distill
from distill.motion import figures, measures, methods, plaids
from distill.motion.examples import recorded
from distill.motion.pairs import moved_frame, pair_of, rendered_pair, still_pixels
from distill.progress import Watcher
from distill.recipe import load
from distill.student import terms_for
from distill.students.motion import MOST_PARAMETERS, Motion
from distill.testing import check_student
from limbeck.errors import LimbeckError, ModelNotFound, RequestError
from limbeck.motion.clip import make_clip
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.magnifier import Magnifier, MagnifierConfig
from limbeck.motion.phase_based import magnify_phase
from limbeck.motion.row import arrays, labels
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec, Layer, Plain, Sensor

SIDE = 40
CLIP = "width_px = 40, height_px = 40, frames = 2, objects = [1, 2], object_radius = [0.15, 0.3], gains = 2, bound_px = 8.0"
SMALL = "windows = [2, 1]\nrings = [1]\nwidth = 8\nrefine = 4\ncrop_px = 32\ngain_clips = 4\nbins = 1"


def dataset(folder, rows, subsets=("ordinary", "static_background", "static"), clip="", specs_only=True, seed=3):
    (folder / "clips.toml").write_text(
        f"""
[dataset]
name = "clips"
record = "MotionClip"
seed = {seed}
license = "cc0-1.0"
[source]
storybook = {{ rows = {rows} }}
[[stages]]
use = "motion_clips"
specs_only = {str(specs_only).lower()}
subsets = {json.dumps(list(subsets))}
clip = {{ {CLIP}, amplitude_px = [0.01, 1.0], gain = [2.0, 50.0]{clip} }}
""",
        encoding="utf-8",
    )
    limbeck.build(folder / "clips.toml", folder / "clips")
    return folder / "clips"


def student_recipe(folder, build="clips", student="", **tables):
    tables = {"train": "steps = 2\nbatch_size = 6\nevaluate_every = 2\ncheckpoint_every = 2\nema = 0.0"} | tables
    tables.setdefault("export", 'formats = ["safetensors"]\nmax_loss = { default = 1.0 }\nlatency_runs = 5')
    more = "\n".join(f"[{name}]\n{text}" for name, text in tables.items())
    path = folder / "student.toml"
    path.write_text(
        f'[distill]\nname = "m"\nseed = 1\n[source]\nbuild = "{build}"\n[student]\nuse = "motion"\n{SMALL}\n{student}\n{more}\n',
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("motion")
    dataset(folder, 60)
    return folder


@pytest.fixture(scope="module")
def work(built):
    """What a student works with after its contract was checked; terms of the truth."""
    return check_student(student_recipe(built), built / "checked")


def spec_of_seed(seed=3, subset="ordinary", **changes):
    settings = {"width_px": SIDE, "height_px": SIDE, "objects": (1, 2), "amplitude_px": (0.3, 1.0), "gain": (4.0, 8.0)}
    return draw_clip(ClipSettings(**{**settings, "bound_px": 8.0, "gains": 2, **changes}), subset, seed)


# --- measures, by hand


def test_ssim_of_plain_frames_is_the_formula():
    """Oracle: without contrast only the luminance term is left, (2ab + c) / (a^2 + b^2 + c), c = 1e-4."""
    a, b = 0.5, 0.7
    frames = [np.full((1, 3, 20, 20), value, np.float32) for value in (a, b)]
    assert measures.ssim(frames[0], frames[1])[0] == pytest.approx(
        (2 * a * b + 1e-4) / (a * a + b * b + 1e-4), abs=1e-6
    )
    assert measures.ssim(frames[0], frames[0])[0] == 1.0


def test_leakage_is_the_error_at_rest_in_grey_levels():
    target = np.full((2, 3, 4, 4), 0.5, np.float32)
    shown, still = target.copy(), np.zeros((2, 4, 4), bool)
    still[0, :2] = True
    shown[0, :, 0] += 2 / 255  # half of what is at rest is wrong by two levels: sqrt(4 / 2)
    shown[0, :, 3] += 100 / 255  # moves: not counted
    found = measures.leakage(shown, target, still)
    assert found[0] == pytest.approx(np.sqrt(2), rel=1e-4)
    assert np.isnan(found[1])


def perfect(period):
    return lambda first, second, gains: moved_plaids(second, gains, period, lambda shift, gain: shift * gain)


def moved_plaids(second, gains, period, rule):
    shifts = [rule(plaids.shift_of(frame, period), gain) for frame, gain in zip(second, gains, strict=True)]
    return np.stack([plaids.plaid(second.shape[-1], period, shift) for shift in shifts])


def test_gain_on_gratings_tells_right_half_and_swapped_apart():
    """Oracle: magnifiers made from the phases themselves: all of it, half of it, its axes swapped."""
    asked = dict(side_px=48, gains=(2, 10, 20), motions_px=(0.2,), periods_px=(12,))
    points = plaids.gain_curve(perfect(12), **asked)
    assert [p.asked for p in points] == [2, 10, 20]
    assert all(p.shown == pytest.approx(p.asked, rel=0.02) and abs(p.direction_deg) < 1 for p in points)
    halved = plaids.gain_curve(lambda a, b, g: moved_plaids(b, g, 12, lambda s, k: 0.5 * s * k), **asked)
    assert all(p.shown == pytest.approx(0.5 * p.asked, rel=0.02) for p in halved)
    swapped = plaids.gain_curve(lambda a, b, g: moved_plaids(b, g, 12, lambda s, k: s[::-1] * k), **asked)
    assert all(abs(p.direction_deg) == pytest.approx(90 - 2 * np.degrees(0.5), abs=1.5) for p in swapped)
    assert all(p.shown < 0.9 * p.asked for p in swapped)


def test_the_baselines_gain_is_what_theory_says():
    """Oracle: arctan(z) / z of linear magnification, all of it by phases: a total of an eighth of the period."""
    asked = dict(side_px=48, gains=(30,), motions_px=(0.05,), periods_px=(12,), angle_rad=0.0)
    (one,) = plaids.gain_curve(methods.linear, **asked)
    assert one.shown / one.asked == pytest.approx(0.848, abs=0.03)
    (one,) = plaids.gain_curve(methods.phase_based, **asked)
    assert one.shown / one.asked == pytest.approx(1, abs=0.05)


def test_vibrations_keep_frequency_amplitude_and_shape():
    """Oracle: 3 Hz at 0.1 px, magnified rightly; as its square (the double frequency); clipped (odd harmonics)."""
    right = plaids.vibration(perfect(16), 48, 3.0, 0.1, 20.0)
    assert right.frequency_error_hz < 0.02
    assert right.amplitude_ratio == pytest.approx(1, abs=0.01)
    assert right.distortion < 0.01
    times = np.arange(60) / 30
    wave = np.sin(2 * np.pi * 3.0 * times)
    assert plaids.spectrum_of(wave**2, 3.0, 1.0, 30).frequency_error_hz == pytest.approx(3.0, abs=0.05)
    clipped = plaids.spectrum_of(np.clip(wave, -0.5, 0.5), 3.0, 1.0, 30)
    assert clipped.distortion > 0.1
    assert clipped.amplitude_ratio == pytest.approx(
        2 / np.pi * (np.pi / 6 + 0.5 * np.cos(np.pi / 6)), abs=0.02
    )  # by Fourier


def test_gain_shown_in_a_clip():
    """Oracle: renderings of the clip itself at all, half and a fifth more of its gain."""
    spec = spec_of_seed(5)
    shares = np.array([0.05, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25])
    rungs = methods.ladder(spec, spec.gains[0], 1, shares)
    for share in (1.0, 0.5, 0.83):
        (shown,) = methods.ladder(spec, spec.gains[0], 1, np.array([share]))
        assert measures.shown_gain(shown, rungs, shares) == pytest.approx(share, abs=0.02)
    assert measures.shown_gain(rungs[0], rungs, shares) == 0.05


def test_the_true_warp_is_nearly_the_target():
    spec = spec_of_seed(5)
    target = rendered_pair(spec).magnified[0].astype(np.float32)[None] / 65535
    assert measures.ssim(methods.true_warp(spec, spec.gains[0], 1)[None].astype(np.float32), target)[0] > 0.9
    still = spec.gains[0].model_copy(update={"gain_total": 1e-6})
    assert measures.ssim(methods.true_warp(spec, still, 1)[None].astype(np.float32), target)[0] < 0.9


def test_the_lead_has_an_interval():
    lead, low, high = figures.ahead(np.array([[0.9, 0.8, 0.7]] * 2), np.array([0.8, 0.7, 0.6]))
    assert (lead, low, high) == pytest.approx((0.1, 0.1, 0.1))
    lead, low, high = figures.ahead(np.array([[0.9, 0.1]]), np.array([0.5, 0.5]))
    assert low < 0 < high


# --- pairs


@pytest.mark.parametrize("subset", ["static_background", "flicker_only", "pulse"])
@pytest.mark.parametrize(
    "more", [{}, {"frames": 4, "exposure_share": 1.0, "rolling_share": 1.0, "colour_perturbation": 0.1}]
)
def test_a_rendered_pair_is_the_clips_own(subset, more):
    """Oracle: `make_clip`, noise and dither included; the stored clip's columns within half a step."""
    spec = spec_of_seed(4, subset, **more)
    clip, pair, at = make_clip(spec), rendered_pair(spec), moved_frame(spec)
    assert np.array_equal(pair.recorded, clip.frames[[0, at]].numpy())
    assert np.abs(pair.magnified / 65535 - clip.magnified[:, at].clamp(0, 1).numpy()).max() < 1e-5
    stored = pair_of({"id": "a", **labels(spec), **arrays(clip)})
    assert np.array_equal(stored.recorded, pair.recorded)
    assert np.abs(stored.magnified / 257 - pair.magnified / 257).max() <= 0.501
    assert not (stored.still & ~pair.still).any()
    assert pair.still.all() == (subset == "flicker_only")
    assert pair.still.any() == (subset != "pulse")


def test_the_farthest_frame_is_taken():
    """Oracle: a sine of one period in eight frames stands farthest a quarter of the way."""
    from limbeck.motion.motions import Translation
    from limbeck.motion.waveforms import Sine

    swing = Translation(amplitude_px=1.0, direction_rad=0.0, waveform=Sine(frequency_hz=30 / 8, phase_rad=0.0))
    spec = ClipSpec(width_px=8, height_px=8, frames=4, layers=(Layer(texture=Plain(), motions=(swing,)),))
    assert moved_frame(spec) == 2


def test_still_pixels_keep_away_from_what_moves():
    spec = spec_of_seed(2, "static_background")
    ids = np.zeros((2, 20, 20), np.uint8)
    ids[1, 10, 10] = 1
    still = still_pixels(spec, ids)
    assert not still[10, 8]
    assert still[10, 6]
    assert still_pixels(spec, ids, reach_px=2)[10, 4]
    assert not still_pixels(spec, ids, reach_px=2)[10, 5]


def test_noise_drawn_anew_has_the_sensors_variance():
    """Oracle: shot * v + read^2, and what 8 dithered bits add: f (1 - f) of a step squared."""
    spec = spec_of_seed().model_copy(update={"sensor": Sensor(shot=2e-3, read=2e-2)})
    light = np.full((2, 3, 64, 64), 0.4, np.float32)
    found = recorded(light, spec, np.random.default_rng(0))
    assert found.mean() == pytest.approx(0.4, abs=1e-3)
    assert found.var() == pytest.approx(2e-3 * 0.4 + 4e-4, rel=0.05)
    quiet = spec.model_copy(update={"sensor": Sensor(dither=False)})
    assert np.allclose(recorded(light, quiet, np.random.default_rng(0)), round(0.4 * 255) / 255)


# --- the student


def items_of(work, arm="labels", count=6):
    found = batches.pools(work.dataset, work.recipe, work.seed)
    drawn = batches.Batches(work, ARMS[arm], found, "train", count, None)
    return [drawn._item(0, place, p, labelled) for place, (p, labelled) in enumerate(drawn.positions(0))]


def test_stored_and_rendered_batches_are_the_same(built, work, tmp_path):
    """Oracle: the same rows rendered on the spot: light and targets exactly, then the same draws."""
    student, items = work.student, items_of(work)
    stored = student.batch(items, "train", work)
    again = work.with_(memo={"pairs": Rendered(work.dataset)})
    rendered = student.batch(items_of(work), "train", again)
    assert stored.keys() == rendered.keys()
    for name, value in stored.items():
        assert torch.equal(value, rendered[name]), name
    assert stored["first"].shape == (6, 3, 32, 32)
    other = items_of(work.with_(seed=2))
    assert not torch.equal(student.batch(other, "train", work)["first"], stored["first"])


class Rendered:
    def __init__(self, dataset):
        self.dataset = dataset

    def __getitem__(self, position):
        return pair_of(self.dataset.row(position))


def test_builds_with_frames_teach_the_same_targets(built, tmp_path):
    """Oracle: the same recipe's specifications, rendered: inputs as recorded, targets within half of 1/255."""
    dataset(tmp_path, 60, specs_only=False)
    works = []
    for folder in (built, tmp_path):
        checked = load(student_recipe(folder))
        from distill.opening import work_of
        from distill.progress import Watcher

        works.append(work_of(checked, folder / "rows", "cpu", Watcher()))
    specs, frames = works
    assert specs.dataset.ids == frames.dataset.ids
    for position in (0, 7, 30):
        a, b = (w.student._pair(w.dataset.row(position), w) for w in works)
        assert np.array_equal(a.recorded, b.recorded)
        assert np.abs(a.magnified / 257 - b.magnified / 257).max() <= 0.501
        assert b.light is None
    batch = frames.student.batch(items_of(frames.with_(terms={"l1": 1.0})), "train", frames.with_(terms={"l1": 1.0}))
    assert torch.equal(batch["first"], (batch["first"] * 255).round() / 255)


def test_losses_are_sums_of_means(work):
    """Oracle: an error of 0.1 everywhere has edges of 0, one of 0.2 in every second column has edges of 0.2 across."""
    batch = {
        "first": torch.zeros(2, 3, 8, 8), "second": torch.zeros(2, 3, 8, 8), "gain": torch.ones(2),
        "target": torch.zeros(2, 3, 8, 8), "labelled": torch.tensor([True, True]), "answered": torch.tensor([False, False]),
        "taught": torch.zeros(2, 3, 8, 8),
    }  # fmt: skip
    error = torch.full((2, 3, 8, 8), 0.1)
    error[1] = 0
    error[1, :, :, ::2] = 0.2
    found = work.student.losses(lambda *_: error, batch, "train", work)
    assert found["l1"].item() == pytest.approx(0.1 + 0.1)
    assert found["edges"].item() == pytest.approx(0.2)
    batch["labelled"] = torch.tensor([True, False])
    found = work.student.losses(lambda *_: error, batch, "train", work)
    assert found["l1"].item() == pytest.approx(0.1)


def test_perfect_answers_score_perfectly(work):
    """Oracle: the targets themselves: SSIM 1, nothing at rest, all of the gain; the input handed back is worse in all."""
    rows = work.dataset.rows(batches.held_out(work.dataset, work.recipe)[2])
    student = work.student
    right = student.score({"magnified": student._targets(rows, work)}, rows, work)
    assert right.values["ssim"] == right.values["ssim_subpixel"] == 1.0
    assert right.values["leakage"] == 0.0
    assert right.values["gain_clips"] == pytest.approx(1.0, abs=1e-3)
    floor = student.score({"magnified": student._magnified(methods.hand_back, rows, work)}, rows, work)
    assert floor.values["ssim_subpixel"] < 0.98
    assert floor.values["leakage"] > 0.1
    assert floor.values["gain_clips"] < 0.6
    bins = np.array(right.more["rows"]["bin"])
    assert all(row["subset"] != "static" for n, row in enumerate(rows) if bins[n] >= 0)
    assert sum(found["n"] for found in right.more["subsets"].values()) == len(rows)


def test_the_whole_line(built, tmp_path):
    """Oracle: the files of a finished distillation; the saved folder loads without the trainer; the bound on size."""
    made = distill(student_recipe(built), tmp_path / "out")
    entry = made.report["formats"]["safetensors"]
    assert entry["parameters"] <= MOST_PARAMETERS
    model = Magnifier.from_pretrained(tmp_path / "out" / "student")
    assert sum(p.numel() for p in model.parameters()) == entry["parameters"]
    assert {*made.report["baselines"]} == {"input", "linear", "phase-based", "true warp"}
    card = (tmp_path / "out" / "student" / "README.md").read_text()
    assert "lead over the better rival" in card
    assert (tmp_path / "out" / "student" / "clips.png").is_file()
    assert (tmp_path / "out" / "student" / "gain_curve.png").is_file()
    values = made.report["trainings"][0]["values"]
    assert 0 < values["gain_error"] < 1
    assert values["frequency_error_hz"] < 0.1


def test_files_of_other_runtimes_answer_alike(built, tmp_path):
    """Oracle: torch itself, to 1e-4, on frames and gains that the file hasn't seen."""
    from distill import exports

    work = check_student(student_recipe(built), built / "checked")
    model = Magnifier(work.student._config()).eval()
    exported = work.student.exported(model, work)
    found = exports.open_("onnx-fp32", exports.write("onnx-fp32", exported, tmp_path, tmp_path), exported)
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(3, 3, SIDE, SIDE, generator=generator)
    second, gain = first + 0.02 * torch.rand(first.shape, generator=generator), torch.tensor([1.0, 7.0, 30.0])
    with torch.inference_mode():
        expected = model(first, second, gain).numpy()
    asked = found.ask({"first": first.numpy(), "second": second.numpy(), "gain": gain.numpy()})["magnified"]
    assert np.abs(asked - expected).max() < 1e-4
    assert np.abs(expected[1:] - second[1:].numpy()).max() > 1e-3


# --- teachers


def test_the_phase_based_teacher_says_what_it_computes(built, tmp_path):
    """Oracle: `magnify_phase` of the recorded pair, in 8 bits; the student sees that very recording beside it."""
    path = student_recipe(built, student='teacher = "phase-based"', budget="labelled = 10\nunlabelled = 20")
    work = check_student(path, tmp_path / "checked")
    work = work.with_(terms=terms_for(work.student, ("label", "teacher"), {}))
    items = items_of(work, "both", 8)
    batch = work.student.batch(items, "train", work)
    assert batch["answered"].all()
    assert batch["labelled"].tolist() == [item.labelled for item in items]
    assert 0 < batch["labelled"].sum() < 8
    row = items[0].row
    pair = work.student._pair(row, work)
    frames = torch.from_numpy(pair.recorded.astype(np.float32) / 255)
    wanted = (magnify_phase(frames, row["gain_total"][0])[1].clamp(0, 1) * 255).round().numpy()
    assert np.abs(items[0].target["magnified"].astype(float) - wanted).max() <= 1
    one = next(n for n, item in enumerate(items) if not item.labelled)
    recorded = np.sort(work.student._pair(items[one].row, work).recorded[1].ravel())
    assert np.isin(np.unique((batch["second"][one] * 255).round().numpy()), recorded).all()
    assert not batch["target"][one].any()
    assert "imitate" in work.terms


def test_a_larger_magnifier_teaches(built, tmp_path):
    """Oracle: its own answers through `magnify`."""
    torch.manual_seed(0)
    teacher = Magnifier(MagnifierConfig(width=12, windows=(2, 1), rings=(1,)))
    teacher.save_pretrained(tmp_path / "large")
    path = student_recipe(built, student=f'teacher = "{tmp_path / "large"}"', budget="labelled = 10\nunlabelled = 20")
    work = check_student(path, tmp_path / "checked")
    (item, *_) = items_of(work.with_(terms={"imitate": 1.0}), "teacher", 4)
    recorded = torch.from_numpy(work.student._pair(item.row, work).recorded)
    wanted = teacher.eval().magnify(recorded[0], recorded[1], item.row["gain_total"][0]).numpy() * 255
    assert np.abs(item.target["magnified"] - wanted).max() <= 0.51
    assert work.cache.facts["parameters"] == sum(p.numel() for p in teacher.parameters())


# --- painted on the device


def test_the_full_size_recipe_trains_on_a_few_pixels(tmp_path):
    """Oracle: its own files: dataset and student of recipes/, at an eighth of their size."""
    from pathlib import Path

    recipes = Path(__file__).parent.parent / "recipes"
    text = (recipes / "motion-full.toml").read_text()
    for old, new in (
        ("width_px = 384, height_px = 384", "width_px = 48, height_px = 48"),
        ("rows = 25000", "rows = 40"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (tmp_path / "clips.toml").write_text(text.replace("objects = [7, 15]", "objects = [1, 2]"))
    limbeck.build(tmp_path / "clips.toml", tmp_path / "clips")
    sets = [
        f"source.build={tmp_path / 'clips'}", "train.steps=2", "train.batch_size=4", "train.micro_batch=2", "train.precision=no",
        "train.evaluate_every=2", "train.checkpoint_every=2", "train.workers=0", 'export.formats=["safetensors"]',
        "export.latency_runs=5", "student.crop_px=32", "budget.labelled=20", "export.max_loss.default=1.0", "evaluate.dev_rows=2", "evaluate.test_rows=3",
    ]  # fmt: skip
    made = distill(recipes / "distill-motion-full.toml", tmp_path / "out", sets=sets)
    assert made.report["formats"]["safetensors"]["parameters"] <= MOST_PARAMETERS


def test_the_full_size_bank_can_be_addressed():
    """Oracle: 32 bits, and a background alone, of the frame's size at two texels a pixel."""
    recipe = load("recipes/distill-motion-full.toml")
    assert recipe.student.paint == "device"
    assert recipe.budget.labelled * (2 * 384) ** 2 < 2**31


def test_batches_that_are_painted_on_the_device_are_prepared_by_no_other_process(built, tmp_path):
    """Oracle: a process that was forked from one with a GPU can't open it; without `workers` none is forked."""
    recipe = load(student_recipe(built, student='paint = "device"', train="workers = 2"))
    with pytest.raises(RequestError, match=r"train\.workers = 0"):
        opening.work_of(recipe, tmp_path / "out", "cpu", Watcher())
    assert not recipe.student.prepares_apart
    assert load(student_recipe(built)).student.prepares_apart


def test_painted_batches_show_the_clips(built, tmp_path):
    """Oracle: the rendered pairs, without noise to the rounding of 8 bits."""
    from distill.motion.painter import Painter

    dataset(tmp_path, 20, clip=", noise_share = 0.0, dither = false", seed=4)
    checked = load(student_recipe(tmp_path, student='paint = "device"'))
    from distill.opening import work_of
    from distill.progress import Watcher

    work = work_of(checked, tmp_path / "out", "cpu", Watcher())
    painter = Painter(work.dataset, "cpu")
    painter.prepare([2, 5])
    assert painter.at == {2: 0, 5: 1}
    batch = painter.paint([1, 0], seeds=[3, 4])
    for n, position in enumerate((5, 2)):
        row = work.dataset.row(position)
        pair = pair_of(row)
        which = row["gain_total"].index(pytest.approx(float(batch["gain"][n]), rel=1e-5))
        assert np.abs(batch["first"][n].numpy() * 255 - pair.recorded[0]).max() <= 1
        assert np.abs(batch["target"][n].numpy() - pair.magnified[which] / 65535).max() < 2e-3


def test_too_many_clips_for_a_bank_are_told_after_the_first_few(built, tmp_path, monkeypatch):
    """Oracle: the size of the bank that the same clips do fit."""
    from distill.motion import painter
    from distill.opening import work_of
    from distill.progress import Watcher
    from limbeck.motion import batch, render

    work = work_of(load(student_recipe(built, student='paint = "device"')), tmp_path / "out", "cpu", Watcher())
    fits = painter.Painter(work.dataset, "cpu")
    fits.prepare(range(3))
    held, made = len(fits._bank.atlas), []
    monkeypatch.setattr(batch, "MOST_TEXELS", held + 1)
    monkeypatch.setattr(painter, "_LOOKS_AT", 3)
    painter.Painter(work.dataset, "cpu").prepare(range(3))
    build_scene = render.build_scene
    monkeypatch.setattr(render, "build_scene", lambda spec: made.append(spec) or build_scene(spec))
    with pytest.raises(RequestError, match="the layers of 8 clips take 0 GB; expected at most 3 such clips"):
        painter.Painter(work.dataset, "cpu").prepare(range(8))
    assert len(made) == 3


def test_painted_rows_are_the_same_however_a_batch_is_cut(built, tmp_path):
    """Oracle: the batch in one piece; and each row by itself has a crop, noise and now and then a gain of its own."""
    from distill.opening import work_of
    from distill.progress import Watcher

    checked = load(student_recipe(built, student='paint = "device"'))
    work = work_of(checked, built / "rows", "cpu", Watcher()).with_(terms={"l1": 1.0, "edges": 1.0})
    student, found = work.student, batches.pools(work.dataset, work.recipe, work.seed)
    student.begin(None, "train", work)

    def painted(micro, worlds=1):
        drawn = batches.Batches(work, ARMS["labels"], found, "train", 8, micro)
        cut = [batch for rank in range(worlds) for batch in drawn.micro_batches(0, rank, worlds)]
        parts = [
            student._painter(work).paint(batch["clip"].tolist(), batch["noise"].tolist(), student.crop_px)
            for batch in cut
        ]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    whole = painted(None)
    assert whole["first"].shape == (8, 3, 32, 32)
    for other in (painted(1), painted(3), painted(2, worlds=2), painted(None, worlds=4)):
        for name, value in whole.items():
            assert torch.equal(value, other[name]), name
    painter = student._painter(work)
    same = painter.paint([0] * 6, range(6), student.crop_px)
    assert all(not torch.equal(same[name][0], same[name][n]) for name in ("first", "target") for n in range(1, 6))
    assert len({*same["gain"].tolist()}) == 2


# --- what is refused


@pytest.mark.parametrize(
    ("student", "tables", "words"),
    [
        ("crop_px = 64", {}, "crop_px = 64 is larger than the frames of 40 x 40 px"),
        ("max_gain = 10.0", {}, "beyond max_gain = 10"),
        ("", {"views": "count = 2"}, "views.count must be 1"),
        ('paint = "device"\nteacher = "phase-based"', {}, "paint = 'device'"),
        ("width = 64", {}, "parameters; expected at most 300,000"),
    ],
)
def test_recipes_that_can_not_work(built, tmp_path, student, tables, words):
    own = "\n".join(line for line in SMALL.splitlines() if line.split(" =")[0] not in student)
    path = student_recipe(built, **tables)
    path.write_text(path.read_text().replace(SMALL, f"{own}\n{student}"))
    with pytest.raises(RequestError, match=words):
        distill(path, tmp_path / "out")
    assert not (tmp_path / "out" / "arms").exists()


def test_datasets_of_another_task(tmp_path):
    path = student_recipe(tmp_path)
    path.write_text(path.read_text().replace('build = "clips"', "storybook = { rows = 20 }"))
    with pytest.raises(RequestError, match=r"no column 'clip_spec', which the student 'motion' reads"):
        distill(path, tmp_path / "out")


def test_clips_of_two_sizes_or_without_a_teacher(built, tmp_path):
    path = student_recipe(built, student='teacher = "nowhere"')
    with pytest.raises(ModelNotFound, match=r"holds no model\.safetensors"):
        distill(path, tmp_path / "out")
    with pytest.raises(LimbeckError, match="row 9: "):
        pair_of({"id": "9", "clip_spec": spec_of_seed().model_copy(update={"bound_px": 1.0}).model_dump_json()})


def test_everything_has_its_words():
    """Oracle: docstrings: every setting says what it is."""
    from limbeck.stage import settings_of

    assert {*settings_of(Motion())} == {
        "width", "windows", "rings", "cell_px", "refine", "bound_px", "max_gain", "crop_px", "teacher", "paint", "gain_clips", "bins",
    }  # fmt: skip
