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

import hashlib
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from distill import batches, evaluate, processes, publishing, teacher_cache
from distill import recipe as recipes
from distill.arm_names import ARMS, Arm
from distill.dataset import open_dataset, write_json
from distill.progress import Watcher
from distill.recipe import DistillRecipe
from distill.student import Scores, sensible_arms, terms_for
from distill.work import Work
from limbeck import __version__, seeds
from limbeck.errors import BuildNotFound, RequestError
from limbeck.models.quiet import without_bars
from limbeck.store import disk_errors, write_file

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "onnx", "onnxruntime", "numpy", "pyarrow")
_GROUPS = "groups of rows"
Around = Callable[[str, Callable[[], Any]], Any]
"""(name of a step, the step) -> what it returns; the Prefect flow makes a task of each."""


@dataclass(frozen=True)
class Training:
    """One finished training.

    Attributes:
        arm: its arm.
        seed: which of the paired trainings.
        scores: on the test rows.
        facts: steps, seconds, which weights were kept, scores on the development rows.
        folder: where it lies; `model/` in it is the student.
    """

    arm: str
    seed: int
    scores: Scores
    facts: dict[str, Any]
    folder: Path


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
    folder = _claim(checked, Path(out) if out is not None else Path("builds") / checked.distill.name)
    with disk_errors(folder):
        work = around("rows", lambda: _work(checked, folder, device, watcher))
        judge = evaluate.refuse_dependent_judge(checked, work.dataset.lineage)
        seeds = range(checked.arms.seeds) if arms else range(1)
        names = (checked.arms.names or sensible_arms(checked.student)) if arms else ()
        work = around("teacher", lambda: _taught(work, seeds, watcher))
        trainings = [
            around(f"{name} {seed}", lambda name=name, seed=seed: _training(work, ARMS[name], seed, folder, watcher))
            for seed in seeds
            for name in dict.fromkeys((checked.arm, *names))
        ]
        if not processes.is_main():
            return Distilled(folder, {}, trainings)
        return around("report", lambda: _report(work, trainings, judge, folder, arms, watcher))


def opened(recipe: DistillRecipe, out: Path, device: str = "auto", watcher: Watcher | None = None) -> Work:
    """Rows and the teacher's answers of a recipe, asked for only where they aren't there yet."""
    watcher = watcher or Watcher()
    return _taught(_work(recipe, out, device, watcher), range(1), watcher)


def _claim(recipe: DistillRecipe, out: Path) -> Path:
    """Makes the folder, or makes sure that it is one of ours.

    Raises:
        BuildNotFound: it holds something else.
    """
    lock = out / "lock.json"
    if processes.is_main() and out.exists() and any(out.iterdir()):
        known = orjson.loads(lock.read_bytes()) if lock.is_file() else {}
        if "student" not in known:
            raise BuildNotFound(f"{out} is not empty and holds no student", remedy="name another folder with --out")
    if not processes.is_main():
        processes.awaited(lambda: lock.is_file() or None)
        return out
    out.mkdir(parents=True, exist_ok=True)
    write_file(out / "recipe.toml", recipe.toml().encode())
    write_json(lock, {"student": recipe.use, "digest": recipe.digest(), "folder": str(recipe.folder), **_versions()})
    return out


def _versions() -> dict[str, Any]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"versions": {"limbeck": __version__, "python": platform.python_version(), **found}}


def _work(recipe: DistillRecipe, out: Path, device: str, watcher: Watcher) -> Work:
    dataset = open_dataset(recipe, out, watcher)
    work = Work(recipe, dataset, device=_device(device), seed=recipe.distill.seed)
    batches.held_out(dataset, recipe)
    if problems := recipe.student.check(work):
        raise RequestError("; ".join(problems), where=f"student {recipe.student.name!r}")
    return work


def _device(device: str) -> str:
    if device != "auto":
        return device
    from distill.trainer import accelerator

    found = accelerator().device
    return "cpu" if found.type == "cpu" else str(found)


def _taught(work: Work, seeds: Sequence[int], watcher: Watcher) -> Work:
    """Asks the teacher; afterwards no teacher is in memory."""
    recipe, dataset = work.recipe, work.dataset
    teacher = recipe.student.taught_by(work)
    if teacher is None:
        return work
    dealt = [batches.pools(dataset, recipe, _seed(recipe, n)) for n in seeds]
    train = {int(p) for found in dealt for p in found.train}
    needed = sorted(train | {int(p) for p in (*dealt[0].dev, *dealt[0].test)})
    views = recipe.views

    def views_of(position: int) -> list[Any]:
        found = views.of(dataset.ids[position], recipe.distill.seed)
        return found if position in train else found[:1]

    folder = Path(recipe.cache.folder) if recipe.cache.folder else dataset.place / "teacher" / teacher.name
    cache = teacher_cache.ask(
        dataset,
        teacher,
        recipe.folder / folder if recipe.cache.folder else folder,
        views_of,
        recipe.student.texts(work, dealt),
        positions=needed,
        part_rows=recipe.cache.part_rows,
        watcher=watcher,
    )
    work = work.with_(cache=cache)
    own, theirs = _parameters(work), cache.facts.get("parameters", 0)
    if 0 < theirs < own:
        watcher.note(f"warning: the student has {own:,} parameters, more than its teacher's {theirs:,}")
    return work


