"""The rows that a student learns from, wherever they come from: one table on disk that any row can be read from.

    a build (`source.build`)     its published rows, data/SPLIT-*.parquet, with their splits; `also` names more builds
    any other source             rows as `limbeck.sources` gives them; a storybook scene without a picture is drawn

Rows are copied once into an Arrow file that is memory-mapped: reading row 7 of a million takes no memory, and worker
processes share it. Each row keeps a digest of what the student reads of it, by which a teacher's cache knows that a
row has changed though its id hasn't.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray

from distill.processes import one_at_a_time
from limbeck import sources
from limbeck.errors import BuildNotFound, RequestError, SourceError, did_you_mean
from limbeck.paths import beside
from limbeck.records import COLUMNS, is_image
from limbeck.sources import pair_datasets
from limbeck.stage import Drop
from limbeck.store import disk_errors, read_manifest, write_file

if TYPE_CHECKING:
    from distill.progress import Watcher
    from distill.recipe import DistillRecipe
    from limbeck.built import Build
    from limbeck.recipe import SourceTable

_BATCH_ROWS = 500
_OWN = (pa.field("id", pa.string()), pa.field("split", pa.string()), pa.field("_digest", pa.binary(8)))


@dataclass(frozen=True)
class Lineage:
    """Where rows come from.

    Attributes:
        name: of the dataset (its id on the Hub, where it comes from there), or a word for the source.
        record: what its rows are, or empty.
        license: it is given out under.
        models: every model that made, scored or filtered its rows: id to the stages that used it.
        filters: of those, the ids of models that filtered.
        digest: of the dataset's recipe, or empty.
        hub: whether `name` is an id on the Hub.
    """

    name: str
    record: str = ""
    license: str = ""
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    digest: str = ""
    hub: bool = False


class Dataset:
    """Rows by position.

    Attributes:
        ids: of all rows, in order.
        digests: (N,) bytes, of what the student reads of each row.
        splits: split to the positions of its rows.
        lineage: where the rows come from.
        place: folder beside whose rows a teacher's cache lies.
        columns: that were found.
    """

    def __init__(self, path: Path, lineage: Lineage, place: Path) -> None:
        """Maps an Arrow file that `open_dataset` wrote."""
        self.path, self.lineage, self.place = path, lineage, place
        self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        self.ids: list[str] = self._table["id"].to_pylist()
        self.digests: list[bytes] = self._table["_digest"].to_pylist()
        names = self._table["split"].to_pylist()
        self.splits: dict[str, NDArray[np.int64]] = {
            split: np.flatnonzero(np.array(names) == split) for split in dict.fromkeys(names)
        }
        self.columns = tuple(n for n in self._table.schema.names if n not in ("_digest",))
        self._read = {name: self._table[name] for name in self.columns}
        self._at = {row_id: i for i, row_id in enumerate(self.ids)}

    @cached_property
    def groups(self) -> list[str]:
        """Of all rows, see `group_of`."""
        own = self.values("group") if "group" in self.columns else itertools.repeat(None)
        return [group_of({"id": row_id, "group": group}) for row_id, group in zip(self.ids, own, strict=False)]

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, position: int) -> dict[str, Any]:
        """A row as a dict, pictures as encoded bytes."""
        return next(self.walk([position]))

    def rows(self, positions: Sequence[int] | NDArray[np.int64]) -> list[dict[str, Any]]:
        """Rows by their positions."""
        return list(self.walk(positions))

    def walk(
        self, positions: Sequence[int] | NDArray[np.int64], columns: Sequence[str] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Rows by their positions, one after the other; of some columns, where the dataset has them, or of all."""
        wanted = self._read if columns is None else {c: self._read[c] for c in columns if c in self._read}
        for position in positions:
            yield {name: column[int(position)].as_py() for name, column in wanted.items()}

    def values(self, column: str) -> Iterator[Any]:
        """Every row's value of one column, in order."""
        for chunk in self._table[column].chunks:
            yield from chunk.to_pylist()

    def at(self, row_id: str) -> int:
        """Position of a row."""
        return self._at[row_id]

    @property
    def digest(self) -> str:
        """Changes with any row."""
        found = hashlib.blake2b(digest_size=16)
        for row_id, digest in zip(self.ids, self.digests, strict=True):
            found.update(row_id.encode() + b"\x1f" + digest)
        return found.hexdigest()


