"""What models cost, so that compute can be compared: parameters, passes, and the steps that a teacher's would pay for."""

from __future__ import annotations

from typing import Any

from distill import batches, publishing
from distill.work import Work


def parameters(work: Work) -> int:
    """Of a fresh student."""
    if "parameters" not in work.memo:
        work.memo["parameters"] = sum(p.numel() for p in fresh(work).parameters())
    return work.memo["parameters"]


def fresh(work: Work) -> Any:
    """A student that hasn't learnt anything."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return work.student.build(work)


def extra_steps(work: Work, phase: str) -> int:
    """Steps of a phase that the teacher's compute would pay for: its forward passes, over those of a step.

    A training step counts as three forward passes. A pass costs its multiply-adds where both models' are known, its
    parameters else, which flatters no one where teacher and student are of one kind. Asking for the answers that the
    training learns from is shared out equally among the phases; what the teacher said of other seeds' rows, or of
    development and test rows, teaches it nothing.
    """
    student, settings = work.student, work.recipe.train.phase(phase)
    passes = settings.steps * settings.batch_size * student.teacher_passes(phase)
    if work.cache is not None:
        learnt = batches.pools(work.dataset, work.recipe, work.seed).train
        passes += sum(work.cache.views(work.dataset.ids[p]) for p in learnt) / len(student.phases)
    theirs, own = _costs(work)
    return round(passes * theirs / (3 * own * settings.batch_size))


def _costs(work: Work) -> tuple[int, int]:
    """What a forward pass of one row costs, of the teacher and of the student, in the same unit; 0 where unknown."""
    facts = work.cache.facts if work.cache else {}
    if "macs" in facts and publishing.is_plain(work):
        if "macs" not in work.memo:
            work.memo["macs"] = publishing.macs(work.student.exported(fresh(work), work))
        return facts["macs"], work.memo["macs"]
    return facts.get("parameters", 0), parameters(work)
