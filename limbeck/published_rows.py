"""Reads the rows that a build hands out, `data/SPLIT-*.parquet`, batch by batch: what exporters work on.

published = Published("OUT")
for split in published.splits:
    for row in published.rows(split, ["edit_prompt", "edited_image"]):
        row["edited_image"]      # encoded bytes
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from limbeck.errors import BuildNotFound, RequestError, did_you_mean
from limbeck.records import is_image, is_images

_BATCH_ROWS = 100


class Published:
    """The kept rows of a finished build.

    Attributes:
        path: the build's folder.
        splits: split to its files, `train` first, then as they come.
        schema: columns; pictures are structs of `bytes` and `path`.
    """

    def __init__(self, path: str | Path) -> None:
        """Reads the names of the files and one schema.

        Raises:
            BuildNotFound: there is no `data/`.
        """
        self.path = Path(path)
        files = sorted((self.path / "data").glob("*.parquet"))
        if not files:
            raise BuildNotFound(f"{self.path} has no rows to hand out", remedy="finish the build first: limbeck run")
        self.splits: dict[str, list[Path]] = {}
        for file in sorted(files, key=lambda file: (not file.name.startswith("train-"), file.name)):
            self.splits.setdefault(re.sub(r"-\d{5}(-of-\d{5})?\.parquet$", "", file.name), []).append(file)
        self.schema = pq.read_schema(files[0])

    def count(self, split: str) -> int:
        """Rows of a split."""
        return sum(pq.read_metadata(file).num_rows for file in self.splits[split])

    def need(self, columns: Sequence[str], of: str) -> None:
        """Checks that the rows have what a format is made of.

        Raises:
            RequestError: they haven't.
        """
        for name in columns:
            if name not in self.schema.names:
                raise RequestError(
                    f"{self.path} has no column {name!r}, which the format {of!r} needs",
                    remedy=did_you_mean(name, self.schema.names),
                )

    def tables(self, split: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Rows as tables of at most 100 rows, pictures as stored."""
        for path in self.splits[split]:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns), use_threads=False):
                    yield pa.Table.from_batches([batch]).select(list(columns))

    def rows(self, split: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Rows as dicts, pictures as encoded bytes; a column that isn't there is None."""
        have = [name for name in columns if name in self.schema.names]
        pictures = {name for name in have if is_image(self.schema.field(name))}
        several = {name for name in have if is_images(self.schema.field(name))}
        for table in self.tables(split, have):
            for row in table.to_pylist():
                found = {name: row[name]["bytes"] if name in pictures and row[name] else row[name] for name in have}
                found |= {name: [picture["bytes"] for picture in row[name] or ()] for name in several}
                yield dict.fromkeys(columns) | found

    def front_matter(self) -> dict[str, Any]:
        """What the card's front matter says, such as `license`; nothing where there is no card."""
        try:
            text = (self.path / "README.md").read_text(encoding="utf-8")
            found = yaml.safe_load(text.split("---\n", 2)[1]) if text.startswith("---\n") else None
        except (OSError, UnicodeDecodeError, IndexError, yaml.YAMLError):
            found = None
        return found if isinstance(found, dict) else {}
