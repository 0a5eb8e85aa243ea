"""The pair generator on tiny random-weight models.

Oracles: the image and score models called directly on the stored files; the seeds' own hash; counts worked out by
hand.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
import tiny_pipelines
import tiny_scorers
from PIL import Image
from pydantic import ValidationError

from generators.edit_pairs import EditPairs
from limbeck import seeds
from limbeck.models.image_diffusers import DiffusersImageModel
from limbeck.models.roles import PairRequest
from limbeck.models.score_transformers import TransformersScore
from limbeck.scores import SIMILARITIES, pair_similarities
from limbeck.stage import Drop, settings_of
from limbeck.stopping import StopRule

ROWS = [
    {"id": "a/0", "original_prompt": "a red ball", "edited_prompt": "a blue ball"},
    {"id": "b/0", "original_prompt": "a cat", "edited_prompt": "a cat at night"},
    {"id": "c/1", "original_prompt": "snow", "edited_prompt": "sand"},
]
FEW = {"image": "painter", "samples": 3, "steps": 2, "guidance_scale": (1.5, 4.0), "batch_size": 4}


class Run:
    """The runner's handle, without a runner."""

    stage_id = "pairs"
    log = logging.getLogger("test")

    def __init__(self, models: dict) -> None:
        self.models, self.counts = models, Counter()

    def model(self, name):
        return self.models[name]

    def fingerprint(self, name):
        return self.models[name].fingerprint

    def seed(self, row_id, draw=0):
        return seeds.seed(7, self.stage_id, row_id, draw)

    def rng(self, row_id, draw=0):
        return seeds.rng(7, self.stage_id, row_id, draw)

    def count(self, name, amount=1):
        self.counts[name] += amount


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {
        "painter": DiffusersImageModel.load(str(tiny_pipelines.save_sd15(folder / "sd15"))),
        "matcher": TransformersScore(tiny_scorers.tiny_clip(folder / "clip", max_tokens=77)),
    }


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(data))).astype(int)


def test_children_carry_pictures_settings_and_scores_of_the_stored_files(models):
    run = Run(models)
    stage = EditPairs(**FEW, score="matcher")
    children = list(stage.generate(ROWS, run))
    assert [c["id"] for c in children] == [f"{row['id']}/{draw}" for row in ROWS for draw in range(3)]
    assert run.counts["pairs_rendered"] == 9
    assert {field.name for field in stage.writes} | {"id"} == set(children[0])
    matcher, row = models["matcher"], {r["id"]: r for r in ROWS}
    for child in children:
        parent = row[child["id"].rsplit("/", 1)[0]]
        before, after = (Image.open(BytesIO(child[k])) for k in ("original_image", "edited_image"))
        assert before.format == after.format == "PNG"
        assert before.size == after.size == (16, 16)
        images, texts = (
            matcher.embed_images([before, after]),
            matcher.embed_texts([parent["original_prompt"], parent["edited_prompt"]]),
        )
        direct = pair_similarities(images[:1], images[1:], texts[:1], texts[1:])
        assert all(abs(child[name] - direct[name][0]) < 1e-4 for name in SIMILARITIES)
        assert 0.1 <= child["shared_fraction"] <= 0.9
        assert 1.5 <= child["guidance_scale"] <= 4.0
        assert child["steps"] == 2
        assert child["image_model"] == models["painter"].fingerprint
        assert child["score_model"] == matcher.fingerprint


def test_a_pair_can_be_rendered_again_from_its_row(models):
    (child, *_) = EditPairs(**FEW).generate(ROWS[:1], Run(models))
    assert np.float32(child["shared_fraction"]) == child["shared_fraction"]
    request = PairRequest("a red ball", "a blue ball", child["seed"], child["shared_fraction"], child["guidance_scale"])
    ((before, after),) = models["painter"].render_pairs([request], steps=child["steps"])
    assert np.abs(pixels(child["original_image"]) - np.asarray(before)).max() <= 1
    assert np.abs(pixels(child["edited_image"]) - np.asarray(after)).max() <= 1


def test_rows_do_not_depend_on_their_company_order_or_batch_size(models):
    together = {c["id"]: c for c in EditPairs(**FEW).generate(ROWS, Run(models))}
    apart = {
        c["id"]: c for row in ROWS[::-1] for c in EditPairs(**FEW | {"batch_size": 1}).generate([row], Run(models))
    }
    more = {c["id"]: c for c in EditPairs(**FEW | {"samples": 4}).generate(ROWS, Run(models))}
    assert together.keys() == apart.keys()
    assert together.keys() < more.keys()
    for other in (apart, more):
        for name, child in together.items():
            assert child["seed"] == other[name]["seed"]
            assert child["shared_fraction"] == other[name]["shared_fraction"]
            for picture in ("original_image", "edited_image"):
                assert np.abs(pixels(child[picture]) - pixels(other[name][picture])).max() <= 1


