"""What a build with pictures leaves behind. Oracle: `datasets`, and the pixels that the stage drew."""

import io

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_recipes import PAINTED, TOYS

from limbeck import seeds
from limbeck.building import build, refilter
from limbeck.publish import split_of
from limbeck.records import is_image

RECIPE = f"""
[dataset]
name = "painted"
seed = 7
splits = {{ train = 0.7, test = 0.3 }}
[source]
captions = "c.txt"
[models]
one = "./tiny"
two = "./other"
{PAINTED}
[run]
part_rows = 8
"""


@pytest.fixture
def recipe(tmp_path):
    for name in ("tiny", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(f'{{"name": "{name}"}}')
        (tmp_path / name / "model.safetensors").touch()  # nobody loads it
    (tmp_path / "c.txt").write_text("".join(f"thing {i}\n" for i in range(40)))
    (tmp_path / "r.toml").write_text(RECIPE)
    return tmp_path / "r.toml"


def test_datasets_reads_it_as_it_stands(recipe, tmp_path):
    import datasets

    built = build(recipe, tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: table.num_rows for split, table in loaded.items()} == built.splits()
    assert list(loaded["train"].features)[:5] == [
        "original_prompt", "original_image", "edit_prompt", "edited_prompt", "edited_image",
    ]  # fmt: skip
    rows = {row["id"]: row for split in loaded.values() for row in split}
    assert len(rows) == built.funnel()[-1].kept > 10
    for row_id, row in rows.items():
        parent, draw = row_id.rsplit("/", 1)
        drawn = seeds.rng(7, "paint", parent, 2 * int(draw)).integers(0, 255, (8, 8, 3))
        assert np.array_equal(np.asarray(row["original_image"]), drawn)
        assert row["seed"] == seeds.seed(7, "paint", parent, int(draw))
        assert row["clip_sim_dir"] >= np.float32(0.4)


def test_a_source_is_in_one_split_alone(recipe, tmp_path):
    built = build(recipe, tmp_path / "out", report=False)
    where = {}
    for split in built.splits():
        for file in (tmp_path / "out" / "data").glob(f"{split}-*.parquet"):
            for source in pq.read_table(file, columns=["source_id"])["source_id"].to_pylist():
                assert where.setdefault(source, split) == split == split_of(source, {"train": 0.7, "test": 0.3}, 7)
    assert set(where.values()) == {"train", "test"}


def test_a_filter_takes_over_scores_of_the_same_model_only(recipe, tmp_path):
    same = build(recipe, tmp_path / "a", report=False)
    assert "computed" not in same.counters()["direction"]
    other = build(recipe, tmp_path / "b", sets=["direction.scorer=two"], report=False)
    assert other.counters()["direction"]["computed"] == 120
    assert {row["clip_sim_dir"] for row in other.rows()} == {0.5}


def test_filters_store_no_pictures(recipe, tmp_path):
    build(recipe, tmp_path / "out", report=False)
    for file in (tmp_path / "out" / "stages").rglob("*.parquet"):
        assert any(is_image(f) for f in pq.read_schema(file)) == ("paint" in str(file.parent))


@pytest.mark.parametrize("keep", ["none", "sample"])
def test_pictures_of_rejects_are_let_go_and_made_again_when_a_threshold_is_laxer(recipe, tmp_path, keep):
    whole = build(recipe, tmp_path / "whole", sets=["direction.min_direction=0.2"], report=False)
    sets = [f"dataset.keep_rejected={keep}"]
    built = build(recipe, tmp_path / "out", sets=sets, report=False)
    kept = {row["id"] for row in built.rows()}
    stored = {row["id"]: row["edited_image"] for row in built.rows("paint", verdict="all")}
    with_pictures = {row_id for row_id, picture in stored.items() if picture}
    assert kept <= with_pictures < set(stored)
    assert (with_pictures == kept) == (keep == "none")

    laxer = refilter(tmp_path / "out", ["direction.min_direction=0.2"], report=False)
    lacking = {row["id"] for row in whole.rows()} - with_pictures
    assert laxer.funnel()[-1].reasons == {"not_made": len(lacking)}
    assert sum(laxer.splits().values()) == whole.funnel()[-1].kept - len(lacking)

    again = build(recipe, tmp_path / "out", sets=[*sets, "direction.min_direction=0.2"], report=False)
    assert again.funnel()[-1].kept == whole.funnel()[-1].kept
    assert list(again.rows()) == list(whole.rows())


def test_rows_of_a_build_are_the_source_of_another(recipe, tmp_path):
    built = build(recipe, tmp_path / "out", report=False)
    (tmp_path / "next.toml").write_text(f"""
        dataset = {{ name = "next" }}
        source = {{ build = "out" }}
        models = {{ one = "./tiny" }}
        stages = [{{ use = "{TOYS}:Direction", scorer = "one", min_direction = 0.7 }}]
    """)
    after = build(tmp_path / "next.toml", tmp_path / "after", report=False)
    assert after.funnel()[0].kept == built.funnel()[-1].kept
    pictures = {row["original_image"] for row in built.rows()}
    rows = list(after.rows())
    assert rows
    assert all(
        row["original_image"] in pictures and Image.open(io.BytesIO(row["edited_image"])).size == (8, 8) for row in rows
    )


def test_an_empty_result_says_why(recipe, tmp_path):
    built = build(recipe, tmp_path / "out", sets=["direction.min_direction=2"])
    assert built.funnel()[-1].reasons == {"direction_low": 120}
    file = pq.ParquetFile(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert (file.metadata.num_rows, file.schema_arrow.names[0]) == (0, "original_prompt")
    assert list(built.rows()) == []
