"""Best k of a group. Oracles: groups ranked by hand, scipy's rankdata, independence of order."""

import random

import pytest
from pydantic import ValidationError
from scipy.stats import rankdata

from filters.best_of import BestOf, ranks

GROUP = [
    {"id": "p/0", "clip_sim_dir": 0.30, "clip_sim_image": 0.90},
    {"id": "p/1", "clip_sim_dir": 0.40, "clip_sim_image": 0.70},
    {"id": "p/2", "clip_sim_dir": 0.20, "clip_sim_image": 0.95},
    {"id": "p/3", "clip_sim_dir": 0.35, "clip_sim_image": 0.85},
]


def kept(stage, rows):
    return {row["id"] for row, reasons in zip(rows, stage.decide_group(rows), strict=True) if not reasons}


def test_the_greatest_direction_similarity_stays():
    assert kept(BestOf(keep=1), GROUP) == {"p/1"}
    assert kept(BestOf(keep=2), GROUP) == {"p/1", "p/3"}
    assert kept(BestOf(keep=4), GROUP) == {row["id"] for row in GROUP}
    assert set(BestOf(keep=1).decide_group(GROUP)) == {(), ("sibling_better",)}


def test_preservation_outweighs_an_over_edit():
    """Ranks by direction 2 0 3 1, by picture 1 3 0 2; weighted 1 and 2: 4 6 3 5, so p/2; 2 and 1: 5 3 6 4, so p/1."""
    assert kept(BestOf(keep=1, rank={"clip_sim_dir": 1, "clip_sim_image": 2}), GROUP) == {"p/2"}
    assert kept(BestOf(keep=1, rank={"clip_sim_dir": 2, "clip_sim_image": 1}), GROUP) == {"p/1"}
    assert kept(BestOf(keep=1, rank={"clip_sim_image": -1}), GROUP) == {"p/1"}


def test_order_and_ties_change_nothing():
    rows = [{"id": f"p/{i}", "clip_sim_dir": 0.5 if i % 2 else None} for i in range(9)]
    want = kept(BestOf(keep=3), rows)
    assert want == {"p/1", "p/3", "p/5"}
    for seed in range(20):
        random.Random(seed).shuffle(rows)
        assert kept(BestOf(keep=3), rows) == want
    assert len(kept(BestOf(keep=6), rows)) == 6, "rows without a score fill up what is free"


def test_ranks_like_scipy():
    values = [random.Random(7).choice([0.1, 0.2, 0.3, 0.4]) for _ in range(50)]
    assert ranks(values) == [r - 1 for r in rankdata([-v for v in values])]
    assert ranks([float("nan"), 0.1]) == [1, 0]


def test_settings_are_checked():
    for wrong in ({"keep": 0}, {"rank": {}}, {"rank": {"clip_sim_dir": 0}}, {"top": 3}):
        with pytest.raises(ValidationError):
            BestOf(**wrong)
    assert BestOf(rank={"ssim": 1}).decides_on() == ("ssim",)