def _parameters(work: Work) -> int:
    """Of a fresh student."""
    if "parameters" not in work.memo:
        work.memo["parameters"] = sum(p.numel() for p in _fresh(work).parameters())
    return work.memo["parameters"]


def _fresh(work: Work) -> Any:
    """A student that hasn't learnt anything."""
    import torch

    with torch.random.fork_rng(devices=[]):
        return work.student.build(work)


def _seed(recipe: DistillRecipe, n: int) -> int:
    """The seed of the n-th of the paired trainings: the same in every arm."""
    return recipe.distill.seed + n


def training_key(work: Work, arm: Arm, seed: int) -> str:
    """Changes with anything that the training depends on."""
    recipe, cache = work.recipe, work.cache
    facts = [
        recipe.training_digest(),
        [recipe.evaluate.dev_split, recipe.evaluate.dev_rows],
        recipe.student.version,
        work.dataset.digest,
        None if cache is None else cache.fingerprint,
        asdict(arm),
        seed,
        *([extra_steps(work, phase) for phase in recipe.student.phases] if arm.longer else ()),
    ]
    return _digest(facts)


def judging_key(work: Work) -> str:
    """Changes with the rows that a training is scored on, and with the judge; the weights depend on neither."""
    judge, rows = work.recipe.evaluate.judge, batches.held_out(work.dataset, work.recipe)[2]
    spec = work.recipe.models[judge].model_dump(mode="json") if judge in work.recipe.models else None
    return _digest([judge, spec, [work.dataset.ids[p] for p in rows]])


