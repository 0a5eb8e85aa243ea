"""A build made of another one. Oracle: what the first one held out."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.dataset import group_of
from limbeck.building import build
from limbeck.errors import RecipeError

ROWS = 48


def pictures(n, seed):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).save(out, "PNG")
        yield out.getvalue()


def pairs(folder, stated=False):
    table = {
        "original_image": list(pictures(ROWS, 0)),
        "edited_image": list(pictures(ROWS, 1)),
        "edit_prompt": [f"edit {i}" for i in range(ROWS)],
        "original_prompt": [f"caption {i // 4}" for i in range(ROWS)],
        "edited_prompt": [f"new {i}" for i in range(ROWS)],
    }
    if stated:
        table["split"] = ["test" if i // 4 % 3 == 0 else "train" for i in range(ROWS)]
    pq.write_table(pa.table(table), folder / "pairs.parquet")


def built(folder, name, source, splits="{ train = 0.7, test = 0.3 }"):
    (folder / f"{name}.toml").write_text(
        f'[dataset]\nname = "{name}"\nlicense = "cc0-1.0"\nsplits = {splits}\n'
        f'[source]\n{source}\n[[stages]]\nuse = "image_integrity"\n'
    )
    return build(folder / f"{name}.toml", folder / name, report=False)


def split_of_each(out):
    """Edit to its split and its group, read from `data/`."""
    return {
        row["edit_prompt"]: (file.name.partition("-")[0], row["group"])
        for file in (out / "data").glob("*.parquet")
        for row in pq.read_table(file, columns=["edit_prompt", "group"]).to_pylist()
    }


@pytest.mark.parametrize("stated", [True, False])
def test_what_a_build_held_out_stays_held_out_in_builds_made_of_it(tmp_path, stated):
    """Four samples a prompt are one group; splits are stated by the source, or drawn by the first build."""
    pairs(tmp_path, stated)
    built(tmp_path, "a", 'pairs = "pairs.parquet"')
    second = built(tmp_path, "b", 'build = "a"')
    third = built(tmp_path, "c", 'build = "b"\nstage = "image_integrity"')
    first = split_of_each(tmp_path / "a")
    assert len(first) == ROWS
    if stated:
        assert {edit for edit, (split, _) in first.items() if split == "test"} == {
            f"edit {i}" for i in range(ROWS) if i // 4 % 3 == 0
        }
    assert split_of_each(tmp_path / "b") == split_of_each(tmp_path / "c") == first
    assert len({group_of(row) for row in second.rows()}) == len({group_of(row) for row in third.rows()}) == ROWS // 4


def test_a_build_of_one_split_leaves_the_next_to_draw_its_own(tmp_path):
    """Oracle: the second build's own shares, by group."""
    pairs(tmp_path)
    assert set(built(tmp_path, "a", 'pairs = "pairs.parquet"', "{ train = 1.0 }").splits()) == {"train"}
    assert set(built(tmp_path, "b", 'build = "a"', "{ train = 0.5, test = 0.5 }").splits()) == {"train", "test"}
    by_group: dict[str, set[str]] = {}
    for split, group in split_of_each(tmp_path / "b").values():
        by_group.setdefault(group, set()).add(split)
    assert len(by_group) == ROWS // 4
    assert all(len(splits) == 1 for splits in by_group.values())


def test_a_build_that_is_not_finished_is_no_source(tmp_path):
    """Oracle: what a shard leaves to the others."""
    pairs(tmp_path)
    recipe = tmp_path / "a.toml"
    built(tmp_path, "a", 'pairs = "pairs.parquet"')
    recipe.write_text(recipe.read_text() + "[run]\npart_rows = 12\n")
    assert build(recipe, tmp_path / "part", shard=(0, 2), report=False).partial
    with pytest.raises(RecipeError, match="isn't finished"):
        built(tmp_path, "b", 'build = "part"')
