"""The contract that every student keeps, run on anybody's: `check_student(recipe, out)`.

Asserts with words; nothing is trained. A recipe with a few dozen rows is enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill import batches, opening
from distill import recipe as recipes
from distill.arm_names import ARMS
from distill.progress import Watcher
from distill.student import Student, sensible_arms, terms_for
from distill.work import Work
from limbeck.stage import settings_of

_TOLERANCE = 1e-4


def check_student(recipe: str | Path | recipes.DistillRecipe, out: Path, *, sets: Sequence[str] = ()) -> Work:
    """Checks a student on a recipe's rows.

    Args:
        recipe: of a TOML file; take few rows, since the teacher is asked about them.
        out: an empty folder, or that of an earlier check.
        sets: overrides.

    Returns:
        What it worked with, for further checks.

    Raises:
        AssertionError: a promise isn't kept, in words.
    """
    checked = recipes.load(recipe, sets=sets)
    student = checked.student
    _declarations(student)
    opening.claim(checked, out)
    work = opening.taught(opening.work_of(checked, out, "cpu", Watcher()), range(1), Watcher())
    work = work.with_(terms=terms_for(student, ARMS[checked.arm].signals, checked.train.weights))
    found = batches.pools(work.dataset, checked, work.seed)
    for phase in student.phases:
        _learning(work, found, phase)
    _judging(work, found, out)
    return work


def _declarations(student: Student) -> None:
    kind = type(student)
    assert kind(**settings_of(student)) == student, "settings don't survive a round trip through JSON"
    assert student.terms, "no loss term is declared"
    assert student.metrics, "no metric is declared"
    assert len({m.name for m in student.metrics}) == len(student.metrics), "two metrics of one name"
    assert {*student.pictures} <= {f.name for f in student.reads}, (
        "pictures that views crop aren't among the columns read"
    )
    assert "safetensors" in student.formats, "a student leaves as safetensors at least"
    assert sensible_arms(student), "no arm has a loss term"


def _learning(work: Work, found: batches.Pools, phase: str) -> None:
    import torch

    student = work.student
    models = []
    for _ in range(2):
        torch.manual_seed(work.seed)
        models.append(student.build(work))
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b), f"{name} isn't the same for the same seed"
    model = models[0]
    student.begin(model, phase, work)
    assert any(p.requires_grad for p in model.parameters()), f"nothing is trained in the phase {phase!r}"
    model.eval()  # dropout aside, how a batch is cut changes nothing

    def sums(micro: int | None) -> tuple[dict[str, float], dict[str, float]]:
        drawn = batches.Batches(work, ARMS[work.recipe.arm], found, phase, 6, micro).micro_batches(0)
        losses, counts = {}, {}
        for batch in drawn:
            torch.manual_seed(0)
            with torch.no_grad():
                said = student.losses(model, batch, phase, work)
            for name, value in said.items():
                assert value.ndim == 0, f"{name} isn't a scalar sum but {tuple(value.shape)}"
                losses[name] = losses.get(name, 0.0) + float(value)
            for name, count in student.counts(batch).items():
                counts[name] = counts.get(name, 0.0) + float(count)
        return losses, counts

    (whole, whole_counts), (cut, cut_counts) = sums(None), sums(2)
    assert {*whole} <= {*student.terms}, f"losses {sorted(whole.keys() - student.terms.keys())} aren't declared"
    assert {*whole} <= {*whole_counts}, f"no count for {sorted(whole.keys() - whole_counts.keys())}"
    assert whole_counts == cut_counts, f"counts depend on how a batch is cut: {whole_counts}, {cut_counts}"
    for name, value in whole.items():
        assert np.isfinite(value), f"{name} is {value}"
        near = abs(value - cut[name]) <= _TOLERANCE * max(1.0, abs(value))
        assert near, f"{name} depends on how a batch is cut: {value} in one, {cut[name]} in pairs. Is it a mean?"


def _judging(work: Work, found: batches.Pools, out: Path) -> None:
    import torch

    student, rows = work.student, work.dataset.rows(found.test)
    assert len(rows) >= 3, "a check needs three test rows or more"
    torch.manual_seed(work.seed)
    model = student.build(work)
    student.save(model, out / "check", work)
    assert list((out / "check").rglob("*.safetensors")), "no safetensors were written"
    loaded = student.load(out / "check", work)
    answers = student.answer(student.predictor(loaded, work), rows, work)
    for name, value in answers.items():
        assert len(value) == len(rows), f"answer {name!r} has {len(value)} entries for {len(rows)} rows"
    backwards = student.answer(student.predictor(loaded, work), rows[::-1], work)
    for name, value in answers.items():
        assert _same(value, backwards[name][::-1]), f"answer {name!r} depends on the order of the rows"
    teacher = student.teacher_answers(rows, work)
    scores = student.score(answers, rows, work, teacher)
    for metric in student.metrics:
        assert metric.name in scores.values, f"the metric {metric.name!r} isn't among the scores"
    for name, each in scores.items.items():
        assert each.shape == (len(rows),), f"per-row scores of {name!r} are {each.shape}"
        mean = float(np.nanmean(each))
        assert abs(mean - scores.values[name]) < 1e-9, f"{name} is {scores.values[name]}, its rows' mean {mean}"
    again = student.score(answers, rows, work, teacher)
    assert again.values == scores.values, "scoring the same answers twice differs"
    for phase in student.phases:
        figures = student.glance(loaded, rows[:3], work)
        assert student.glanced_by(phase).name in figures, f"glance lacks {student.glanced_by(phase).name!r}"


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True))
    return bool(np.array_equal(a, b))


def model_state(folder: Path) -> dict[str, Any]:
    """All tensors of a saved student, by file and name."""
    from safetensors.torch import load_file

    return {
        f"{file.relative_to(folder)}:{name}": value
        for file in sorted(folder.rglob("*.safetensors"))
        for name, value in load_file(file).items()
    }
