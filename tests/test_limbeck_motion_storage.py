"""Stored clips are the clips, bit for bit, and come back alike however many workers render them.

Oracles: equality of bytes; the .flo layout written out by hand; the corner convention of TAP-Vid.
"""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch.utils.data import DataLoader

from limbeck.motion.clip import make_clip
from limbeck.motion.curriculum import SUBSETS, ClipSettings
from limbeck.motion.exports import flo_bytes, read_flo, write_flo, write_oh2018, write_tap
from limbeck.motion.motions import Translation
from limbeck.motion.row import arrays, labels
from limbeck.motion.sampling import draw_clip
from limbeck.motion.spec import ClipSpec, Gain, Layer, Noise
from limbeck.motion.storage import decode, decode_part, encode
from limbeck.motion.stream import ClipStream
from limbeck.motion.waveforms import Ramp
from limbeck.records import ARRAY

SETTINGS = ClipSettings(
    width_px=40, height_px=32, frames=3, objects=(1, 3), gains=2, object_radius=(0.1, 0.3), gain_map_share=0.5,
    exposure_share=0.5, rolling_share=0.5, colour_perturbation=0.1,
)  # fmt: skip
SPECS = [draw_clip(SETTINGS, subset, seed) for seed, subset in enumerate(SUBSETS)]


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "codec"),
    [
        ((2, 5, 7, 3), np.uint8, "THWC", "png"),
        ((2, 2, 5, 7, 3), np.uint8, "GTHWC", "png"),
        ((4, 5, 7), np.uint8, "THW", "png"),
        ((2, 5, 7, 2), np.float32, "PHWV", "planes"),
        ((2, 5, 7, 2), np.float16, "PHWV", "planes"),
        ((3, 4, 2), np.float64, "NTV", "zstd"),
        ((0, 5, 7, 2), np.float32, "PHWV", "planes"),
    ],
)
def test_arrays_come_back_bit_for_bit_through_parquet(tmp_path, shape, dtype, axes, codec):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 256, shape).astype(dtype) if dtype == np.uint8 else rng.standard_normal(shape).astype(dtype)
    stored = encode(array, axes, codec)
    pq.write_table(pa.table({"a": pa.array([stored], ARRAY)}), tmp_path / "a.parquet")
    read = pq.read_table(tmp_path / "a.parquet")["a"][0].as_py()
    back = decode(read)
    assert back.dtype == dtype
    assert back.shape == shape
    assert back.tobytes() == array.tobytes()
    assert (read["axes"], read["codec"], read["shape"]) == (axes, codec, list(shape))
    if shape[0] and len(axes) < 5:
        assert np.array_equal(decode_part(read, 1), array[1])


def test_a_truncated_or_unknown_array_is_refused():
    stored = encode(np.zeros((2, 3), np.float32), "NV")
    with pytest.raises(ValueError, match="says 9"):
        decode({**stored, "shape": [3, 3], "data": stored["data"]})
    with pytest.raises(ValueError, match="unknown codec"):
        decode({**stored, "codec": "mp4"})
    with pytest.raises(ValueError, match="no picture"):
        encode(np.zeros((2, 3, 3), np.float32), "THW", "png")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.subset)
