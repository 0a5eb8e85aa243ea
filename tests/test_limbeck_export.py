"""Exports, held to the trainers' own reading rules (written down here anew) and to the rows in data/."""

from __future__ import annotations

import json
import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_build import small_build

from limbeck.errors import BuildNotFound, RequestError
from limbeck.exports import export, formats
from limbeck.exports.instructpix2pix import split_shares


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return small_build(tmp_path_factory.mktemp("export"))


def stored(built, split):
    table = pa.concat_tables(pq.read_table(path) for path in sorted((built.path / "data").glob(f"{split}-*.parquet")))
    return table.to_pylist()


def load(*args, **kwargs):
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(*args, **kwargs)


def test_a_build_loads_as_it_stands(built, tmp_path):
    """Oracle: the rows that the runner says were kept; 10 numbers and a hostile one, by the rule in small_build."""
    loaded = load(str(built.path), cache_dir=str(tmp_path))
    assert {name: rows.num_rows for name, rows in loaded.items()} == built.splits() == {"train": 17, "validation": 11}
    row = loaded["train"][0]
    assert row["original_image"].size == (16, 16)
    assert row["edit_prompt"].startswith("make square")
    assert sum(built.splits().values()) == 6 * 3 + 5 * 2


def test_diffusers_parquet_is_what_the_trainer_takes_without_being_told(built, tmp_path):
    """The trainer's rule: columns 0, 1, 2 of the split `train` are picture, instruction, picture."""
    done = export(built, "diffusers", tmp_path / "out")
    loaded = load(str(done.path), cache_dir=str(tmp_path / "cache"))
    first, second, third = loaded["train"].column_names[:3]
    rows = stored(built, "train")
    assert done.rows == sum(built.splits().values())
    for got, own in zip(loaded["train"], rows, strict=True):
        assert got[second] == own["edit_prompt"]
        for name, column in ((first, "original_image"), (third, "edited_image")):
            expected = np.asarray(Image.open(BytesIO(own[column]["bytes"])))
            assert np.array_equal(np.asarray(got[name].convert("RGB")), expected)
    flags = dict(zip(*[iter(done.next.split())] * 2, strict=True))
    assert flags["--dataset_name"] == str(tmp_path / "out")
    for flag in ("--original_image_column", "--edit_prompt_column", "--edited_image_column"):
        assert flags[flag] in loaded["train"].column_names
    assert flags["--resolution"] == "16"


def test_diffusers_imagefolder_loads_by_the_trainers_pattern(built, tmp_path):
    """The trainer's rule: `load_dataset("imagefolder", data_files={"train": DIR/**})`."""
    done = export(built, "diffusers", tmp_path / "out", layout="imagefolder")
    folder = done.next.split("--train_data_dir ")[1].split()[0]
    loaded = load("imagefolder", data_files={"train": f"{folder}/**"}, cache_dir=str(tmp_path / "cache"))["train"]
    assert {"input_image", "edit_prompt", "edited_image"} <= set(loaded.column_names)
    expected = [row["edit_prompt"] for row in stored(built, "train")]
    assert loaded["edit_prompt"][:] == expected
    assert loaded[0]["edited_image"].size == (16, 16)


def read_as_the_reference_does(root: Path, low: float, high: float):
    """edit_dataset.py's rule: seeds.json cut by position; of each entry prompt.json and a seed's two JPEGs."""
    seeds = json.loads((root / "seeds.json").read_text())
    for name, own in seeds[math.floor(low * len(seeds)) : math.floor(high * len(seeds))]:
        prompt = json.loads((root / name / "prompt.json").read_text())
        for seed in own:
            before, after = (np.asarray(Image.open(root / name / f"{seed}_{n}.jpg")) for n in (0, 1))
            yield prompt["edit"], prompt["input"], prompt["output"], seed, before, after


def test_instructpix2pix_is_what_the_reference_reads(built, tmp_path):
    done = export(built, "instructpix2pix", tmp_path / "out")
    shares = json.loads(done.next.split("splits: ")[1])
    assert sum(shares) == 1  # the reference asserts it
    for split, low, high in (("train", 0.0, shares[0]), ("validation", shares[0], shares[0] + shares[1])):
        expected = {(row["edit_prompt"], str(row["seed"])): row for row in stored(built, split)}
        found = list(read_as_the_reference_does(done.path, low, high))
        assert {(edit, seed) for edit, _, _, seed, _, _ in found} == expected.keys()
        assert len(found) == len(expected)
        for edit, caption, output, seed, before, after in found:
            row = expected[edit, seed]
            assert (caption, output) == (row["original_prompt"], row["edited_prompt"])
            for picture, column in ((before, "original_image"), (after, "edited_image")):
                own = np.asarray(Image.open(BytesIO(row[column]["bytes"])))
                assert np.abs(picture.astype(int) - own.astype(int)).max() <= 3
    names = sorted(p.name for p in done.path.iterdir() if p.is_dir())
    assert names[0] == "0000000"
    assert len(names) == 11
    lines = [json.loads(line) for line in (done.path / names[0] / "metadata.jsonl").read_text().splitlines()]
    keys = ["seed", "p2p_threshold", "cfg_scale", "clip_sim_0", "clip_sim_1", "clip_sim_dir", "clip_sim_image"]
    assert all(list(line) == keys for line in lines)
    assert [line["clip_sim_dir"] for line in lines] == sorted((line["clip_sim_dir"] for line in lines), reverse=True)


@pytest.mark.parametrize("counts", [[1], [7, 3], [90, 5, 5], [1, 1, 1], [313, 17, 11], [10007, 3, 1]])
def test_the_splits_setting_cuts_where_ours_end(counts):
    """Oracle: the reference's two asserts of its own, floor(n * running sum) and an exact sum of 1."""
    shares = split_shares(counts)
    assert sum(shares) == 1
    total = sum(counts)
    ends = [math.floor(shares[0] * total), math.floor((shares[0] + shares[1]) * total)]
    assert ends == [counts[0], sum(counts[:2])]


def test_rows_whose_pictures_cannot_be_read_are_counted(built, tmp_path):
    folder = tmp_path / "damaged"
    (folder / "data").mkdir(parents=True)
    for path in (built.path / "data").iterdir():
        table = pq.read_table(path)
        pictures = table["edited_image"].to_pylist()
        pictures[0] = {"bytes": b"not a picture", "path": None}
        place = table.schema.get_field_index("edited_image")
        field = table.schema.field(place)
        pq.write_table(table.set_column(place, field, pa.array(pictures, field.type)), folder / "data" / path.name)
    done = export(folder, "instructpix2pix", tmp_path / "out")
    assert (done.unusable, done.rows) == (2, 26)


def test_bad_requests_say_what_to_do_and_leave_nothing(built, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep me")
    with pytest.raises(RequestError, match="not empty"):
        export(built, "diffusers", tmp_path / "full")
    with pytest.raises(RequestError, match=r"(?i)did you mean 'diffusers'"):
        export(built, "difusers", tmp_path / "out")
    with pytest.raises(RequestError, match=r"(?i)did you mean 'layout'"):
        export(built, "diffusers", tmp_path / "out", layot="x")
    with pytest.raises(RequestError, match="expected parquet or imagefolder"):
        export(built, "diffusers", tmp_path / "out", layout="zip")
    with pytest.raises(BuildNotFound):
        export(tmp_path / "nothing", "diffusers", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    assert {"diffusers", "instructpix2pix"} <= formats().keys()