def _digest(facts: Any) -> str:
    return hashlib.blake2b(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _training(work: Work, arm: Arm, n: int, out: Path, watcher: Watcher) -> Training:
    """Trains one arm with one seed and scores it on the test rows; what is finished of it is read back."""
    folder, name = out / "arms" / f"{arm.name}-{n}", f"{arm.name} {n}"
    key, judged = training_key(work, arm, n), judging_key(work)
    if processes.is_main():
        _make_room(folder, key, watcher)
    processes.awaited(lambda: _key_of(folder) == key or None)
    known = _known(folder, key)
    if known.get("judged") == judged:
        watcher.started(name, None, "steps")
        watcher.finished(name, reused=True)
        return _read(folder, known)
    found = batches.pools(work.dataset, work.recipe, _seed(work.recipe, n))
    terms = terms_for(work.student, arm.signals, work.recipe.train.weights)
    own = work.with_(seed=_seed(work.recipe, n), terms=terms)
    if not known:
        model, facts = _fit(own, arm, found, folder, name, watcher)
        known = {"key": key, "arm": arm.name, "seed": n, "facts": facts}
        if processes.is_main():
            work.student.save(model, folder / "model", own)
            write_json(folder / "result.json", known)
    if processes.is_main():
        watcher.started(f"evaluate {name}", None)
        write_json(folder / "result.json", _judged(known, own, folder, found.test) | {"judged": judged})
        watcher.finished(f"evaluate {name}")
    return processes.awaited(lambda: _read(folder, k) if (k := _known(folder, key)).get("judged") == judged else None)


def _judged(known: dict[str, Any], work: Work, folder: Path, test: batches.Positions) -> dict[str, Any]:
    """The record of a training with the scores of its saved weights; those of each row go to `folder/items.npz`."""
    student, rows = work.student, work.dataset.rows(test)
    model = student.load(folder / "model", work).to(work.device)
    scores = evaluate.score(student.predictor(model, work), rows, work, student.teacher_answers(rows, work))
    groups = {} if scores.groups is None else {_GROUPS: np.unique(scores.groups, return_inverse=True)[1]}
    np.savez_compressed(folder / "items.npz", **scores.items, **groups)
    facts = known["facts"] | {"parameters": sum(p.numel() for p in model.parameters())}
    return known | {"facts": facts, "values": scores.values, "more": scores.more}


def _make_room(folder: Path, key: str, watcher: Watcher) -> None:
    """Afterwards the folder is that of this key. One of other settings is kept, and comes back with them."""
    known, earlier = _key_of(folder), folder.parent.parent / "earlier"
    if known == key:
        return
    if known is not None:
        kept = earlier / f"{folder.name}-{known[:8]}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(exist_ok=True)
        folder.rename(kept)
        watcher.note(f"{folder.name} was trained with other settings; that training is kept in {kept}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    before = earlier / f"{folder.name}-{key[:8]}"
    if _key_of(before) == key:
        before.rename(folder)
    else:
        write_json(folder / "key.json", {"key": key})


def _key_of(folder: Path) -> str | None:
    """The key of a training, or None where there is none."""
    path = folder / "key.json"
    return orjson.loads(path.read_bytes())["key"] if path.is_file() else None


def _fit(
    work: Work, arm: Arm, found: batches.Pools, folder: Path, name: str, watcher: Watcher
) -> tuple[Any, dict[str, Any]]:
    """Trains phase by phase."""
    import torch

    from distill.adapters import adapted, merged, paced
    from distill.trainer import Lesson, train

    student, facts = work.student, {}
    torch.manual_seed(work.seed)
    model = student.build(work)
    dev = work.dataset.rows(found.dev)
    teacher = student.teacher_answers(dev, work)
    for phase in student.phases:
        settings = work.recipe.train.phase(phase)
        if arm.longer:
            settings = settings.model_copy(update={"steps": settings.steps + extra_steps(work, phase)})
        student.begin(model, phase, work)
        model = adapted(model, settings.adapter, seeds.seed(work.seed, "adapter", phase) % 2**63)
        lesson = Lesson(
            model,
            batches.Batches(work, arm, found, phase, settings.batch_size, settings.micro_batch),
            lambda m, batch, phase=phase: student.losses(m, batch, phase, work),
            student.counts,
            work.terms,
            lambda m: student.glance(m, dev, work, teacher),
            student.glanced_by(phase),
            work.seed,
            paced(model, student.paces(phase)),
        )
        place = folder if len(student.phases) == 1 else folder / phase
        shown = name if len(student.phases) == 1 else f"{name} {phase}"
        if (precision := work.precision(phase)) != settings.precision:
            watcher.note(f"{settings.precision} isn't this CPU's: {shown} learns in float32, which is faster here")
            settings = settings.model_copy(update={"precision": precision})
        trained = train(lesson, settings, place, name=shown, device=work.device, watcher=watcher)
        model = merged(model)
        facts[phase] = asdict(trained)
    return model, facts


def extra_steps(work: Work, phase: str) -> int:
    """Steps of a phase that the teacher's compute would pay for: its forward passes, over those of a step.

    A training step counts as three forward passes. A pass costs its multiply-adds where both models' are known, its
    parameters else, which flatters no one where teacher and student are of one kind. What asking for the cache cost is
    shared out equally among the phases.
    """
    student, settings = work.student, work.recipe.train.phase(phase)
    passes = settings.steps * settings.batch_size * student.teacher_passes(phase)
    if work.cache is not None:
        passes += sum(work.cache.views(row_id) for row_id in work.dataset.ids) / len(student.phases)
    theirs, own = _costs(work)
    return round(passes * theirs / (3 * own * settings.batch_size))


def _costs(work: Work) -> tuple[int, int]:
    """What a forward pass of one row costs, of the teacher and of the student, in the same unit; 0 where unknown."""
    facts = work.cache.facts if work.cache else {}
    if "macs" in facts and publishing.is_plain(work):
        if "macs" not in work.memo:
            work.memo["macs"] = publishing.macs(work.student.exported(_fresh(work), work))
        return facts["macs"], work.memo["macs"]
    return facts.get("parameters", 0), _parameters(work)


def _known(folder: Path, key: str) -> dict[str, Any]:
    """What is on record of a training of this key: facts once it has trained, scores once it was judged."""
    path = folder / "result.json"
    known = orjson.loads(path.read_bytes()) if path.is_file() else {}
    return known if known.get("key") == key else {}


def _read(folder: Path, known: dict[str, Any]) -> Training:
    with np.load(folder / "items.npz") as items:
        rows = dict(items)
    groups = rows.pop(_GROUPS, None)
    scores = Scores(known["values"], rows, groups, known["more"])
    return Training(known["arm"], known["seed"], scores, known["facts"], folder)


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
    write_json(out / "report.json", report)
    (out / "student" / "README.md").write_text(model_card.card(work, report, out / "student"), encoding="utf-8")
    if refused := {name: each["refused"] for name, each in exported.items() if "refused" in each}:
        raise publishing.ExportRefused(refused, out / "student")
    return Distilled(out, report, trainings)
