"""Trainings on disk: each is known by what its weights depend on, kept when that changes, and read back when it is done."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from distill import batches, evaluate, processes
from distill.arm_names import Arm
from distill.costs import extra_steps
from distill.dataset import write_json
from distill.opening import seed_of
from distill.progress import Watcher
from distill.student import Scores, terms_for
from distill.work import Work
from limbeck import models, seeds
from limbeck.stage import models_of

_GROUPS = "groups of rows"


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


def training(work: Work, arm: Arm, n: int, out: Path, watcher: Watcher) -> Training:
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
    found = batches.pools(work.dataset, work.recipe, seed_of(work.recipe, n))
    terms = terms_for(work.student, arm.signals, work.recipe.train.weights)
    own = work.with_(seed=seed_of(work.recipe, n), terms=terms)
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


def training_key(work: Work, arm: Arm, seed: int) -> str:
    """Changes with anything that the training depends on."""
    recipe, cache = work.recipe, work.cache
    facts = [
        recipe.training_digest(),
        [recipe.evaluate.dev_split, recipe.evaluate.dev_rows],
        recipe.student.version,
        _beginnings(work),
        work.dataset.digest,
        None if cache is None else cache.fingerprint,
        asdict(arm),
        seed,
        *([extra_steps(work, phase) for phase in recipe.student.phases] if arm.longer else ()),
    ]
    return _digest(facts)


def _beginnings(work: Work) -> dict[str, str]:
    """What the folders of models hold that a student begins with; a teacher's cache knows the teacher."""
    recipe = work.recipe
    used = {setting: recipe.models[name] for setting, (name, _) in models_of(recipe.student).items()}
    places = {setting: models.located(spec, recipe.folder) for setting, spec in used.items() if not spec.is_endpoint}
    return {s: models.fingerprint(used[s], recipe.folder) for s, place in places.items() if Path(place).exists()}


def judging_key(work: Work) -> str:
    """Changes with the rows that a training is scored on, and with the judge; the weights depend on neither."""
    rows = batches.held_out(work.dataset, work.recipe)[2]
    return _digest([*work.judged_by, [work.dataset.ids[p] for p in rows]])


def _digest(facts: Any) -> str:
    return hashlib.blake2b(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def _judged(known: dict[str, Any], work: Work, folder: Path, test: batches.Positions) -> dict[str, Any]:
    """The record of a training with the scores of its saved weights; those of each row go to `folder/items.npz`."""
    student, rows = work.student, work.dataset.rows(test)
    model = student.load(folder / "model", work).to(work.device)
    scores = evaluate.score(student.predictor(model, work), rows, work, student.teacher_answers(rows, work))
    groups = [work.dataset.groups[p] for p in test] if scores.groups is None else scores.groups
    np.savez_compressed(folder / "items.npz", **scores.items, **{_GROUPS: np.unique(groups, return_inverse=True)[1]})
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
            lambda m: student.glance(m, dev, work),
            student.glanced_by(phase),
            work.seed,
            paced(model, student.paces(phase)),
        )
        place = folder if len(student.phases) == 1 else folder / phase
        shown = name if len(student.phases) == 1 else f"{name} {phase}"
        if (precision := work.precision(phase)) != settings.precision:
            watcher.note(f"{settings.precision} is slow on this CPU: {shown} learns in float32, which is faster here")
            settings = settings.model_copy(update={"precision": precision})
        if settings.workers is None:
            workers = processes.preparing(work.device) if student.prepares_apart else 0
            settings = settings.model_copy(update={"workers": workers})
        if settings.warmup >= settings.steps:
            watcher.note(
                f"{shown}: warmup = {settings.warmup} of {settings.steps} steps; its rate never gets to its peak"
            )
        trained = train(lesson, settings, place, name=shown, device=work.device, watcher=watcher)
        model = merged(model)
        facts[phase] = asdict(trained)
    return model, facts


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
