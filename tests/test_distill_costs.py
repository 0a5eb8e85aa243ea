"""What a teacher's compute buys. Oracles: rows counted by hand; the steps of trainings that are on record."""

from __future__ import annotations

import pytest
from toy_student import ToyTeacher, toy_student_recipe

from distill.costs import extra_steps
from distill.distilling import distill
from distill.opening import taught, work_of
from distill.progress import Watcher
from distill.recipe import load


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_training_pays_for_its_own_rows_under_their_views_and_for_no_others(tmp_path, seeds, views):
    """By hand: 24 training rows under each view, 200 parameters against 41, over 3 * 16 rows a step.

    The cache holds the other seeds' rows, the development and test rows, and a third view, too.
    """
    recipe = load(toy_student_recipe(tmp_path, budget="labelled = 16\nunlabelled = 8"), sets=["views.count=3"])
    taught(work_of(recipe, tmp_path / "out", "cpu", Watcher()), range(4), Watcher())
    recipe = load(recipe, sets=[f"views.count={views}"])
    work = taught(work_of(recipe, tmp_path / "out", "cpu", Watcher()), range(seeds), Watcher())
    for n in range(seeds):
        own = work.with_(seed=work.seed + n)
        assert extra_steps(own, "train") == round(24 * views * 200 / (3 * 16 * 41))


def test_more_seeds_train_none_of_the_longer_arm_again(tmp_path):
    """Oracle: which trainings were done anew, and their steps; two seeds first, then three."""

    class Told(Watcher):
        def __init__(self):
            self.trained = []

        def finished(self, step, reused=False):
            if not reused and step.startswith("longer"):
                self.trained.append(step)

    recipe = toy_student_recipe(
        tmp_path,
        arms='seeds = 2\nnames = ["labels", "both", "longer"]',
        budget="labelled = 64\nunlabelled = 8",
        train="steps = 2\nbatch_size = 8\nlr = 1e-2",
    )
    ToyTeacher.asked.clear()
    steps = {}
    for seeds, trained in ((2, ["longer 0", "longer 1"]), (3, ["longer 2"])):
        told = Told()
        made = distill(load(recipe, sets=[f"arms.seeds={seeds}"]), tmp_path / "out", arms=True, watcher=told)
        assert told.trained == trained
        steps[seeds] = [t["facts"]["train"]["steps"] for t in made.report["trainings"] if t["arm"] == "longer"]
    assert steps == {2: [2 + round(72 * 200 / (3 * 8 * 41))] * 2, 3: [2 + round(72 * 200 / (3 * 8 * 41))] * 3}
