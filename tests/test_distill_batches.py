"""Which rows a step sees. Oracles: sets and counts of ids; the views that were stored; pixels moved by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from toy_student import toy_student_recipe

from distill import batches, opening
from distill.arm_names import ARMS
from distill.processes import preparing
from distill.progress import Watcher
from distill.recipe import load
from distill.student import terms_for
from distill.views import View, ViewsTable
from limbeck.errors import RequestError


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    recipe = load(toy_student_recipe(folder, views="count = 2"))
    found = opening.taught(opening.work_of(recipe, folder / "out", "cpu", Watcher()), range(1), Watcher())
    return found.with_(terms=terms_for(recipe.student, ARMS["both"].signals, {}))


def of(work, arm, seed=0, size=16, micro=None):
    found = batches.pools(work.dataset, work.recipe, seed)
    return batches.Batches(work.with_(seed=seed), ARMS[arm], found, "train", size, micro)


def test_no_row_is_in_two_pools_and_every_training_row_is_in_one(work):
    found = batches.pools(work.dataset, work.recipe, 0)
    pools = [set(pool.tolist()) for pool in (found.labelled, found.unlabelled, found.dev, found.test)]
    assert [len(p) for p in pools] == [24, 72, 12, 12]  # 8, 1 and 1 of each ten rows, 24 labels
    assert len(set.union(*pools)) == sum(map(len, pools))


def test_labels_are_dealt_anew_by_each_seed(work):
    a, b = (set(batches.pools(work.dataset, work.recipe, n).labelled.tolist()) for n in (0, 1))
    assert a != b
    assert set(batches.pools(work.dataset, work.recipe, 0).labelled.tolist()) == a


def test_a_budget_that_is_not_there_is_an_error(work):
    recipe = load(work.recipe, sets=["budget.labelled=90", "budget.unlabelled=90"])
    with pytest.raises(RequestError, match="90 labelled and 90 unlabelled rows are asked for, and 96 are there"):
        batches.pools(work.dataset, recipe, 0)


def test_labels_that_are_not_there_are_an_error_without_a_word_on_the_others(work):
    recipe = load(work.recipe, sets=["budget.labelled=5000"])
    recipe = replace(recipe, budget=recipe.budget.model_copy(update={"unlabelled": None}))
    with pytest.raises(RequestError, match="5,000 labelled and 0 unlabelled rows are asked for, and 96 are there"):
        batches.pools(work.dataset, recipe, 0)


def test_a_small_share_of_labels_is_one_row_at_least(work):
    """Oracle: by hand; a tenth of four rows was none, and the arm `both` saw no label."""
    few = work.with_(recipe=load(work.recipe, sets=["budget.labelled_share=0.1"]))
    assert [known for _, known in of(few, "both", size=4).positions(0)].count(True) == 1


def test_each_row_comes_once_in_each_round(work):
    drawn = of(work, "both")  # 8 labelled and 8 unlabelled rows a step
    unlabelled = [p for step in range(9) for p, known in drawn.positions(step) if not known]
    assert len(unlabelled) == len(set(unlabelled)) == 72
    labelled = [p for step in range(3) for p, known in drawn.positions(step) if known]
    assert len(labelled) == len(set(labelled)) == 24


def test_rows_of_a_key_come_so_many_at_a_time_and_each_once():
    """Oracle: sizes worked by hand: 7 of a key by 3 are 3, 3 and 1, wherever those parts come to lie."""
    keys = ["a"] * 7 + ["b"] * 2 + [None] * 4
    walk = batches.Stream(np.arange(100, 113), 0, "tune", keys, 3)
    lap = [walk[n] - 100 for n in range(13)]
    assert sorted(lap) == list(range(13))
    assert lap != [walk[n] - 100 for n in range(13, 26)]
    runs = [(key, len(list(same))) for key, same in groupby(lap, lambda n: keys[n] or n)]
    assert ("b", 2) in runs
    assert all(n in (1, 3, 4, 6, 7) for key, n in runs if key == "a")
    together = batches.Stream(np.arange(13), 0, "tune", keys, 64)
    assert ("a", 7) in [
        (k, len(list(same))) for k, same in groupby((together[n] for n in range(13)), lambda n: keys[n])
    ]


def test_arms_of_one_seed_see_the_same_labelled_rows_in_the_same_order(work):
    both = [p for step in range(8) for p, known in of(work, "both").positions(step) if known]
    sham = [p for step in range(8) for p, known in of(work, "sham").positions(step) if known]
    alone = [p for step in range(4) for p, _ in of(work, "labels").positions(step)]
    assert both == sham == alone


def test_labels_alone_see_no_other_rows_and_no_target(work):
    drawn = of(work, "labels")
    assert all(known for step in range(5) for _, known in drawn.positions(step))
    assert all((batch["teacher"] == 0).all() for batch in drawn.micro_batches(0))


def test_processes_share_a_step(work):
    """Of two processes each has half of the rows; together, all of them."""
    drawn = of(work, "both")
    whole = torch.cat([b["x"] for b in drawn.micro_batches(5)])
    halves = [torch.cat([b["x"] for b in drawn.micro_batches(5, rank, 2)]) for rank in (0, 1)]
    assert [len(h) for h in halves] == [8, 8]
    assert torch.equal(torch.cat(halves), whole)
    labelled = [int(b["labelled"].sum()) for rank in (0, 1) for b in drawn.micro_batches(5, rank, 2)]
    assert labelled == [4, 4]  # neither has all the labels


def test_a_micro_batch_changes_neither_rows_nor_their_random_numbers(work):
    whole = torch.cat([b["x"] for b in of(work, "both").micro_batches(3)])
    cut = of(work, "both", micro=3).micro_batches(3)
    assert [len(b["x"]) for b in cut] == [3, 3, 3, 3, 3, 1]
    assert torch.equal(torch.cat([b["x"] for b in cut]), whole)


def test_the_sham_teacher_answers_other_rows(work):
    """Every target is some row's, and nobody has their own."""
    real, sham = of(work, "both"), of(work, "sham")
    for step in range(3):
        a, b = (torch.cat([batch["teacher"] for batch in drawn.micro_batches(step)]) for drawn in (real, sham))
        assert (a != b).all()
    found = batches.pools(work.dataset, work.recipe, 0).train
    swapped = batches.sham(found, 0)
    assert sorted(swapped.values()) == sorted(swapped) == sorted(found.tolist())


