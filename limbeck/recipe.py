"""A recipe: TOML in, checked settings out; every problem at once, each with its key.

    recipe = load("recipes/storybook_edits.toml", sets=["pairs.samples=8", "run.max_error_rate=0.1"])

The tables are pydantic models that refuse unknown keys; a `[[stages]]` table is checked by the fields of its stage.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from limbeck.errors import did_you_mean
from limbeck.models.spec import ModelSpec
from limbeck.records import RECORDS, SPLIT_NAME, Record
from limbeck.schema import StageTable
from limbeck.stage import settings_of

_STRICT = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class DatasetTable(BaseModel):
    """`[dataset]`: what is made.

    Attributes:
        name: of the dataset, as on the Hub.
        record: which columns its rows have, see `limbeck.records`.
        seed: all randomness comes from it.
        license: SPDX identifier in lower case, as the Hub's cards have it; `other` with a `license_name`.
        license_name: name of a licence that the Hub doesn't know.
        license_link: where its text is.
        title: for people; by default made from the name.
        description: for the card.
        languages: of the texts.
        tags: for the card.
        currency: of the models' prices.
        splits: share of the source groups in each split; a source row's own `split` goes first.
        keep_rejected: whose pictures stay beside the kept rows': all, one in twenty, or nobody's; a filter of pictures that
            is added or changed later has those that are gone made again.
    """

    model_config = _STRICT

    name: str
    record: str = "EditPair"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    license: str = "other"
    license_name: str | None = None
    license_link: str | None = None
    title: str = ""
    description: str = ""
    languages: tuple[str, ...] = ("en",)
    tags: tuple[str, ...] = ()
    currency: str = "USD"
    splits: dict[str, Annotated[float, Field(gt=0, le=1)]] = {"train": 1.0}
    keep_rejected: Literal["all", "sample", "none"] = "all"

    @field_validator("name")
    @classmethod
    def _as_on_the_hub(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", name):
            raise ValueError("expected at most 96 letters, digits, '.', '_' and '-', a letter or digit first")
        return name

    @field_validator("record")
    @classmethod
    def _known(cls, record: str) -> str:
        if record not in RECORDS:
            raise ValueError(f"no record of that name; {did_you_mean(record, RECORDS)}")
        return record

    @field_validator("splits")
    @classmethod
    def _whole(cls, splits: dict[str, float]) -> dict[str, float]:
        if abs(sum(splits.values()) - 1) > 1e-6:
            raise ValueError(f"the shares add up to {sum(splits.values()):g}; expected 1")
        if wrong := [name for name in splits if not SPLIT_NAME.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} can't be a split's name; expected letters, digits and _")
        return splits


class SourceTable(BaseModel):
    """`[source]`: what the rows start from; exactly one of the first seven.

    Attributes:
        storybook: scenes of the built-in picture book: `{ rows = 500, ... }`.
        captions: a JSONL, CSV, Parquet or text file of captions.
        images: a folder of pictures with `metadata.jsonl`, `metadata.csv`, or a `.txt` beside each.
        dataset: a name or path for `datasets.load_dataset`.
        build: the folder of another build.
        pairs: existing edit pairs, as Parquet files, a folder or a `datasets` name: for filters and reports alone.
        coco: COCO-style annotations: `{ images = "val2017/", captions = "...json", instances = "...json" }`.
        stage: of another build, the stage whose rows are taken; its kept rows by default.
        config: configuration of a `datasets` name.
        split: split of a `datasets` name.
        revision: revision of a `datasets` name.
        preset: column names of well-known pair datasets; `auto` finds out.
        columns: canonical column = column of the source, where they differ.
        id_column: column that identifies a row; by default its content does.
        license: licence of the rows that don't state one themselves.
        max_chars: longer captions are dropped.
        max_pixels: larger pictures are dropped unopened.
        limit: at most so many rows.
    """

    model_config = _STRICT

    storybook: dict[str, Any] | None = None
    captions: str | None = None
    images: str | None = None
    dataset: str | None = None
    build: str | None = None
    pairs: str | None = None
    coco: dict[str, Any] | None = None
    stage: str | None = None
    config: str | None = None
    split: str | None = None
    revision: str | None = None
    preset: Literal["auto", "instructpix2pix", "magicbrush", "ultraedit", "omniedit"] = "auto"
    columns: dict[str, str] = {}
    id_column: str | None = None
    license: str | None = None
    max_chars: Annotated[int, Field(gt=0)] = 2000
    max_pixels: Annotated[int, Field(gt=0)] = 64_000_000
    limit: Annotated[int, Field(gt=0)] | None = None

    @property
    def kind(self) -> str:
        """Which of the kinds of source it is."""
        return next(kind for kind in SOURCE_KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _exactly_one(self) -> SourceTable:
        given = [kind for kind in SOURCE_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"expected exactly one of {', '.join(SOURCE_KINDS)}; found {found}")
        return self


SOURCE_KINDS = ("storybook", "captions", "images", "dataset", "build", "pairs", "coco")


class RunTable(BaseModel):
    """`[run]`: how it is made; nothing here changes what a row becomes.

    Attributes:
        devices: `auto`, or names of torch devices, one worker process each.
        max_error_rate: share of a stage's rows that may fail before the build stops.
        part_rows: source rows in a new part, the unit of resuming and sharing.
        parts_in_flight: parts under way at once in a process; None chooses by the endpoints' concurrency.
    """

    model_config = _STRICT

    devices: Literal["auto"] | tuple[str, ...] = "auto"
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.02
    part_rows: Annotated[int, Field(gt=0)] = 64
    parts_in_flight: Annotated[int, Field(gt=0)] | None = None


@dataclass(frozen=True)
class Recipe:
    """A checked recipe.

    Attributes:
        folder: what relative paths are relative to.
        origin: the file it came from, or a word for it.
    """

    dataset: DatasetTable
    source: SourceTable
    models: Mapping[str, ModelSpec]
    stages: tuple[StageTable, ...]
    run: RunTable = field(default_factory=RunTable)
    folder: Path = field(default_factory=Path.cwd)
    origin: str = "recipe"

    @property
    def record(self) -> Record:
        """What its rows are."""
        return RECORDS[self.dataset.record]

    def stage(self, stage_id: str) -> StageTable:
        """The stage of that id."""
        return next(table for table in self.stages if table.id == stage_id)

    def tables(self) -> dict[str, Any]:
        """The recipe as TOML tables, with every default written out."""
        from limbeck.recipe_tables import without_none

        stages = []
        for table in self.stages:
            own = settings_of(table.stage)
            entry = {"id": table.id, "use": table.use, **own}
            if table.by:
                entry["by"] = {
                    column: {value: _changed(settings_of(stage), own) for value, stage in values.items()}
                    for column, values in table.by.items()
                }
            stages.append(entry)
        whole = {
            "dataset": self.dataset.model_dump(mode="json"),
            "source": self.source.model_dump(mode="json", exclude_defaults=True),
            "models": {name: spec.model_dump(mode="json", exclude_defaults=True) for name, spec in self.models.items()},
            "stages": stages,
            "run": self.run.model_dump(mode="json"),
        }
        return without_none(whole)

    def toml(self) -> str:
        """The recipe as TOML, with every default written out."""
        return tomli_w.dumps(self.tables(), multiline_strings=True)

    def digest(self) -> str:
        """Changes with anything that changes the dataset; `[run]` doesn't."""
        tables = {key: value for key, value in self.tables().items() if key != "run"}
        return hashlib.blake2b(orjson.dumps(tables, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def load(recipe: str | Path | Recipe, *, sets: Sequence[str] = ()) -> Recipe:
    """Reads and checks a recipe file.

    Args:
        recipe: path of a TOML file, or a recipe, which comes back as it is when nothing is set.
        sets: overrides such as `pairs.samples=8`, `run.max_error_rate=0.1`, `models.writer=mini:llm`.

    Raises:
        RecipeError: all its problems at once.
    """
    from limbeck.recipe_check import checked, overridden
    from limbeck.recipe_tables import read_tables

    if isinstance(recipe, Recipe):
        if not sets:
            return recipe
        tables, folder, origin = recipe.tables(), recipe.folder, recipe.origin
    else:
        tables, origin = read_tables(recipe), str(recipe)
        folder = Path(recipe).expanduser().resolve().parent
    return checked(overridden(tables, sets, origin, folder), folder=folder, origin=origin)


def _changed(settings: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value != base[key]}
