"""A plan: what a recipe means for a folder. Which parts there are, which key a stage's work has, and what is done.

    plan = make_plan(recipe, "OUT")        # enters the source's rows, writes recipe.toml and lock.json
    for part in plan.parts: run_part(plan, part)      # here, in Prefect, Ray or a job array
    finish(plan)

`make_plan` is cheap and may be called by every process that shares the build.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from limbeck import __version__, ledger, models, sources
from limbeck.contract import stored_schema
from limbeck.decisions import Verdicts, is_global, settle
from limbeck.errors import BuildNotFound
from limbeck.frames import Frame, Read
from limbeck.models.presence import check_models_are_there
from limbeck.recipe import Recipe
from limbeck.schema import StageTable
from limbeck.stage import decision_settings, model_settings, models_of, scores, settings_of
from limbeck.store import disk_errors, read_manifest, read_part, write_file
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
            return self._source_schema
        table = self.recipe.stages[stage - 1]
        return stored_schema(table, {s: self.fingerprints[name] for s, (name, _) in models_of(table.stage).items()})

    @cached_property
    def _source_schema(self) -> Any:
        return ledger.source_schema(sources.fields(self.recipe.source, self.recipe.folder))

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


@dataclass
class Trail:
    """What a part's rows are made of, as they pass the stages: it enters the key of each stage's work.

    Attributes:
        contents: of every generator's part so far, the source's first.
        scored: score column of the present rows to the content of the part that holds it.
    """

    contents: list[str]
    scored: dict[str, str] = field(default_factory=dict)

    def leads_to(self, table: StageTable) -> list[Any]:
        """Contents of the parts that a stage's work on this part depends on: its manifest's `made_of`."""
        reads = {f.name for f in (*table.stage.reads, *table.stage.reads_if_there)}
        return [self.contents, sorted({content for name, content in self.scored.items() if name in reads})]

    def passes(self, table: StageTable, manifest: dict[str, Any]) -> None:
        """A stage's work is done."""
        if table.is_filter:
            self.scored.update((f.name, manifest["content"]) for f in table.stored_fields())
        else:
            self.contents, self.scored = [*self.contents, manifest["content"]], {}


class Course:
    """A part's rows on their way through the stages. Who works on a part and who asks whether it is done go the same.

    Attributes:
        frame: the rows.
        trail: what they are made of.
        makers: stage and manifest of each generator's part so far, the source's first.
        decided: whether `verdicts` holds every decision so far.
    """

    def __init__(self, plan: Plan, part: int, survivors: Mapping[int, Collection[str]]) -> None:
        """At the source; `survivors` are the ids that go on, for each barrier that is passed already."""
        self.plan, self.part, self.survivors = plan, part, survivors
        self.decided = True
        manifest = read_manifest(plan.folder(0), part)
        self.frame = Frame(plan.schema(0), self._reader(0))
        self.trail, self.makers = Trail([manifest["content"]]), [(0, manifest)]
        self._verdicts: Verdicts | None = None

    @property
    def verdicts(self) -> Verdicts:
        """Of the frame's rows; a part that is done is read only when a later stage has to know."""
        if self._verdicts is None:
            # Rows that the source no longer has go along, so that a part's work stays what it was; `outcome`
            # leaves them out.
            self._verdicts = Verdicts.of(np.ones(len(self.frame), bool))
        return self._verdicts

    def pass_barrier(self, index: int) -> None:
        """Ends the rows that a decision over all parts dropped; does nothing where a stage waits for none."""
        if index in self.survivors:
            ids = pa.array(list(self.survivors[index]), pa.string())
            self.verdicts.alive &= pc.is_in(self.frame.ids, value_set=ids).to_numpy(zero_copy_only=False)

    def key(self, index: int, table: StageTable) -> str:
        """Key of a stage's work on this part: what it is made of and, where that says which rows, the rows alive."""
        facts = self.trail.leads_to(table)
        some_dropped = self._verdicts is not None and not self._verdicts.alive.all()
        if _asks_who_is_alive(table) and (index in self.survivors or some_dropped):
            facts.append(self.frame.ids.filter(pa.array(self.verdicts.alive)).to_pylist())
        return digest(self.plan.stage_keys[index - 1], *facts)

    def made(self, index: int, table: StageTable, manifest: dict[str, Any], read: Read | None = None) -> None:
        """Goes on with the rows that a generator made; `read` where they are at hand."""
        self.frame = Frame(self.plan.schema(index), read or self._reader(index), self.frame)
        self.trail.passes(table, manifest)
        self.makers.append((index, manifest))
        self._verdicts, self.decided = None, True

    def judged(self, index: int, table: StageTable, scored: pa.Table | None) -> None:
        """Ends the rows that a filter drops; one that needs all parts decides later, and so do those after it."""
        self.decided = self.decided and not is_global(table.stage)
        settle(table, index, self.frame, self.verdicts, scored, decides=self.decided)

    def _reader(self, index: int) -> Read:
        return lambda names: read_part(self.plan.folder(index), self.part, names)


def is_done(plan: Plan, part: int, survivors: Mapping[int, Collection[str]], until: int) -> bool:
    """Whether a walk of this part to stage `until` (exclusive) would find all work done, of what comes in now.

    Reads manifests alone, and scores where dropped rows matter to a later stage.
    """
    course, stages = Course(plan, part, survivors), plan.recipe.stages[: until - 1]
    asking = max((i for i, table in enumerate(stages, 1) if _asks_who_is_alive(table)), default=0)
    for index, table in enumerate(stages, 1):
        course.pass_barrier(index)
        works = not table.is_filter or scores(table.stage)
        manifest = read_manifest(plan.folder(index), part) if works else None
        if works and (manifest is None or manifest.get("key") != course.key(index, table)):
            return False
        if not table.is_filter:
            course.made(index, table, manifest)
            continue
        if works:
            course.trail.passes(table, manifest)
        if index < asking:
            course.judged(index, table, read_part(plan.folder(index), part) if works else None)
    return True


def ends_at(
    stages: Sequence[StageTable], keys: Mapping[str, str], folder: Callable[[int], Path], part: int
) -> int | None:
    """The first stage whose work on a part is missing or was made of something else than lies before it now.

    Which rows were alive isn't asked: thresholds may have changed since. Reads manifests alone.

    Args:
        stages: the recipe's.
        keys: stage id to `stage_key`, as far as they are known.
        folder: of a stage by number, 0 is the source.
        part: its number.

    Returns:
        The stage's number, counted from 1; None where everything is there.
    """
    trail = Trail([(read_manifest(folder(0), part) or {}).get("content", "")])
    for index, table in enumerate(stages, 1):
        if table.is_filter and not scores(table.stage):
            continue
        manifest = read_manifest(folder(index), part)
        if manifest is None:
            return index
        # Manifests of earlier versions don't say what they are made of: that a build was finished has to do.
        contents, scored = manifest.get("made_of", (trail.contents, ()))
        known = manifest.get("stage_key")
        if (
            contents != trail.contents
            or not {*trail.scored.values()}.issuperset(scored)
            or keys.get(table.id, known) != known
        ):
            return index
        trail.passes(table, manifest)
    return None


def _asks_who_is_alive(table: StageTable) -> bool:
    """Whether a stage works on those rows alone that no filter has dropped."""
    return not table.is_filter or table.stage.survivors_only


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
