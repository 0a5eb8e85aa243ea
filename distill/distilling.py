"""The whole line: rows, teacher, trainings, evaluation, export, card. Each step is done once; the same call resumes.

    OUT/
      recipe.toml  lock.json          resolved recipe; versions, digests, devices
      rows/                           the dataset's rows, mapped (deletable: copied again)
      teacher/NAME/                   the teacher's answers, where the dataset isn't a build with a folder of its own
      arms/both-0/                    one training: checkpoint.pt, best.pt, metrics.jsonl, tensorboard/, model/, result.json
      earlier/both-0-1f2e3d4c/        the same under other settings; comes back with them (deletable)
      report.json                     every figure by arm, seed and format
      student/                        what is given out: weights, README.md (the card), onnx/ ...

`distill(recipe, out)` is a plain function; the command line and the Prefect flow call it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distill import batches, evaluate, opening, processes, publishing
from distill import recipe as recipes
from distill.arm_names import ARMS
from distill.dataset import write_json
from distill.progress import Watcher
from distill.recipe import DistillRecipe
from distill.student import sensible_arms
from distill.trainings import Training, training
from distill.work import Work
from limbeck.models.quiet import without_bars
from limbeck.store import disk_errors

Around = Callable[[str, Callable[[], Any]], Any]
"""(name of a step, the step) -> what it returns; the Prefect flow makes a task of each."""


@dataclass(frozen=True)
class Distilled:
    """What came of it.

    Attributes:
        out: the folder.
        report: what `report.json` holds.
        trainings: by arm and seed.
    """

    out: Path
    report: dict[str, Any]
    trainings: list[Training] = field(default_factory=list)


@without_bars()
def distill(
    recipe: str | Path | DistillRecipe,
    out: str | Path | None = None,
    *,
    arms: bool = False,
    sets: Sequence[str] = (),
    device: str = "auto",
    watcher: Watcher | None = None,
    around: Around | None = None,
) -> Distilled:
    """Caches the teacher, trains the student, evaluates and exports it; goes on where an earlier call stopped.

    Args:
        recipe: path of a TOML file, or a checked recipe.
        out: folder of the result; `builds/NAME` by default.
        arms: trains all arms with all seeds, and says what the teacher added.
        sets: overrides such as `train.steps=200`.
        device: a torch device, or `auto`.
        watcher: is told how far it is.
        around: wraps each step.

    Raises:
        RequestError: recipe, dataset, teacher or judge are wrong; nothing was trained.
        WorkError: the work failed; the same call resumes.
    """
    checked = recipes.load(recipe, sets=sets)
    watcher, around = watcher or Watcher(), around or (lambda name, step: step())
    if not processes.is_main():
        watcher = Watcher()
    folder = opening.claim(checked, Path(out) if out is not None else Path("builds") / checked.distill.name)
    with disk_errors(folder):
        work = around("rows", lambda: opening.work_of(checked, folder, device, watcher))
        judge = evaluate.refuse_dependent_judge(checked, work.dataset.lineage)
        seeds = range(checked.arms.seeds) if arms else range(1)
        names = (checked.arms.names or sensible_arms(checked.student)) if arms else ()
        work = around("teacher", lambda: opening.taught(work, seeds, watcher))
        trainings = [
            around(f"{name} {seed}", lambda name=name, seed=seed: training(work, ARMS[name], seed, folder, watcher))
            for seed in seeds
            for name in dict.fromkeys((checked.arm, *names))
        ]
        if not processes.is_main():
            return Distilled(folder, {}, trainings)
        return around("report", lambda: _report(work, trainings, judge, folder, arms, watcher))


def _report(work: Work, trainings: list[Training], judge: str, out: Path, arms: bool, watcher: Watcher) -> Distilled:
    """Scores teacher and baselines, exports the student, writes report and card.

    Raises:
        ExportRefused: a format loses more than it may; report and card are written all the same.
    """
    from distill import model_card
    from distill.arms import compare

    student, test = work.student, work.dataset.rows(batches.held_out(work.dataset, work.recipe)[2])
    answers = student.teacher_answers(test, work)
    teacher = None if answers is None else student.score(answers, test, work, answers)
    baselines = {n: student.score(found, test, work, answers) for n, found in student.baselines(test, work).items()}
    chosen = next(t for t in trainings if t.arm == work.recipe.arm and t.seed == 0)
    exported = publishing.publish(work, chosen, test, answers, out / "student", watcher)
    report = {
        "student": work.recipe.use,
        "name": work.recipe.distill.name,
        "judge": judge,
        "test_rows": len(test),
        "metrics": [asdict(m) for m in student.metrics],
        "teacher": None
        if teacher is None
        else {"name": work.cache.name, "values": teacher.values, "more": teacher.more},
        "teacher_facts": work.cache.facts if work.cache else {},
        "baselines": {name: {"values": scores.values, "more": scores.more} for name, scores in baselines.items()},
        "trainings": [
            {"arm": t.arm, "seed": t.seed, "values": t.scores.values, "more": t.scores.more, "facts": t.facts}
            for t in trainings
        ],
        "formats": exported,
        "comparison": compare(student.metrics, trainings, teacher, work.recipe.arm) if arms else None,
    }
    opening.sign(work.recipe, out)
    write_json(out / "report.json", report)
    (out / "student" / "README.md").write_text(model_card.card(work, report, out / "student"), encoding="utf-8")
    if refused := {name: each["refused"] for name, each in exported.items() if "refused" in each}:
        raise publishing.ExportRefused(refused, out / "student")
    return Distilled(out, report, trainings)
