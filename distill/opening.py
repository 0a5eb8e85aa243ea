"""What a distillation begins with: a folder, the rows of its recipe, the teacher's answers. What is there is read back."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from distill import batches, costs, exports, processes, teacher_cache
from distill.dataset import open_dataset, write_json
from distill.progress import Watcher
from distill.recipe import DistillRecipe
from distill.work import Work
from limbeck import __version__
from limbeck.errors import BuildNotFound, RequestError
from limbeck.paths import beside
from limbeck.store import write_file
from limbeck.versions import installed

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "onnx", "onnxruntime", "numpy", "pyarrow")


def opened(recipe: DistillRecipe, out: Path, device: str = "auto", watcher: Watcher | None = None) -> Work:
    """Rows and the teacher's answers of a recipe, asked for only where they aren't there yet."""
    watcher = watcher or Watcher()
    return taught(work_of(recipe, out, device, watcher), range(1), watcher)


def claim(recipe: DistillRecipe, out: Path) -> Path:
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
    if not lock.is_file():
        out.mkdir(parents=True, exist_ok=True)
        sign(recipe, out)
    return out


def sign(recipe: DistillRecipe, out: Path) -> None:
    """Writes the recipe and the versions that the student in a folder is made by; a finished one keeps its own till then."""
    write_file(out / "recipe.toml", recipe.toml().encode())
    versions = {"limbeck": __version__, "python": platform.python_version(), **installed(_PACKAGES)}
    known = {"student": recipe.use, "digest": recipe.digest(), "folder": str(recipe.folder), "versions": versions}
    write_json(out / "lock.json", known)


def work_of(recipe: DistillRecipe, out: Path, device: str, watcher: Watcher) -> Work:
    """Rows of a recipe, copied or drawn where they aren't there yet, and checked by the student; no teacher.

    Raises:
        RequestError: they don't fit the student, or what it needs isn't there.
    """
    dataset = open_dataset(recipe, out, watcher)
    work = Work(recipe, dataset, device=_device(device), seed=recipe.distill.seed)
    batches.held_out(dataset, recipe)
    if left_out := batches.parted(dataset, recipe)[3]:
        watcher.note(f"{left_out:,} rows aren't trained on: others of their groups are to be judged by")
    problems = list(recipe.student.check(work))
    if recipe.student.judge_role is None and recipe.evaluate.judge != "truth":
        found = f"rows are judged by what they say themselves; {recipe.evaluate.judge!r} would never be asked"
        problems.append(f'{found}: set evaluate.judge = "truth"')
    if away := [name for name in recipe.export.formats if not exports.at_hand(name)]:
        problems.append(f'export.formats: {", ".join(away)} can\'t be written here (see docs/distill.md, "Formats")')
    if not recipe.student.prepares_apart and any(recipe.train.phase(name).workers for name in recipe.student.phases):
        problems.append("its batches are prepared on the device, by the process that trains: set train.workers = 0")
    if problems:
        raise RequestError("; ".join(problems), where=f"student {recipe.student.name!r}")
    return work


def _device(device: str) -> str:
    if device != "auto":
        return device
    from distill.trainer import accelerator

    found = accelerator().device
    return "cpu" if found.type == "cpu" else str(found)


def taught(work: Work, seeds: Sequence[int], watcher: Watcher) -> Work:
    """Asks the teacher; afterwards no teacher is in memory."""
    recipe, dataset = work.recipe, work.dataset
    teacher = recipe.student.taught_by(work)
    if teacher is None:
        return work
    dealt = [batches.pools(dataset, recipe, seed_of(recipe, n)) for n in seeds]
    train = {int(p) for found in dealt for p in found.train}
    needed = sorted(train | {int(p) for p in (*dealt[0].dev, *dealt[0].test)})
    views = recipe.views

    def views_of(position: int) -> list[Any]:
        found = views.of(dataset.ids[position], recipe.distill.seed)
        return found if position in train else found[:1]

    cache = teacher_cache.ask(
        dataset,
        teacher,
        beside(recipe.folder, recipe.cache.folder) if recipe.cache.folder else dataset.place / "teacher" / teacher.name,
        views_of,
        recipe.student.texts(work, dealt),
        positions=needed,
        part_rows=recipe.cache.part_rows,
        watcher=watcher,
    )
    work = work.with_(cache=cache)
    own, theirs = costs.parameters(work), cache.facts.get("parameters", 0)
    if 0 < theirs < own:
        watcher.note(f"warning: the student has {own:,} parameters, more than its teacher's {theirs:,}")
    return work


def seed_of(recipe: DistillRecipe, n: int) -> int:
    """The seed of the n-th of the paired trainings: the same in every arm."""
    return recipe.distill.seed + n