def test_a_row_holds_the_clip_and_its_specification_makes_it_again(spec):
    clip = make_clip(spec, tracks=6)
    row = {**labels(spec), **arrays(clip)}
    again = make_clip(ClipSpec.model_validate_json(row["clip_spec"]), tracks=6)
    assert torch.equal(again.frames, clip.frames)
    assert torch.equal(again.magnified, clip.magnified)
    assert np.array_equal(decode(row["frames"]), clip.frames.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(decode(row["flow_forward"]), again.forward.flow.numpy())
    assert np.array_equal(decode(row["layer_ids"]), clip.layer_ids.numpy())
    assert decode(row["magnified_frames"]).shape == (2, 3, 32, 40, 3)
    with Image.open(io.BytesIO(row["preview"])) as played:
        assert played.format == "WEBP"
        assert played.n_frames in (1, 3)  # equal pages, such as of a clip at rest, are shown once
        assert played.size == (3 * 40 * 4, 16 + 32 * 4 + 48)
    assert (
        np.abs(decode(row["magnified_frames"]) / 255 - clip.magnified.movedim(2, -1).clamp(0, 1).numpy()).max()
        <= 0.501 / 255
    )
    assert row["gain_total"] == [gain.gain_total for gain in spec.gains]
    assert row["fps"] == {
        "numerator": 30,
        "denominator": 1,
    }
    assert max(row["magnified_peak_px"]) <= spec.bound_px


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # a small machine
def test_any_number_of_workers_gives_the_same_samples_in_the_same_order():
    def samples(workers):
        loader = DataLoader(ClipStream(SPECS[:5]), batch_size=None, num_workers=workers)
        return [{key: value.numpy().tobytes() for key, value in sample.items()} for sample in loader]

    torch.set_num_threads(1)
    alone = samples(0)
    assert len(alone) == 5
    assert len({sample["frames"] for sample in alone}) == 5
    assert samples(2) == alone
    assert samples(3) == alone


def test_ranks_share_the_specifications_without_overlap():
    parts = [[sample["gain_total"].tolist() for sample in ClipStream(SPECS[:5], rank=r, world=2)] for r in (0, 1)]
    wanted = [torch.tensor([gain.gain_total for gain in spec.gains]).tolist() for spec in SPECS[:5]]
    assert parts == [wanted[0::2], wanted[1::2]]


def test_flo_is_tag_width_height_then_x_y_pairs():
    flow = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    data = flo_bytes(flow)
    assert data[:4] == b"PIEH"
    assert data[4:12] == bytes([3, 0, 0, 0, 2, 0, 0, 0])
    assert np.frombuffer(data[12:], "<f4").tolist() == list(range(12))
    assert np.array_equal(read_flo(data), flow)
    with pytest.raises(ValueError, match="tag"):
        read_flo(b"xxxx" + data[4:])
    with pytest.raises(ValueError, match="expected 60"):
        read_flo(data[:-1])


def test_exports_write_what_their_readers_expect(tmp_path):
    clips = [make_clip(spec, tracks=4) for spec in SPECS[:2]]
    assert write_oh2018(clips, tmp_path / "oh") == 2
    names = sorted(str(file.relative_to(tmp_path / "oh")) for file in (tmp_path / "oh").rglob("*.*"))
    folders = (("amplified", "png"), ("frameA", "png"), ("frameB", "png"), ("frameC", "png"), ("meta", "json"))
    assert names == [f"{folder}/00000{i}.{end}" for folder, end in folders for i in (0, 1)] + ["train_mf.txt"]
    factors = [float(line) for line in (tmp_path / "oh" / "train_mf.txt").read_text().split()]
    assert factors == [spec.gains[0].gain_total for spec in SPECS[:2]]
    meta = json.loads((tmp_path / "oh" / "meta" / "000001.json").read_text())
    assert meta["amplification_factor"] == meta["gain_total"] == meta["alpha"] + 1 == factors[1]
    shown = {name: np.asarray(Image.open(tmp_path / "oh" / name / "000000.png")) / 255 for name, _ in folders[:4]}
    clean = clips[0].clean.permute(0, 2, 3, 1).numpy()
    factor, offset = (np.array(part) for part in SPECS[0].perturbation)
    wanted = {
        "frameA": clean[0],
        "frameC": clean[1],
        "frameB": clean[1] * factor + offset,
        "amplified": clips[0].magnified[0, 1].permute(1, 2, 0).numpy(),
    }
    for name, picture in wanted.items():
        assert np.abs(shown[name] - picture).max() <= 1 / 255 + 1e-6, name

    assert write_flo([(clip.forward.flow.numpy(), clip.backward.flow.numpy()) for clip in clips], tmp_path / "flo") == 2
    read = read_flo((tmp_path / "flo" / "000001" / "backward_0001.flo").read_bytes())
    assert np.array_equal(read, clips[1].backward.flow[1].numpy())

    rows = [arrays(clip) for clip in clips]
    names = ("frames", "tracks", "tracks_visible")
    assert write_tap([tuple(decode(row[name]) for name in names) for row in rows], tmp_path / "tap.pkl") == 2
    entry = pickle.loads((tmp_path / "tap.pkl").read_bytes())["000000"]
    assert entry["video"].shape == (3, 32, 40, 3)
    assert entry["occluded"].dtype == bool
    pixels = entry["points"] * np.array([40, 32]) - 0.5
    assert np.allclose(pixels, clips[0].tracks.points, atol=1e-5)


def test_the_factor_of_oh2018_is_what_its_training_code_multiplies_by(tmp_path):
    """Their manipulator, shape B + (factor - 1) (shape B - shape A), on the exact shape: the object's position."""
    motion = Translation(amplitude_px=0.5, direction_rad=0.0, waveform=Ramp(duration_s=1 / 30))
    layer = Layer(texture=Noise(seed=1, finest_px=8), motions=(motion,))
    spec = ClipSpec(width_px=48, height_px=40, frames=2, layers=(layer,), gains=(Gain(gain_total=3.0),))
    write_oh2018([make_clip(spec, tracks=0)], tmp_path)
    factor = float((tmp_path / "train_mf.txt").read_text())
    at_a, at_b = 0.0, 0.5
    shown_px = at_b + (factor - 1) * (at_b - at_a)
    a, amplified = (
        np.asarray(Image.open(tmp_path / name / "000000.png"), float)[..., 1] for name in ("frameA", "amplified")
    )
    errors = {
        shift: np.abs(scipy.ndimage.shift(a, (0, shift), mode="nearest") - amplified)[:, 8:-8].mean()
        for shift in (0.5, 1.0, 1.5, 2.0)
    }
    assert min(errors, key=errors.get) == shown_px == 1.5


def test_a_clip_without_a_second_frame_or_a_gain_is_no_triplet(tmp_path):
    spec = SPECS[0].model_copy(update={"frames": 1, "gains": ()})
    with pytest.raises(ValueError, match="1 frames and 0 gains; expected at least 2 and 1"):
        write_oh2018([make_clip(spec, tracks=1)], tmp_path)
