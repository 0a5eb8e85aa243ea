"""A plan: what a recipe means for a folder. Which parts there are, which key a stage's work has, what is global.

    plan = make_plan(recipe, "OUT")        # enters the source's rows, writes recipe.toml and lock.json
    for part in plan.parts: run_part(plan, part)      # here, in Prefect, Ray or a job array
    finish(plan)

`make_plan` is cheap and may be called by every process that shares the build.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock

from limbeck import __version__, ledger, models, sources
from limbeck.contract import stored_schema
from limbeck.decisions import is_global
from limbeck.errors import BuildNotFound
from limbeck.models.presence import check_models_are_there
from limbeck.recipe import Recipe
from limbeck.schema import StageTable
from limbeck.stage import decision_settings, model_settings, models_of, settings_of
from limbeck.store import disk_errors, write_file
from limbeck.versions import installed

LEASES = ".leases"
SOURCE = "source"
FOLDER = "recipe-folder"  # of this machine, so it isn't among what is published
_PACKAGES = ("torch", "transformers", "diffusers", "tokenizers", "numpy", "pyarrow", "pillow", "openai", "datasets")


@dataclass(frozen=True)
class Plan:
    """What there is to do.

    Attributes:
        recipe: the checked recipe.
        out: the build's folder.
        fingerprints: of the recipe's models that stages use, by name.
        stage_keys: hash of what a stage's work depends on but its input, in the order of the stages.
        parts: numbers of the parts that hold rows of the present source.
        inactive: ids that entered once and that the present source no longer has.
    """

    recipe: Recipe
    out: Path
    fingerprints: Mapping[str, str]
    stage_keys: tuple[str, ...]
    parts: tuple[int, ...]
    inactive: frozenset[str]
    source_rows: int

    def folder(self, stage: int) -> Path:
        """Folder of a stage: 0 is the source, 1 the recipe's first."""
        return stage_folder(self.out, stage, SOURCE if stage == 0 else self.recipe.stages[stage - 1].id)

    def schema(self, stage: int) -> Any:
        """Columns of a stage's files; see `folder`."""
        if stage == 0:
            return ledger.source_schema(sources.fields(self.recipe.source, self.recipe.folder))
        table = self.recipe.stages[stage - 1]
        return stored_schema(table, {s: self.fingerprints[name] for s, (name, _) in models_of(table.stage).items()})

    def barriers(self) -> tuple[int, ...]:
        """Stages (counted from 1) that wait for every part to come so far: generators after a global filter."""
        found, waiting = [], False
        for i, table in enumerate(self.recipe.stages, 1):
            if table.is_filter:
                waiting |= is_global(table.stage)
            elif waiting:
                found.append(i)
                waiting = False
        return tuple(found)

    @property
    def levels(self) -> int:
        """Runs of stages between barriers."""
        return len(self.barriers()) + 1

    def until(self, level: int) -> int:
        """The first stage that a level doesn't reach: the next barrier, or one past the last stage."""
        return (*self.barriers(), len(self.recipe.stages) + 1)[level]

    def lease(self, name: str) -> FileLock:
        """A lock between processes that a killed one lets go of."""
        folder = self.out / LEASES
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / f"{name}.lock", thread_local=False)


def make_plan(recipe: Recipe, out: str | Path, *, limit: int | None = None) -> Plan:
    """Enters the source's rows into parts and says what is to be done with them.

    Args:
        recipe: a checked recipe.
        out: the build's folder; made where it isn't there.
        limit: at most so many source rows.

    Raises:
        BuildNotFound: the folder holds something, but no build.
        ModelNotFound: a model that a stage uses can't be had.
        UnsafeWeights: one has pickled weights only.
        SourceError: the source can't be read.
        DiskFull: there is no room.
        RequestError: nobody may write to the folder.
    """
    out = Path(out)
    if out.exists() and (
        not out.is_dir() or (any(out.iterdir()) and not (out / "lock.json").exists() and not (out / LEASES).exists())
    ):
        raise BuildNotFound(f"{out} is not empty and holds no build", remedy="name another folder with --out")
    used = sorted({name for table in recipe.stages for name, _ in models_of(table.stage).values()})
    check_models_are_there({name: recipe.models[name] for name in used}, recipe.folder, recipe.origin)
    with disk_errors(out):
        (out / LEASES).mkdir(parents=True, exist_ok=True)
    fingerprints = {name: models.fingerprint(recipe.models[name], recipe.folder) for name in used}
    keys = tuple(stage_key(table, fingerprints, recipe.dataset.seed) for table in recipe.stages)
    with FileLock(out / LEASES / "setup.lock"):
        _renumber(out, recipe)
        entered = ledger.enter(recipe, stage_folder(out, 0, SOURCE), limit)
        plan = Plan(recipe, out, fingerprints, keys, entered.parts, entered.inactive, entered.rows)
        with disk_errors(out):
            _write_if_changed(out / LEASES / FOLDER, str(recipe.folder.resolve()).encode())
            _write_if_changed(out / "recipe.toml", recipe.toml().encode())
            _write_if_changed(
                out / "lock.json", orjson.dumps(lock(plan), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
            )
    return plan


def stage_folder(out: Path, stage: int, stage_id: str) -> Path:
    """Folder of a stage's parts."""
    return out / "stages" / f"{stage:02d}-{stage_id}"


def stage_key(table: StageTable, fingerprints: Mapping[str, str], seed: int) -> str:
    """Hash of everything that a stage's work depends on but its input; thresholds aren't among it."""
    apart = {*decision_settings(table.stage), *model_settings(table.stage)}
    return digest(
        type(table.stage).name,
        table.stage.version,
        table.id,
        seed,
        {key: value for key, value in settings_of(table.stage).items() if key not in apart},
        {setting: fingerprints[name] for setting, (name, _) in models_of(table.stage).items()},
    )


def digest(*facts: Any) -> str:
    """A hash of JSON-like values."""
    return hashlib.blake2b(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def lock(plan: Plan) -> dict[str, Any]:
    """What the build was made with: nothing of it is hashed."""
    recipe = plan.recipe
    return {
        "limbeck": __version__,
        "recipe_digest": recipe.digest(),
        "seed": recipe.dataset.seed,
        "models": {
            name: {"fingerprint": found, **recipe.models[name].identity(), "device": recipe.models[name].device}
            for name, found in plan.fingerprints.items()
        },
        "stages": {
            t.id: {"key": key, "version": t.stage.version}
            for t, key in zip(recipe.stages, plan.stage_keys, strict=True)
        },
        "packages": installed(_PACKAGES),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "parts": list(plan.parts),
        "source_rows": plan.source_rows,
    }


def _renumber(out: Path, recipe: Recipe) -> None:
    """Moves folders of stages that have another number now, so that a filter put in the middle costs nothing."""
    for i, table in enumerate(recipe.stages, 1):
        wanted = stage_folder(out, i, table.id)
        if not wanted.exists():
            for old in sorted((out / "stages").glob(f"[0-9][0-9]-{table.id}")):
                old.rename(wanted)
                break


def _write_if_changed(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_file(path, data)