def test_no_two_samples_of_many_prompts_repeat_seed_fraction_or_guidance(models):
    """The reference's seed chain repeats itself after 260 to 720 prompts of 100 samples; 800 are drawn here."""
    stage, run = EditPairs(image="painter"), Run(models)
    requests = [stage._request(ROWS[0] | {"id": f"p{p}"}, draw, run) for p in range(800) for draw in range(100)]
    assert len({r.seed for r in requests}) == len(requests)
    assert len({(r.shared_fraction, r.guidance_scale) for r in requests}) == len(requests)
    fractions = np.array([r.shared_fraction for r in requests])
    guidance = np.array([r.guidance_scale for r in requests])
    assert abs(fractions.mean() - 0.5) < 0.005
    assert 0.1 <= fractions.min() < 0.101
    assert abs(guidance.mean() - 11.25) < 0.05
    assert abs(np.corrcoef(fractions, guidance)[0, 1]) < 0.02


def test_captions_that_the_model_cannot_render_are_dropped_and_nothing_is_lost(models, tmp_path):
    folder = tiny_pipelines.save_sd15(tmp_path / "mini")
    (folder / "world.json").write_text(json.dumps({"words": ["a", "red", "blue", "ball", "cat", "at", "night"]}))
    run = Run(models | {"painter": DiffusersImageModel.load(str(folder))})
    rows = [*ROWS, {"id": "d", "original_prompt": "a ball", "edited_prompt": "ball " * 2000},
            {"id": "e", "original_prompt": "a ball", "edited_prompt": None}]  # fmt: skip
    results = list(EditPairs(**FEW).generate(rows, run))
    drops = {r.id: r for r in results if isinstance(r, Drop)}
    assert set(drops) == {"c/1", "d", "e"}
    assert drops["e"].detail == "the prompt is empty"
    assert all(drop.reason in EditPairs.reasons for drop in drops.values())
    assert drops["c/1"].detail == "words outside this model's world: snow"
    assert "the model reads 77" in drops["d"].detail
    assert len(results) == 3 + 2 * 3


def test_sampling_stops_at_enough_survivors_and_at_hopeless_prompts(models):
    run = Run(models)
    anything = dict.fromkeys(("min_source", "min_target", "min_direction", "min_image"), -1) | {"max_image": 1}
    easy = StopRule(survivors=2, look_every=2, **anything)
    stage = EditPairs(**FEW | {"samples": 12}, score="matcher", adaptive=easy)
    assert [c["id"] for c in stage.generate(ROWS[:1], run)] == ["a/0/0", "a/0/1"]
    assert run.counts == {"pairs_rendered": 2, "edits_enough": 1}

    run = Run(models)
    hard = StopRule(survivors=2, look_every=4, min_image=1.0, min_direction=1.0, prior=(1.0, 1.0), give_up_below=0.4)
    stage = replace(stage, adaptive=hard)
    # by hand: after n failures the chance in 12 - n more is (12 - n) / 13; 8/13 = 0.62 goes on, 4/13 = 0.31 stops
    assert len(list(stage.generate(ROWS[:2], run))) == 16
    assert run.counts == {"pairs_rendered": 16, "edits_hopeless": 2}


def test_stopping_early_renders_the_same_samples(models):
    full = {c["id"]: c for c in EditPairs(**FEW | {"samples": 6}, score="matcher").generate(ROWS, Run(models))}
    rule = StopRule(look_every=2, prior=(0.1, 5.0), give_up_below=0.9)
    stage = EditPairs(**FEW | {"samples": 6}, score="matcher", adaptive=rule)
    early = {c["id"]: c for c in stage.generate(ROWS, Run(models))}
    assert early.keys() < full.keys()
    assert all(child["seed"] == full[name]["seed"] for name, child in early.items())


def test_presets_fill_what_the_recipe_leaves_out():
    paper = EditPairs(image="painter", preset="paper", steps=25)
    assert (paper.samples, paper.steps) == (100, 25)
    assert (paper.shared_fraction, paper.guidance_scale) == ((0.1, 0.9), (7.5, 15.0))
    assert EditPairs(**settings_of(paper)) == paper
    assert EditPairs(image="painter").samples == 16


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"shared_fraction": (0.9, 0.1)}, "low not above high"), ({"shared_fraction": (0.1, 1.2)}, "within"),
     ({"guidance_scale": (-1, 3)}, "within"), ({"adaptive": {}}, "adaptive without score"),
     ({"samples": 0}, "samples"), ({"batch_size": 0}, "batch_size"), ({"sample": 4}, "sample"),
     ({"preset": "book"}, "preset"), ({"score": "matcher", "adaptive": {"min_dir": 0.1}}, "min_dir")],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        EditPairs(image="painter", **wrong)


def test_a_recipe_can_nest_the_stop_rule():
    stage = EditPairs(image="painter", score="matcher", adaptive={"survivors": 3})
    assert stage.adaptive == StopRule(survivors=3)
    assert EditPairs(**settings_of(stage)) == stage