def group_of(row: Mapping[str, Any]) -> str:
    """What a row is never parted from, in splits and in resampling: its group, else the source row it was made from.

    Builds that were read together tell their rows apart by a name and `@`; what they made of one scene stays together.

    >>> group_of({"id": "9f3c/0/1", "group": None}), group_of({"id": "9f3c/0/1", "group": "a session"})
    ('9f3c', 'a session')
    >>> group_of({"id": "descriptions@9f3c/0"})
    '9f3c'
    """
    return str(row.get("group") or row["id"].rpartition("@")[2].partition("/")[0])


def contents(dataset: Dataset, positions: Sequence[int] | NDArray[np.int64]) -> list[tuple[str, str]]:
    """Ids and digests of rows, as JSON: what has to be in the key of anything that is kept of them."""
    return [(dataset.ids[p], dataset.digests[p].hex()) for p in positions]


def open_dataset(recipe: DistillRecipe, out: Path, watcher: Watcher | None = None) -> Dataset:
    """Opens the rows of a recipe, copying or drawing them first where that isn't done yet.

    Args:
        recipe: whose rows.
        out: folder of the distillation; the Arrow file lies in `out/rows`.
        watcher: is told how far it is.

    Raises:
        RequestError: the dataset hasn't the columns that the student reads.
        SourceError: the source can't be read.
        BuildNotFound: the build isn't there or isn't finished.
    """
    reader = _reader(recipe)
    wanted = recipe.student.reads
    for part, want in ((part, want) for part in getattr(reader, "parts", (reader,)) for want in wanted):
        if want.name not in part.have:
            raise RequestError(
                f"{part.named} has no column {want.name!r}, which the student {recipe.student.name!r} reads"
                + (f"; its rows are {part.lineage.record}" if part.lineage.record else ""),
                expected=f"rows with {', '.join(f.name for f in wanted)}",
                where=f"source.{recipe.source.kind}",
                remedy=did_you_mean(want.name, part.have),
            )
    fields = [*wanted, *(f for f in recipe.student.reads_if_there if f.name in reader.have)]
    fields += [COLUMNS["group"]] if "group" in reader.have and all(f.name != "group" for f in fields) else []
    facts = [reader.key, *(f"{f.name}:{f.type}" for f in fields)]
    path = out / "rows" / f"{hashlib.blake2b(orjson.dumps(facts), digest_size=8).hexdigest()}.arrow"
    with one_at_a_time(path.parent, "rows"), disk_errors(out):
        if not path.is_file():
            _write(path, reader, fields, watcher)
    return Dataset(path, reader.lineage, reader.place or out)


def _reader(recipe: DistillRecipe) -> _Built | _Several | _Sourced:
    source = recipe.source
    if source.build is None or source.stage:
        return _Sourced(recipe)
    if source.also:
        return _Several(recipe)
    return _Built(beside(recipe.folder, source.build), source.limit)


def _write(path: Path, reader: _Built | _Several | _Sourced, fields: list[pa.Field], watcher: Watcher | None) -> None:
    """Copies rows into an Arrow file, aside and then renamed."""
    names = [f.name for f in fields if f.name not in ("id", "split")]
    schema = pa.schema([*_OWN, *(pa.field(n, next(f.type for f in fields if f.name == n)) for n in names)])
    aside, waiting, done = path.with_suffix(".tmp"), [], 0
    known: set[str] = set()
    lost = Counter[str]()
    if watcher:
        watcher.started("rows", reader.count, "rows")
    with pa.OSFile(str(aside), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:

        def flush() -> None:
            writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema=schema))
            waiting.clear()

        for row in reader.rows(names):
            if row["id"] in known:
                lost["an id that another row has"] += 1
                continue
            known.add(row["id"])
            kept = {name: row.get(name) for name in names}
            waiting.append({"id": row["id"], "split": row["split"], "_digest": _row_digest(kept), **kept})
            done += 1
            if len(waiting) == _BATCH_ROWS:
                flush()
                if watcher:
                    watcher.advanced("rows", done)
        if waiting:
            flush()
    lost += getattr(reader, "lost", Counter())
    told = ", ".join(f"{reason} {n}" for reason, n in lost.most_common())
    if not done:
        raise SourceError(
            f"there are no rows that can be used ({told})" if lost else "there are no rows", where=reader.lineage.name
        )
    if watcher:
        watcher.advanced("rows", done)
        watcher.finished("rows")
        if lost:
            watcher.note(f"{lost.total():,} rows of {reader.lineage.name} can't be used: {told}")
    aside.replace(path)


