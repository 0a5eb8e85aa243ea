"""The motion stages through the real runner.

Oracles: a stored row against a rendering from its own specification; specifications alone against the whole build's.
"""

import io
import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from question_rows import DirectRun

import limbeck
from generators.motion_clips import MotionClips
from limbeck import seeds
from limbeck.errors import RequestError
from limbeck.exports import export
from limbeck.motion.clip import make_clip
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.cutouts import load_picture
from limbeck.motion.gain import check_gains
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec
from limbeck.motion.storage import decode
from limbeck.records import MOTION_ARRAYS, MOTION_LABELS
from limbeck.stage import Drop
from limbeck.testing import check_stage

CLIP = "clip = { width_px = 40, height_px = 32, frames = 3, objects = [1, 2], object_radius = [0.1, 0.3] }"


def recipe(folder, source, settings, exact=""):
    text = f"""
[dataset]
name = "clips"
record = "MotionClip"
seed = 3
license = "cc0-1.0"
[source]
{source}
[[stages]]
use = "motion_clips"
tracks = 5
{CLIP}
{settings}
[[stages]]
use = "motion_range"
min_peak_px = 0.0
[[stages]]
use = "motion_exact"
{exact}
"""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    return folder / "recipe.toml"


def rows_of(out, plain=False):
    rows = [row for file in sorted((Path(out) / "data").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
    return [row | {"preview": row["preview"]["bytes"]} for row in rows] if plain else rows


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("motion")
    limbeck.build(recipe(folder, "storybook = { rows = 3 }", 'clips = 2\nbackground = "scene"'), folder / "out")
    return folder / "out"


def test_every_row_is_the_rendering_of_its_specification(build):
    rows = rows_of(build)
    assert len(rows) == 6
    for row in rows:
        assert {*MOTION_LABELS, *MOTION_ARRAYS, "caption", "seed"} <= row.keys()
        clip = make_clip(ClipSpec.model_validate_json(row["clip_spec"]), tracks=5)
        assert np.array_equal(decode(row["frames"]), clip.frames.permute(0, 2, 3, 1).numpy())
        assert np.array_equal(decode(row["flow_forward"]), clip.forward.flow.numpy())
        assert np.array_equal(decode(row["tracks"]), clip.tracks.points.astype(np.float32))
        assert row["gain_total"] == [gain.gain_total for gain in clip.spec.gains]
        assert row["seed"] == clip.spec.seed
        assert json.loads(row["clip_spec"])["layers"][0]["texture"]["scene"] == row["scene"]


def test_the_datasets_library_reads_the_build(build, tmp_path):
    splits = datasets.load_dataset(str(build), cache_dir=tmp_path)
    assert sum(map(len, splits.values())) == 6
    loaded = next(iter(splits.values()))
    assert decode(loaded[0]["frames"]).shape == (3, 32, 40, 3)
    assert loaded[0]["fps"] == {"numerator": 30, "denominator": 1}


def test_specifications_alone_are_those_of_the_whole_build(build, tmp_path):
    path = recipe(tmp_path, "storybook = { rows = 3 }", 'clips = 2\nbackground = "scene"\nspecs_only = true')
    text = path.read_text()
    path.write_text(text[: text.index('[[stages]]\nuse = "motion_range"')])
    limbeck.build(path, tmp_path / "out")
    specs = rows_of(tmp_path / "out")
    assert sorted(row["clip_spec"] for row in specs) == sorted(row["clip_spec"] for row in rows_of(build))
    assert not set(MOTION_ARRAYS) & specs[0].keys()


def test_the_report_plays_the_clips(build):
    page = (build / "report" / "index.html").read_text(encoding="utf-8")
    moving = sum(row["preview"][:4] == b"RIFF" and b"ANIM" in row["preview"][:64] for row in rows_of(build, plain=True))
    assert moving >= 3
    assert page.count("data:image/webp") >= moving


@pytest.mark.parametrize("form", ["oh2018", "flo", "tap"])
def test_a_build_is_exported(build, tmp_path, form):
    done = export(build, form, tmp_path / form)
    assert done.rows == 6
    files = {file.name for file in (tmp_path / form).rglob("*")}
    assert {"oh2018": "train_mf.txt", "flo": "forward_0001.flo", "tap": "tap.pkl"}[form] in files


def test_the_generator_keeps_the_contract():
    small = ClipSettings(width_px=24, height_px=20, frames=2, objects=(1, 1), object_radius=(0.2, 0.3))
    check_stage(MotionClips(clip=small, tracks=2), [{"id": "a"}, {"id": "b"}])


def test_a_sweep_holds_each_clip_at_its_level():
    stage = MotionClips(sweep={"amplitude_px": (0.04, 1.0), "gain": (250.0, 10.0)}, subsets=("ordinary",))
    for draw, (motion, gain) in enumerate([(0.04, 250.0), (1.0, 10.0), (0.04, 250.0)]):
        spec = draw_clip(stage._clip_settings(draw), "ordinary", draw)
        assert {m.amplitude_px for layer in spec.layers for m in layer.motions} == {motion}
        assert spec.gains[0].gain_total == pytest.approx(gain)
    with pytest.raises(ValueError, match="expected one length"):
        MotionClips(sweep={"amplitude_px": (0.04, 1.0), "gain": (250.0,)})
    with pytest.raises(ValueError, match="starts at 1"):
        MotionClips(sweep={"gain": (0.5,)})


def test_what_cannot_be_shown_is_dropped_whether_it_is_rendered_or_not():
    """Things of up to twice the length that moves 25 px: some beyond the bound of 30. Oracle: `build_scene`'s own check."""
    clip = ClipSettings(width_px=64, height_px=64, objects=(1, 2), amplitude_px=(25.0, 25.0), object_radius=(0.3, 0.4))
    found = {}
    for specs_only in (True, False):
        stage = MotionClips(clips=12, subsets=("ordinary",), clip=clip, specs_only=specs_only, tracks=1)
        found[specs_only] = list(stage.generate([{"id": "a"}], RunOf(7)))
    refused = [[entry for entry in entries if isinstance(entry, Drop)] for entries in found.values()]
    assert [drop.id for drop in refused[0]] == [drop.id for drop in refused[1]]
    assert 0 < len(refused[0]) < 12
    assert {drop.reason for drops in refused for drop in drops} == {"motion_unusable"}
    assert "expected at most bound_px = 30" in refused[0][0].detail
    for row in found[True]:
        if not isinstance(row, Drop):
            check_gains(ClipSpec.model_validate_json(row["clip_spec"]))


class RunOf:
    """What `generate` asks of a run."""

    def __init__(self, number):
        self.number = number

    def rng(self, row, draw=0):
        return seeds.rng(self.number, "m", row, draw)

    def seed(self, row, draw=0):
        return seeds.seed(self.number, "m", row, draw)

    def count(self, *_):
        pass


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def test_the_users_pictures_and_cut_outs_are_used_and_small_pictures_dropped(tmp_path):
    photos, cutouts = tmp_path / "photos", tmp_path / "cutouts"
    photos.mkdir()
    cutouts.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    (photos / "large.png").write_bytes(png(Image.fromarray(noise)))
    (photos / "small.png").write_bytes(png(Image.fromarray(noise[:20, :20])))
    for name in ("large", "small"):
        (photos / f"{name}.txt").write_text(f"a {name} picture of noise")
    square = np.zeros((8, 8, 4), np.uint8)
    square[2:6, 2:6] = (255, 0, 0, 255)
    (cutouts / "square.png").write_bytes(png(Image.fromarray(square, "RGBA")))
    settings = 'background = "image"\ncutouts = "cutouts"\nsubsets = ["static_background"]'
    path = recipe(tmp_path, f'images = "{photos}"', settings, 'image = true\ncutouts = "cutouts"')
    limbeck.build(path, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out")
    names = sorted(load_picture(file.read_bytes())[0] for file in (photos / "large.png", cutouts / "square.png"))
    assert row["texture_hashes"] == names
    dropped = pq.read_table(next((tmp_path / "out" / "stages" / "01-motion_clips").glob("*.parquet"))).to_pylist()
    (small,) = [entry for entry in dropped if entry["reason"]]
    assert small["reason"] == "picture_unusable"
    assert "covers 20 x 20 px" in small["detail"]

    (cutouts / "no_alpha.png").write_bytes(png(Image.fromarray(noise[:9, :9])))
    with pytest.raises(ValueError, match=r"no_alpha.png has no alpha; expected a cut-out"):
        list(MotionClips(cutouts=str(cutouts)).generate([{"id": "x"}], DirectRun()))
    (cutouts / "no_alpha.png").write_bytes(b"no picture at all")
    with pytest.raises(ValueError, match=r"no_alpha.png can't be read; expected a cut-out"):
        list(MotionClips(cutouts=str(cutouts)).generate([{"id": "x"}], DirectRun()))


def test_a_build_with_cut_outs_is_exported_with_the_folder_that_its_recipe_names(tmp_path):
    """Oracle: the clips rendered with the cut-out's own pixels; without them nothing is written and the way is told."""
    cutouts = tmp_path / "cutouts"
    cutouts.mkdir()
    square = np.zeros((8, 8, 4), np.uint8)
    square[2:6, 2:6] = (255, 0, 0, 255)
    (cutouts / "square.png").write_bytes(png(Image.fromarray(square, "RGBA")))
    settings = 'cutouts = "cutouts"\nspecs_only = true\nsubsets = ["static_background"]'
    path = recipe(tmp_path, "storybook = { rows = 2 }", settings)
    text = path.read_text()
    path.write_text(text[: text.index('[[stages]]\nuse = "motion_range"')])
    built = limbeck.build(path, tmp_path / "out")
    assert export(built, "oh2018", tmp_path / "oh2018").rows == 2
    names = dict([load_picture((cutouts / "square.png").read_bytes())])
    for number, row in enumerate(rows_of(built.path)):
        clip = make_clip(ClipSpec.model_validate_json(row["clip_spec"]), names, tracks=0, occlusion=False)
        written = np.asarray(Image.open(tmp_path / "oh2018" / "frameA" / f"{number:06d}.png")) / 255
        assert np.abs(written - clip.clean[0].permute(1, 2, 0).numpy().clip(0, 1)).max() < 1.01 / 255

    cutouts.rename(tmp_path / "moved")
    with pytest.raises(
        RequestError, match=r"row \S+: picture \w{12} is missing; .* in /.*cutouts\. .*--set cutouts=DIR"
    ):
        export(built, "oh2018", tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert export(built, "oh2018", tmp_path / "again", cutouts=str(tmp_path / "moved")).rows == 2
    with pytest.raises(RequestError, match="no PNG or WebP in"):
        export(built, "oh2018", tmp_path / "third", cutouts=str(cutouts))
