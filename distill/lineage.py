"""Where rows come from: whose they are, who made, scored and filtered them, under which licence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck import sources
from limbeck.errors import BuildNotFound
from limbeck.paths import beside
from limbeck.sources import pair_datasets
from limbeck.store import read_manifest

if TYPE_CHECKING:
    from limbeck.built import Build
    from limbeck.recipe import SourceTable


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


def of_build(build: Build, until: str | None = None) -> Lineage:
    """Lineage of a build's kept rows, or of those of the stage `until`; what its own source brought along included."""
    from limbeck.stage import models_of

    recipe = build.recipe
    below = of_source(recipe.source, recipe.folder, _source_columns(build))
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


def of_source(source: SourceTable, folder: Path, columns: Collection[str]) -> Lineage:
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
            found = of_build(open_build(beside(folder, source.build)), source.stage)
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