def _row_digest(row: dict[str, Any]) -> bytes:
    """Eight bytes that change with anything in a row.

    >>> _row_digest({"a": b"x"}) == _row_digest({"a": b"y"})
    False
    """
    plain = orjson.dumps(
        row, option=orjson.OPT_SORT_KEYS, default=lambda v: hashlib.blake2b(v, digest_size=16).hexdigest()
    )
    return hashlib.blake2b(plain, digest_size=8).digest()


class _Built:
    """Rows of a finished build, as published."""

    def __init__(self, place: Path, limit: int | None) -> None:
        from limbeck.built import open_build
        from limbeck.published_rows import Published

        self.place = place
        build = open_build(self.place)
        self._published = Published(self.place)
        self.have = tuple(self._published.schema.names)
        self.sizes = {split: self._published.count(split) for split in self._published.splits}
        self.count = sum(self.sizes.values())
        self._limit = limit
        self.lineage = _of_build(build)
        self.named = f"the build {self.lineage.name!r}"
        # what a build published is named by its files: a refilter writes them anew
        self.key = [
            [f.name, f.stat().st_size, f.stat().st_mtime_ns] for s in self._published.splits.values() for f in s
        ]
        self.key = [*self.key, self._limit]

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows with their published split."""
        for split, most in _limited(self.sizes, self._limit).items():
            for row in itertools.islice(self.of_split(split, names), most):
                yield row | {"split": split}

    def of_split(self, split: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows of a split; a column that isn't there is None."""
        return self._published.rows(split, ["id", *names]) if split in self.sizes else iter(())


def _limited(sizes: Mapping[str, int], limit: int | None) -> dict[str, int]:
    """Rows to take of each split: all of them, or shares of a limit by the splits' sizes, one at least.

    >>> _limited({"train": 900, "validation": 50, "test": 50}, 100), _limited({"train": 900, "test": 2}, 100)
    ({'train': 90, 'validation': 5, 'test': 5}, {'train': 100, 'test': 1})
    """
    total = sum(sizes.values())
    if limit is None or limit >= total:
        return dict(sizes)
    ends = [round(limit * upto / total) for upto in itertools.accumulate(sizes.values())]
    return {name: max(1, end - start) for name, start, end in zip(sizes, [0, *ends], ends, strict=False)}


