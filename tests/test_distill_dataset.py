"""Where rows come from and what may not be parted. Oracles: prompts counted by hand; recipes that builds were made with."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import limbeck
from distill import batches, model_card
from distill.dataset import _Built, _of_source, open_dataset
from distill.editing import judging
from distill.evaluate import refuse_dependent_judge
from distill.recipe import load
from distill.work import Work
from limbeck.errors import RequestError
from limbeck.recipe import SourceTable

PROMPTS, SAMPLES = 60, 4


def square(*colour):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "PNG")
    return {"bytes": out.getvalue(), "path": None}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """InstructPix2Pix's layout: some samples of each prompt, every picture another."""
    folder = tmp_path_factory.mktemp("samples")
    rows = [
        {
            "original_prompt": f"a ball {n}", "original_image": square(n, s, 0), "edit_prompt": "make it red",
            "edited_prompt": f"a red ball {n}", "edited_image": square(n, s, 9),
        }
        for n in range(PROMPTS) for s in range(SAMPLES)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    return folder


def recipe(*sets):
    return load("recipes/distill-editor-sd15.toml", sets=[f"source.{setting}" for setting in sets])


@pytest.fixture(scope="module")
def dataset(pairs, tmp_path_factory):
    return open_dataset(recipe(f"pairs={pairs}"), tmp_path_factory.mktemp("out"))


def test_no_prompt_is_learnt_from_and_judged_by(dataset, pairs):
    train, dev, test = batches.held_out(dataset, recipe(f"pairs={pairs}"))
    prompts = [{dataset.row(p)["original_prompt"] for p in positions} for positions in (train, dev, test)]
    assert [len(rows) for rows in (train, dev, test)] == [SAMPLES * len(found) for found in prompts]
    assert sum(map(len, prompts)) == PROMPTS


def test_samples_of_a_prompt_are_resampled_together(dataset):
    """Their figures are alike, so that they say less than as many prompts would."""
    rows = dataset.rows(range(len(dataset)))
    towards = np.array([1.0, 0.0])
    judge = SimpleNamespace(
        embed_images=lambda pictures: np.tile(towards, (len(pictures), 1)),
        embed_texts=lambda texts: np.tile(towards, (len(texts), 1)),
    )
    groups = judging.score({judging.EDITED: judging.pixels_of(rows, "edited_image", 8)}, rows, judge, 8).groups
    by_prompt = {(row["original_prompt"], group) for row, group in zip(rows, groups, strict=True)}
    assert len({*groups}) == len(by_prompt) == PROMPTS


def test_without_development_rows_those_of_a_source_row_are_held_back_together():
    """Of a build that publishes no group; an id begins with that of the source row."""
    ids = [f"{n:04x}/{s}" for n in range(200) for s in range(3)]
    rows = SimpleNamespace(
        splits={"train": np.arange(len(ids)), "test": np.arange(1)},
        walk=lambda positions, columns=None: ({"id": ids[p]} for p in positions),
    )
    train, dev, _ = batches.held_out(rows, recipe("pairs=x"))
    sources = [{ids[p].partition("/")[0] for p in positions} for positions in (train, dev)]
    assert sources[1]
    assert not sources[0] & sources[1]


@pytest.fixture(scope="module")
def filtered(pairs, tmp_path_factory):
    """A build of those pairs, as recipes/existing-pairs.toml makes it."""
    out = tmp_path_factory.mktemp("filtered") / "out"
    return limbeck.build("recipes/existing-pairs.toml", out, sets=[f"source.pairs={pairs}"]).path


CLIP = "openai/clip-vit-large-patch14"


@pytest.mark.parametrize("read", ["as pairs", "as a build", "as a stage"])
def test_who_filtered_published_pairs_does_not_judge_them(pairs, filtered, tmp_path, read):
    """CLIP chose InstructPix2Pix's pairs; a build of them knows it still."""
    if read == "as pairs":
        lineage = open_dataset(recipe(f"pairs={pairs}"), tmp_path).lineage
    elif read == "as a build":
        lineage = _Built(filtered, None).lineage
    else:
        source = SourceTable(build=str(filtered), stage="image_integrity")
        lineage = _of_source(source, tmp_path, ())
        assert lineage.name == "checked-pairs"
    assert lineage.filters == (CLIP,)
    assert lineage.models == {CLIP: ("filter of instructpix2pix",)}
    judged = load("recipes/distill-editor-sd15.toml", sets=["models.judge=mini:clip"])
    with pytest.raises(RequestError, match="which filtered the dataset"):
        refuse_dependent_judge(judged, lineage)


@pytest.mark.parametrize(
    ("table", "columns", "filters"),
    [
        ({"preset": "ultraedit"}, (), (CLIP, "DINOv2")),
        ({}, ("o_score",), ("GPT-4o", "InternVL2")),
        ({}, ("session_id",), ()),
        ({"columns": {"original_image": "before", "edited_image": "after"}}, ("original_image",), ()),
    ],
)
def test_filters_of_other_pairs(tmp_path, table, columns, filters):
    assert _of_source(SourceTable(pairs="owner/name", **table), tmp_path, columns).filters == filters


def test_a_dataset_of_the_hub_is_called_by_its_id(pairs, tmp_path):
    source = SourceTable(pairs="timbrooks/instructpix2pix-clip-filtered", license="mit")
    lineage = _of_source(source, tmp_path, ())
    assert (lineage.name, lineage.license) == ("timbrooks/instructpix2pix-clip-filtered", "mit")
    work = Work(recipe("pairs=x"), SimpleNamespace(lineage=lineage))
    assert "datasets:\n- timbrooks/instructpix2pix-clip-filtered\n" in model_card._front(work)
    here = _of_source(SourceTable(pairs=str(pairs), license="cc-by-4.0"), tmp_path, ())
    assert (here.name, here.license) == ("the pairs source", "cc-by-4.0")
    assert "datasets" not in model_card._front(Work(recipe("pairs=x"), SimpleNamespace(lineage=here)))


# --- who is on the card


def test_a_models_own_folder_states_its_licence(tmp_path):
    """Oracle: the front matter that was written there; a folder without one states nothing."""
    for name, front in (("painter", "---\nlicense: cc-by-nc-4.0\n---\n"), ("plain", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(front + "# A model\n", encoding="utf-8")
    text = model_card.TEMPLATES.joinpath("model_card.md.j2").read_text(encoding="utf-8")
    assert "licenses[part]" in text
    for spec, license in (
        (tmp_path / "painter", "cc-by-nc-4.0"), (tmp_path / "plain", "not stated"),
        ("owner/painter", "see its own card"), ("mini:diffusion", "cc0-1.0"),
    ):  # fmt: skip
        found = load("recipes/distill-editor-sd15.toml", sets=[f"models.painter={spec}"])
        assert model_card._license("painter", Work(found, None)) == license


def test_a_teacher_that_is_no_model_of_the_recipe_is_named_all_the_same(tmp_path):
    def work(teacher, weights):
        sets = [f"student.teacher={teacher}", "arms.arm=both", "arms.names=[]"]
        found = load("recipes/distill-motion.toml", sets=sets)
        return Work(found, None, SimpleNamespace(name="a cache", fingerprint={"weights": weights}))

    (tmp_path / "larger").mkdir()
    (tmp_path / "larger" / "README.md").write_text("---\nlicense: mit\n---\n", encoding="utf-8")
    larger, method = work(tmp_path / "larger", "1f2e"), work("phase-based", "none")
    assert model_card._models(larger) == {"teacher": str(tmp_path / "larger")}
    assert model_card._license("teacher", larger) == "mit"
    assert model_card._models(method) == {"teacher": "phase-based"}
    assert "without weights" in model_card._license("teacher", method)


def test_latents_are_no_teacher():
    """The editor's cache holds what an autoencoder made of the labels."""
    work = Work(recipe("pairs=x"), None, SimpleNamespace(name="latents", fingerprint={"weights": "1f2e"}))
    assert [*model_card._models(work)] == ["painter"]
