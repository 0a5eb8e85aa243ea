"""A build on disk: its rows, verdicts, funnel, costs, and where each row comes from."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from limbeck import store
from limbeck.errors import BuildNotFound, did_you_mean
from limbeck.journal import Journal, Spent
from limbeck.outcome import Count, Outcome, evaluate
from limbeck.plan import FOLDER, LEASES, SOURCE, ends_at, stage_folder
from limbeck.publish import part_frame, published_fields
from limbeck.recipe import Recipe
from limbeck.stage import Row


def open_build(path: str | Path) -> Build:
    """Opens a build.

    Raises:
        BuildNotFound: the folder holds none.
    """
    return Build(Path(path))


def recipe_folder(build: Path) -> Path:
    """Where relative paths of a build's recipe begin: its recipe's folder, or, moved elsewhere, the build's own."""
    known = build / LEASES / FOLDER
    return Path(known.read_text(encoding="utf-8")) if known.is_file() else build


class Build:
    """A finished or partial build.

    Attributes:
        path: its folder.
        lock: what it was made with, and its result once it is finished.
    """

    def __init__(self, out: Path, recipe: Recipe | None = None) -> None:
        """Reads `lock.json`; the rest when asked for."""
        self.path = Path(out)
        try:
            self.lock: dict[str, Any] = orjson.loads((self.path / "lock.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            remedy = ""
            if self.path.suffix == ".toml" and self.path.is_file():
                remedy = "a recipe's build lies in builds/NAME, or where `limbeck run --out` said"
            raise BuildNotFound(
                f"{out} holds no build", expected="a folder that `limbeck run` wrote", remedy=remedy
            ) from None
        if recipe is not None:
            self.recipe = recipe

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe; its source and models need not be there any more."""
        from limbeck.recipe_check import checked

        tables = tomllib.loads((self.path / "recipe.toml").read_text(encoding="utf-8"))
        return checked(tables, folder=recipe_folder(self.path), origin=str(self.path / "recipe.toml"), again=True)

    @property
    def parts(self) -> list[int]:
        """Numbers of its parts."""
        return self.lock["parts"]

    @cached_property
    def inactive(self) -> frozenset[str]:
        """Source ids that the source no longer has."""
        ledger = self.folder(0) / "ledger.json"
        return frozenset(orjson.loads(ledger.read_bytes())["inactive"]) if ledger.is_file() else frozenset()

    @property
    def finished(self) -> bool:
        """Whether `data/` is there."""
        return "result" in self.lock and (self.path / "data").is_dir()

    def check_finished(self) -> None:
        """For those who take it as a whole.

        Raises:
            BuildNotFound: it isn't finished; an interrupted run may have left parts of two builds.
        """
        if not self.finished:
            raise BuildNotFound(
                "this build isn't finished, so its parts may be those of two builds", expected="a finished build",
                where=str(self.path), remedy=f"finish it first: limbeck run RECIPE --out {self.path}",
            )  # fmt: skip

    @property
    def partial(self) -> bool:
        """Whether parts are still to do."""
        return not self.finished

    def folder(self, stage: int) -> Path:
        """Folder of a stage's parts: 0 is the source, 1 the recipe's first."""
        return stage_folder(self.path, stage, SOURCE if stage == 0 else self.recipe.stages[stage - 1].id)

    def lease(self, name: str) -> FileLock:
        """A lock between processes."""
        (self.path / LEASES).mkdir(exist_ok=True)
        return FileLock(self.path / LEASES / f"{name}.lock", thread_local=False)

    @cached_property
    def outcome(self) -> Outcome:
        """What became of every row, decided from the stored scores.

        Raises:
            BuildNotFound: parts are missing.
        """
        return evaluate(self.recipe.stages, self.folder, self.parts, self.inactive)

    def funnel(self) -> list[Count]:
        """Rows in, kept, dropped and failed by stage, with reasons; the source first."""
        if "result" in self.lock:
            return [Count(**count) for count in self.lock["result"]["funnel"]]
        return self.outcome.funnel()

    def verdicts(self) -> pa.Table:
        """Every row that was kept or ended: id, source_id, verdict, stage, reason, reasons, detail."""
        path = self.path / "stages" / "verdicts.parquet"
        return pq.read_table(path) if path.is_file() else self.outcome.verdicts()

    def splits(self) -> dict[str, int]:
        """Kept rows by split."""
        return dict(self.lock.get("result", {}).get("splits", {}))

    @cached_property
    def ends(self) -> dict[int, int | None]:
        """Of every part the stage at which it stands, counted from 1; None where it is through. See `plan.ends_at`."""
        keys = {name: facts["key"] for name, facts in self.lock.get("stages", {}).items()}
        return {part: ends_at(self.recipe.stages, keys, self.folder, part) for part in self.parts}

    def progress(self) -> dict[str, tuple[int, int]]:
        """Parts done and in all, by stage that computes something."""
        return {
            table.id: (sum(end is None or end > i for end in self.ends.values()), len(self.parts))
            for i, table in enumerate(self.recipe.stages, 1)
            if not table.is_filter or self.folder(i).is_dir()
        }

    def spent(self) -> dict[str, Spent]:
        """Tokens and money by stage, over all runs: counted from the journal, so nothing is counted twice."""
        return dict(Journal(self.path / "journal").spent)

    def counters(self) -> dict[str, dict[str, float]]:
        """What the stages counted, and `seconds`, by stage."""
        found: dict[str, dict[str, float]] = {}
        for i, table in enumerate(self.recipe.stages, 1):
            sums: dict[str, float] = {}
            for part in self.parts:
                manifest = store.read_manifest(self.folder(i), part)
                for name, amount in (
                    {**manifest["counters"], "seconds": manifest["seconds"]} if manifest else {}
                ).items():
                    sums[name] = sums.get(name, 0) + amount
            found[table.id] = sums
        return found

    def fields(self, stage: str | None = None) -> list[pa.Field]:
        """Columns of `rows`: the published ones, or all up to a stage."""
        stages = self.recipe.stages[: self._upto(stage)]
        frame = part_frame(stages, self.folder, self.parts[0])
        return published_fields(self.recipe, frame) if stage is None else frame.fields()

    def rows(
        self, stage: str | None = None, *, columns: Sequence[str] | None = None, verdict: str = "kept"
    ) -> Iterator[Row]:
        """Rows as dicts, pictures as encoded bytes, in the order of the source.

        Args:
            stage: rows as they come out of this stage; the end of the line by default.
            columns: which columns; by default all published ones, or all up to the stage.
            verdict: `kept` for rows that go on there, `all` for every row that was made; each then says `verdict`,
                `ended_by` and `reasons` itself.
        """
        upto = self._upto(stage)
        stages = self.recipe.stages[:upto]
        whole = upto == len(self.recipe.stages)
        outcome = self.outcome if whole else evaluate(stages, self.folder, self.parts, self.inactive)
        names = list(columns) if columns is not None else [f.name for f in self.fields(stage)]
        verdicts, start = outcome.last.verdicts, 0
        for part in self.parts:
            frame = part_frame(stages, self.folder, part)
            here = slice(start, start + len(frame))
            start += len(frame)
            ended_by = verdicts.ended_by[here]
            where = np.flatnonzero(
                verdicts.alive[here] if verdict == "kept" else verdicts.alive[here] | (ended_by >= 0)
            )
            for position, row in zip(where, frame.rows(names, where), strict=True):
                if verdict != "kept":
                    row["ended_by"] = None if ended_by[position] < 0 else outcome.name(int(ended_by[position]))
                    row["reasons"] = [r for r, mask in verdicts.reasons.items() if mask[here][position]]
                    failed = verdicts.failed[here][position]
                    row["verdict"] = "kept" if row["ended_by"] is None else "failed" if failed else "dropped"
                yield row

    def lineage(self, row_id: str) -> list[dict[str, Any]]:
        """A row's way: for every stage that made an ancestor of it, the columns it wrote; the verdict last.

        Of a build that isn't finished the way ends where its part has come, without a verdict.

        Raises:
            BuildNotFound: no such row.
        """
        ancestors = ["/".join(row_id.split("/")[: n + 1]) for n in range(row_id.count("/") + 1)]
        part = self._part_of(ancestors[0])
        steps: list[dict[str, Any]] = []
        for i in range(len(self.recipe.stages) + 1):
            folder = self.folder(i)
            if store.read_manifest(folder, part) is None:
                continue
            table = store.read_part(folder, part)
            found = table.filter(pc.is_in(table["id"], value_set=pa.array(ancestors))).to_pylist()
            name = SOURCE if i == 0 else self.recipe.stages[i - 1].id
            steps += ({"stage": name, **{k: v for k, v in row.items() if v is not None}} for row in found)
        if not any(step["id"] == row_id for step in steps):
            raise BuildNotFound(f"no row {row_id!r} in part {part}", where=str(self.path))
        if self.finished:
            verdicts = self.verdicts()
            for row in verdicts.filter(pc.equal(verdicts["id"], row_id)).to_pylist():
                steps.append({"stage": "verdict", **{k: v for k, v in row.items() if v not in (None, [])}})
        return steps

    def made_of(self, row_id: str) -> list[dict[str, Any]]:
        """Verdicts on the rows that were made of a row, as `verdicts` has them; none before the build is finished."""
        if not self.finished:
            return []
        verdicts = self.verdicts()
        return verdicts.filter(pc.starts_with(verdicts["id"], f"{row_id}/")).to_pylist()

    def _part_of(self, source_id: str) -> int:
        known = []
        for part in self.parts:
            ids = store.read_manifest(self.folder(0), part)["ids"]
            if source_id in ids:
                return part
            known += ids
        raise BuildNotFound(
            f"no source row {source_id!r}", where=str(self.path), remedy=did_you_mean(source_id, known[:5000])
        )

    def _upto(self, stage: str | None) -> int:
        names = [table.id for table in self.recipe.stages]
        if stage is None:
            return len(names)
        if stage == SOURCE:
            return 0
        if stage not in names:
            raise BuildNotFound(
                f"no stage {stage!r}", where=str(self.path), remedy=did_you_mean(stage, (SOURCE, *names))
            )
        return names.index(stage) + 1