class _Several:
    """Rows of several builds; in each split they alternate, so that the first thousand hold some of each."""

    def __init__(self, recipe: DistillRecipe) -> None:
        places = (recipe.source.build, *recipe.source.also)
        self.parts = tuple(_Built(beside(recipe.folder, place), None) for place in places)
        self.place = None  # no build's folder is that of all
        self.have = tuple(dict.fromkeys(name for part in self.parts for name in part.have))
        self.count = sum(part.count for part in self.parts)
        self._limit = recipe.source.limit
        self.key = ["builds", [[part.lineage.name, part.key] for part in self.parts], self._limit]
        each = [part.lineage for part in self.parts]
        made: dict[str, tuple[str, ...]] = {}
        for lineage in each:
            for model, stages in lineage.models.items():
                made[model] = (*made.get(model, ()), *stages)
        self.lineage = Lineage(
            " and ".join(lineage.name for lineage in each),
            " and ".join(dict.fromkeys(lineage.record for lineage in each)),
            ", ".join(dict.fromkeys(lineage.license for lineage in each)),
            {model: tuple(dict.fromkeys(stages)) for model, stages in made.items()},
            tuple(dict.fromkeys(name for lineage in each for name in lineage.filters)),
            " ".join(lineage.digest for lineage in each),
        )

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows with their published split, their ids made distinct by `@` and their dataset's name in front."""
        sizes = Counter[str]()
        for part in self.parts:
            sizes.update(part.sizes)
        for split, most in _limited(sizes, self._limit).items():
            for row in itertools.islice(self._in_turn(split, names), most):
                yield row | {"split": split}

    def _in_turn(self, split: str, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        called = _distinct([part.lineage.name for part in self.parts])
        waiting = [(name, part.of_split(split, names)) for name, part in zip(called, self.parts, strict=True)]
        while waiting:
            for name, rows in tuple(waiting):
                row = next(rows, None)
                if row is None:
                    waiting.remove((name, rows))
                else:
                    yield row | {"id": f"{name}@{row['id']}"}


def _distinct(names: Sequence[str]) -> list[str]:
    """Names, those that came before with a number.

    >>> _distinct(["pairs", "scenes", "pairs"])
    ['pairs', 'scenes', 'pairs-2']
    """
    seen = Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


class _Sourced:
    """Rows of any other source, by `limbeck.sources`; scenes are drawn."""

    place = None

    def __init__(self, recipe: DistillRecipe) -> None:
        self._recipe, source = recipe, recipe.source
        try:
            fields = sources.fields(source, recipe.folder)
        except SourceError as error:
            error.where = error.where or f"source.{source.kind}"
            raise
        have = {f.name for f in fields}
        self._draws = "scene" in have and not any(is_image(f) for f in fields)
        self.have = (*have, "id", *(["image"] if self._draws else []))
        known = source.storybook.get("rows") if source.storybook is not None else source.limit
        self.count = known if isinstance(known, int) else None
        self.lineage = _of_source(source, recipe.folder, have)
        self.named = self.lineage.name
        self.lost: Counter[str] = Counter()  # by reason
        self.key = ["source", source.model_dump(mode="json"), recipe.distill.seed, str(recipe.folder)]
        self.key += _files(source, recipe.folder)

    def rows(self, names: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Usable rows; `split` is the source's own, else nine in ten train and the rest test, by group."""
        from limbeck import seeds

        for row in sources.rows(self._recipe.source, self._recipe.folder, self._recipe.distill.seed):
            if isinstance(row, Drop):
                self.lost[row.reason] += 1
                continue
            if self._draws and "image" in names:
                row["image"] = _drawn(row["scene"])
            if not row.get("split"):
                row["split"] = "train" if seeds.unit("split", str(row.get("group") or row["id"])) < 0.9 else "test"
            yield row


def _files(source: SourceTable, folder: Path) -> list[list[Any]]:
    """Names, sizes and times of the files that a source's rows come from; none of rows from the Hub."""
    named = getattr(source, source.kind)
    found = []
    for path in named.values() if isinstance(named, Mapping) else (named,):
        place = beside(folder, path) if isinstance(path, str) else None
        if place is None or not place.exists():
            continue
        inside = place / "stages" if source.kind == "build" else place  # a teacher's answers lie there too
        for file in [inside] if inside.is_file() else sorted(p for p in inside.rglob("*") if p.is_file()):
            found.append([file.relative_to(place.parent).as_posix(), file.stat().st_size, file.stat().st_mtime_ns])
    return found


def _of_build(build: Build, until: str | None = None) -> Lineage:
    """Lineage of a build's kept rows, or of those of the stage `until`; what its own source brought along included."""
    from limbeck.stage import models_of

    recipe = build.recipe
    below = _of_source(recipe.source, recipe.folder, _source_columns(build))
    made, filters = dict(below.models), list(below.filters)
    for table in recipe.stages:
        for name, _ in models_of(table.stage).values():
            model = recipe.models[name].called
            made[model] = (*made.get(model, ()), table.id)
            filters += [model] if table.is_filter else []
        if table.id == until:
            break
    dataset = recipe.dataset
    return Lineage(dataset.name, dataset.record, dataset.license, made, tuple(dict.fromkeys(filters)), recipe.digest())


def _source_columns(build: Build) -> Collection[str]:
    """Columns of the rows that a build began with, though their source may be gone."""
    manifest = read_manifest(build.folder(0), build.parts[0]) if build.parts else None
    return (manifest or {}).get("columns", ())


def _of_source(source: SourceTable, folder: Path, columns: Collection[str]) -> Lineage:
    """Lineage of a source's rows; of a build that isn't there any more nothing is known.

    Args:
        source: any `[source]`.
        folder: what relative paths are relative to.
        columns: canonical ones that its rows have.
    """
    from limbeck.built import open_build

    license = sources.stated_license(source)
    if source.kind == "build":
        try:
            found = _of_build(open_build(beside(folder, source.build)), source.stage)
        except BuildNotFound:
            return Lineage("the build source", license=license)
        return replace(found, license=license or found.license)
    if source.kind not in ("dataset", "pairs"):
        return Lineage(f"the {source.kind} source", license=license)
    place = getattr(source, source.kind)
    hub = not beside(folder, place).exists()
    preset, filters = pair_datasets.filters(source, columns) if source.kind == "pairs" else ("", ())
    return Lineage(
        place if hub else f"the {source.kind} source",
        license=license,
        models=dict.fromkeys(filters, (f"filter of {preset}",)),
        filters=filters,
        hub=hub,
    )


def _drawn(scene: str) -> bytes:
    """The picture of a scene, as PNG."""
    from limbeck.pictures import png
    from limbeck.storybook import Scene, render

    return png(render(Scene.from_json(scene)).image)


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, aside and then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    write_file(path, orjson.dumps(value, option=options) + b"\n")