def test_a_lone_row_has_no_sham_target(work, monkeypatch):
    """Oracle: one row is made the only one of its kind; all others still have another row's."""
    found = batches.pools(work.dataset, work.recipe, 0)
    lone = work.dataset.ids[found.labelled[0]]
    monkeypatch.setattr(type(work.student), "exchangeable", lambda self, row: row["id"] == lone)
    drawn = of(work, "sham")
    items = [drawn._item(s, n, p, known) for s in range(3) for n, (p, known) in enumerate(drawn.positions(s))]
    assert {item.row["id"] for item in items if item.target is None} == {lone}
    for item in (each for each in items if each.target is not None):
        own = work.cache.target(item.row["id"], item.view.index)["answer"]
        assert abs(item.target["answer"] - own).max() > 1e-6


def test_rows_that_are_all_of_their_own_kind_make_no_sham_arm(work, monkeypatch):
    monkeypatch.setattr(type(work.student), "exchangeable", lambda self, row: row["id"])
    with pytest.raises(RequestError, match="none of 96 training rows can have another's target"):
        of(work, "sham")
    of(work, "both")


def test_a_target_belongs_to_the_view_that_the_student_gets(work):
    """The toy teacher adds the number of the view to its answer."""
    cache, ids = work.cache, work.dataset.ids
    drawn = of(work, "both")
    for step in range(6):
        for place, (p, known) in enumerate(drawn.positions(step)):
            item = drawn._item(step, place, p, known)
            assert item.view == cache.view(ids[p], item.view.index)
            assert item.target["answer"][0] == pytest.approx(
                cache.target(ids[p])["answer"][0] + item.view.index, abs=1e-4
            )
    views = {drawn._item(s, n, p, k).view.index for s in range(6) for n, (p, k) in enumerate(drawn.positions(s))}
    assert views == {0, 1}


def test_prepared_batches_of_worker_processes_are_the_same(work):
    drawn = of(work, "both")
    here, there = (list(batches.Prepared(drawn, 2, 5, 0, 1, workers)) for workers in (0, 1))
    assert len(here) == len(there) == 3
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a[0]["x"], b[0]["x"])


def test_cores_that_a_gpu_leaves_prepare_its_batches(monkeypatch):
    """Oracle: counts by hand. A CPU's own cores train."""
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert [preparing(device) for device in ("cpu", "cuda:1", "mps")] == [0, 4, 0]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert preparing("cuda") == 1
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert preparing("cuda") == 0


def test_a_view_is_the_crop_and_then_the_flip():
    """A picture of four quarters: the right upper one alone, mirrored, by hand."""
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2, 2], picture[:2, 3] = 10, 20
    seen = np.asarray(View((0.5, 0.0, 1.0, 0.5), flip=True).apply(Image.fromarray(picture)))
    assert seen.shape == (4, 4, 3)
    assert seen[0, 0, 0] > 15 > seen[0, 3, 0]  # 20 is left of 10 now
    assert np.array_equal(np.asarray(View().apply(Image.fromarray(picture))), picture)


def test_views_keep_within_their_bounds():
    table = ViewsTable(count=200, min_area=0.5, max_stretch=1.5, flip=True)
    views = table.of("row", 0)
    assert views[0] == View()
    for view in views[1:]:
        left, top, right, bottom = view.crop
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert (right - left) * (bottom - top) >= 0.44  # 0.5, less where a stretched side ran into the edge
    assert 60 < sum(v.flip for v in views) < 140
    assert all(a != b for a, b in pairwise(views))
    assert not any(v.flip for v in ViewsTable(count=50).of("row", 0))
