"""Where rows come from and what may not be parted. Oracles: prompts counted by hand; recipes that builds were made with."""

from __future__ import annotations

import io
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import limbeck
from distill import batches, model_card
from distill.dataset import group_of, open_dataset
from distill.editing import judging
from distill.evaluate import refuse_dependent_judge
from distill.lineage import of_source
from distill.recipe import load
from distill.row_readers import Built, Several
from distill.trainings import _beginnings
from distill.work import Work
from distill.zero_shot import class_names
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
        splits={"train": np.arange(len(ids)), "test": np.arange(0)}, groups=[group_of({"id": i}) for i in ids]
    )
    train, dev, _ = batches.held_out(rows, recipe("pairs=x"))
    sources = [{ids[p].partition("/")[0] for p in positions} for positions in (train, dev)]
    assert sources[1]
    assert not sources[0] & sources[1]


def test_rows_whose_group_is_judged_by_are_not_trained_on():
    """As of two builds of the same captions under other seeds. Oracle: groups by hand."""
    groups = ["a", "a", "b", "b", "c", "c", "d"]
    splits = {"train": np.array([0, 2, 4, 6]), "validation": np.array([1, 5]), "test": np.array([3])}
    rows = SimpleNamespace(splits=splits, groups=groups, lineage=SimpleNamespace(name="x"))
    train, dev, test, left_out = batches.parted(rows, recipe("pairs=x"))
    assert [found.tolist() for found in (train, dev, test)] == [[6], [1, 5], [3]]
    assert left_out == 3


def test_rows_to_be_judged_by_are_drawn_from_all_classes():
    """Of a folder of pictures sorted by class. Oracle: with 100 of 4 x 300, 15 or more of each class, of 25 expected."""
    ids = [f"{name}-{n}" for name in ("cat", "dog", "fox", "owl") for n in range(300)]
    rows = SimpleNamespace(
        splits={"train": np.arange(0), "validation": np.arange(0), "test": np.arange(1200)}, ids=ids, columns=()
    )
    drawn = batches.drawn(rows, rows.splits["test"], 100)
    assert min(Counter(ids[p].partition("-")[0] for p in drawn).values()) >= 15
    assert drawn.tolist() == sorted(drawn)
    fewer = batches.drawn(rows, rows.splits["test"], 50)
    assert {*fewer} < {*drawn}


def test_pairs_are_drawn_whole():
    """Of minimal pairs both are judged by, or none. Oracle: counts by hand."""
    pairs = [f"pair {n // 2}" for n in range(200)]
    rows = SimpleNamespace(ids=[str(n) for n in range(200)], columns=("pair_id",), values=lambda column: iter(pairs))
    drawn = batches.drawn(rows, np.arange(200), 60)
    assert {*Counter(pairs[p] for p in drawn).values()} == {2}


def several(limit=None):
    """Two builds of one name that made rows of the same scenes."""
    found = object.__new__(Several)
    sizes = {"train": 8, "test": 2}
    found.parts = [
        SimpleNamespace(
            lineage=SimpleNamespace(name="pairs"),
            sizes=sizes,
            of_split=lambda split, names: ({"id": f"{split}{n}/0"} for n in range(sizes[split])),
        )
        for _ in range(2)
    ]
    found._limit = limit
    return [(row["id"], row["split"]) for row in found.rows(())]


def test_builds_of_one_name_keep_their_rows_apart_and_their_scenes_together():
    """Oracle: ids by hand."""
    rows = several()
    assert rows[:3] == [("pairs@train0/0", "train"), ("pairs-2@train0/0", "train"), ("pairs@train1/0", "train")]
    assert len({row_id for row_id, _ in rows}) == 20
    assert len({group_of({"id": row_id}) for row_id, _ in rows}) == 10


def test_a_limit_leaves_rows_of_every_split():
    """Oracle: shares by hand; the limit used to be spent on the first split."""
    assert Counter(split for _, split in several(10)) == {"train": 8, "test": 2}
    assert Counter(split for _, split in several(2)) == {"train": 2, "test": 1}


class _Rows(list):
    """Three rows, two of them without a class."""

    def __init__(self):
        super().__init__(["owl", None, ""])

    def values(self, column):
        return iter(self)


def test_a_row_without_a_class_is_told():
    """Oracle: counts by hand."""
    named = SimpleNamespace(values=lambda column: iter(["owl", "cat", "owl"]))
    assert class_names(named, "label") == ["cat", "owl"]
    with pytest.raises(RequestError, match="2 of 3 rows have no class in the column 'label'"):
        class_names(_Rows(), "label")


def test_other_weights_to_begin_with_are_another_training(tmp_path):
    """Oracle: the same folder with other contents; what the Hub or nobody holds isn't looked at."""
    from safetensors.numpy import save_file

    found = []
    for value in (1.0, 2.0):
        save_file({"w": np.full(3, value, np.float32)}, tmp_path / "model.safetensors")
        work = Work(load("recipes/distill-vlm.toml", sets=[f"models.language={tmp_path}"]), None)
        found.append(_beginnings(work))
    assert found[0].keys() == {"vision", "language"}
    assert [name for name in found[0] if found[0][name] != found[1][name]] == ["language"]
    assert _beginnings(Work(load("recipes/distill-vlm-smollm2.toml"), None)) == {}


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
        lineage = Built(filtered, None).lineage
    else:
        source = SourceTable(build=str(filtered), stage="image_integrity")
        lineage = of_source(source, tmp_path, ())
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
    assert of_source(SourceTable(pairs="owner/name", **table), tmp_path, columns).filters == filters


def test_a_dataset_of_the_hub_is_called_by_its_id(pairs, tmp_path):
    source = SourceTable(pairs="timbrooks/instructpix2pix-clip-filtered", license="mit")
    lineage = of_source(source, tmp_path, ())
    assert (lineage.name, lineage.license) == ("timbrooks/instructpix2pix-clip-filtered", "mit")
    work = Work(recipe("pairs=x"), SimpleNamespace(lineage=lineage))
    assert "datasets:\n- timbrooks/instructpix2pix-clip-filtered\n" in model_card._front(work)
    here = of_source(SourceTable(pairs=str(pairs), license="cc-by-4.0"), tmp_path, ())
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
