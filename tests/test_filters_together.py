"""The four filters on existing pairs, through the real runner. Oracle: rows of which the test knows what is wrong."""

from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from skimage import data
from tiny_scorers import tiny_clip

import limbeck
from filters.best_of import BestOf
from filters.clip_pair import ClipPair
from filters.image_integrity import ImageIntegrity
from filters.near_duplicates import NearDuplicates
from limbeck.models.score_transformers import TransformersScore
from limbeck.testing import check_stage

RECIPE = """
[dataset]
name = "checked"
license = "cc0-1.0"

[source]
pairs = "pairs.parquet"
id_column = "name"

[models]
matcher = "./clip"

[[stages]]
use = "image_integrity"

[[stages]]
use = "clip_pair"
min_source = -1
min_target = -1
min_direction = -1
min_image = -1
max_image = 1

[[stages]]
use = "near_duplicates"

[[stages]]
use = "best_of"
group_by = "edit_type"
keep = 2

[run]
part_rows = 3
"""


def stored(picture, form="PNG", **options):
    buffer = BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checked")
    tiny_clip(folder / "clip")
    photos = (data.chelsea(), data.coffee(), data.rocket(), data.astronaut())
    cat, cup, rocket, girl = (Image.fromarray(photo).resize((48, 48)) for photo in photos)
    rows = [
        ("first", "a cat on a sofa", "make it a cup", "a cup", cat, cup, "replace"),
        ("again", "A cat on a sofa!", "Make it a cup.", "a mug", girl, rocket, "replace"),
        ("other", "a woman in orange", "turn her into a rocket", "a rocket", girl, rocket, "replace"),
        ("third", "a full cup of coffee", "show a cat in its place", "a cat", cup, cat, "replace"),
        ("fourth", "a rocket at noon", "put a woman there", "a woman", rocket, girl, "replace"),
        ("alone", "a rocket by day", "replace it by coffee", "coffee", rocket, cup, "style"),
        ("same", "nothing happens here", "do nothing at all", "nothing happens", cup, cup, "style"),
        ("wide", "some other picture", "make it wider now", "a wider picture", cat, cup.resize((64, 48)), "style"),
        ("blank", "the blue sea", "remove all there is", "nothing", cat, Image.new("RGB", (48, 48), "navy"), "style"),
        ("silent", None, "a caption is missing", None, girl, cat, "style"),
    ]
    table = [
        {"name": n, "original_prompt": a, "edit_prompt": e, "edited_prompt": b, "original_image": stored(x),
         "edited_image": stored(y), "edit_type": t} for n, a, e, b, x, y, t in rows
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(table), folder / "pairs.parquet")
    (folder / "recipe.toml").write_text(RECIPE)
    return limbeck.build(folder / "recipe.toml", folder / "out")


def test_every_row_ends_kept_or_dropped_for_what_is_wrong_with_it(build):
    ended = {row["id"]: (row["stage"], row["reason"]) for row in build.verdicts().to_pylist()}
    group = {"again", "third", "fourth"}  # what is left of `replace`; the least direction similarity goes
    scores = {row["id"]: row["clip_sim_dir"] for row in build.rows(verdict="all", columns=["clip_sim_dir"])}
    worst = min(group, key=scores.__getitem__)
    assert ended == {
        "first": ("near_duplicates", "duplicate_text"),
        "other": ("near_duplicates", "duplicate_picture"),
        "alone": (None, None),
        "same": ("image_integrity", "identical"),
        "wide": ("image_integrity", "sizes_differ"),
        "blank": ("image_integrity", "blank"),
        "silent": ("clip_pair", "score_missing"),
        worst: ("best_of", "sibling_better"),
        **dict.fromkeys(group - {worst}, (None, None)),
    }
    assert [(c.stage, c.rows, c.kept, c.dropped, c.failed) for c in build.funnel()[1:]] == [
        ("image_integrity", 10, 7, 3, 0),
        ("clip_pair", 7, 6, 1, 0),
        ("near_duplicates", 6, 4, 2, 0),
        ("best_of", 4, 3, 1, 0),
    ]


def test_new_thresholds_need_no_model(build, monkeypatch):
    """A bound a hair below the most alike pair that reached the filter: such pairs go, and nothing is loaded."""
    monkeypatch.setattr("limbeck.models.score_transformers.TransformersScore.__init__", None)
    rows = build.rows("clip_pair", verdict="all", columns=["clip_sim_image"])
    scores = {r["id"]: r["clip_sim_image"] for r in rows if r["verdict"] == "kept"}
    bound = max(scores.values()) - 1e-4
    limbeck.refilter(build.path, [f"clip_pair.max_image={bound}"])
    verdicts = limbeck.open_build(build.path).verdicts().to_pylist()
    copies = {row["id"] for row in verdicts if row["reason"] == "copy"}
    assert copies == {name for name, score in scores.items() if score > bound} < set(scores)
    assert copies


@pytest.mark.parametrize(
    "stage", [ClipPair(), BestOf(keep=2), NearDuplicates(), ImageIntegrity()], ids=lambda s: s.name
)
def test_contract(stage, build):
    """The suite that every stage has to pass: schema, batches, order, reasons, settings."""
    columns = ["id", "parent_id", "original_prompt", "edit_prompt", "edited_prompt", "original_image", "edited_image"]
    scored = ["clip_sim_dir"] if stage.name == "best_of" else []
    rows = list(build.rows(verdict="all", columns=[*columns, *scored]))
    rows = [{name: row[name] for name in [*columns, *scored]} | {"parent_id": str(i % 3)} for i, row in enumerate(rows)]
    models = (
        {"matcher": TransformersScore(build.path.parent / "clip", device="cpu")} if stage.name == "clip_pair" else {}
    )
    check_stage(stage, rows, models=models)


def test_a_preset_fills_the_thresholds_of_a_build_that_has_every_default_written_out(build):
    """Oracle: the thresholds of paper and script; what is set beside a preset goes first."""
    for preset, least in (("paper", 0.75), ("script", 0.7)):
        again = limbeck.refilter(build.path, [f"clip_pair.preset={preset}", "clip_pair.min_source=-1"], report=False)
        stage = again.recipe.stage("clip_pair").stage
        assert (stage.preset, stage.min_image, stage.max_image, stage.min_source) == (preset, least, 1.0, -1)
