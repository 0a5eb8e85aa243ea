"""Small text-only stages that the tests of the core run: real stages, no mocks."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Iterator
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image

from limbeck.errors import BadAnswer
from limbeck.records import column, columns
from limbeck.stage import Decision, Drop, Failed, Filter, Generator, ModelRole, Row, Run, settings


@settings
class Instruct(Generator):
    """Writes one instruction for each caption; captions with "odd" in them are turned away, "broken" ones fail."""

    name: ClassVar = "instruct"
    version: ClassVar = 1
    reads: ClassVar = columns("caption")
    writes: ClassVar = columns("original_prompt", "edit_prompt", "edited_prompt", "edit_type")
    reasons: ClassVar = ("odd",)

    suffix: str = "at night"
    wait_s: float = 0.0

    async def generate_one(self, row: Row, run: Run) -> list[Row | Drop]:
        await asyncio.sleep(self.wait_s)
        caption = row["caption"]
        if "odd" in caption:
            return [Drop(row["id"], "odd", caption)]
        if "broken" in caption and not os.environ.get("LIMBECK_TEST_MENDED"):
            raise BadAnswer(f"can't read {caption!r}")
        kind = str(run.rng(row["id"]).choice(["recolour", "time"]))
        return [{
            "id": f"{row['id']}/0", "original_prompt": caption, "edit_prompt": f"make it {self.suffix}",
            "edited_prompt": f"{caption} {self.suffix}", "edit_type": kind,
        }]  # fmt: skip


@settings
class Sample(Generator):
    """Draws `samples` children of each row, each with a seed."""

    name: ClassVar = "sample"
    version: ClassVar = 1
    reads: ClassVar = columns("edited_prompt")
    writes: ClassVar = (*columns("seed"), column("luck", pa.float32()))
    reasons: ClassVar = ("hopeless",)

    samples: int = 4
    wait_s: float = 0.0

    def generate(self, rows: list[Row], run: Run) -> Iterator[Row | Drop | Failed]:
        for row in rows:
            time.sleep(self.wait_s)
            if "hopeless" in row["edited_prompt"]:
                yield Drop(row["id"], "hopeless")
                continue
            for draw in range(self.samples):
                run.count("draws")
                yield {
                    "id": f"{row['id']}/{draw}",
                    "seed": run.seed(row["id"], draw),
                    "luck": run.rng(row["id"], draw).random(),
                }


@settings
class Lucky(Filter):
    """Keeps rows whose luck, with a little noise of the filter's own, is high enough."""

    name: ClassVar = "lucky"
    version: ClassVar = 1
    reads: ClassVar = (column("luck", pa.float32()), *columns("edit_type"))
    writes: ClassVar = (column("score", pa.float32()),)
    reasons: ClassVar = ("unlucky", "too_lucky")

    min_luck: Annotated[float, Decision()] = 0.3
    max_luck: Annotated[float, Decision()] = 0.95
    noise: float = 0.01

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        return [{"score": row["luck"] + self.noise * run.rng(row["id"]).random()} for row in rows]

    def decide(self, row: Row) -> tuple[str, ...]:
        low, high = row["score"] < self.min_luck, row["score"] > self.max_luck
        return ("unlucky",) * low + ("too_lucky",) * high

    def decide_columns(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"unlucky": columns["score"] < self.min_luck, "too_lucky": columns["score"] > self.max_luck}


@settings
class Best(Filter):
    """Keeps the `keep` luckiest siblings."""

    name: ClassVar = "best"
    version: ClassVar = 1
    reads: ClassVar = (column("lucky.score", pa.float32()),)
    reasons: ClassVar = ("sibling_better",)

    keep: Annotated[int, Decision()] = 1

    def decides_on(self) -> tuple[str, ...]:
        return ("lucky.score",)

    def decide_group(self, siblings: list[Row]) -> list[tuple[str, ...]]:
        order = sorted(range(len(siblings)), key=lambda i: (-siblings[i]["lucky.score"], siblings[i]["id"]))
        best = set(order[: self.keep])
        return [() if i in best else ("sibling_better",) for i in range(len(siblings))]


@settings
class Unique(Filter):
    """Keeps the first of all rows whose seed has the same last digit: a decision over the whole dataset."""

    name: ClassVar = "unique"
    version: ClassVar = 1
    reads: ClassVar = columns("seed")
    reasons: ClassVar = ("seen",)

    modulus: Annotated[int, Decision()] = 1000

    def decides_on(self) -> tuple[str, ...]:
        return ("seed",)

    def decide_all(self, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        first = np.unique(columns["seed"] % self.modulus, return_index=True)[1]
        seen = np.ones(len(columns["seed"]), bool)
        seen[first] = False
        return {"seen": seen}


@settings
class Paint(Generator):
    """Two small pictures for each row, and a score that a filter may take over."""

    name: ClassVar = "paint"
    version: ClassVar = 1
    reads: ClassVar = columns("edited_prompt")
    writes: ClassVar = (*columns("original_image", "edited_image", "seed"), *columns("clip_sim_dir", model="scorer"))

    scorer: Annotated[str, ModelRole("score")] = "scorer"
    samples: int = 3

    def generate(self, rows: list[Row], run: Run) -> Iterator[Row]:
        for row in rows:
            for draw in range(self.samples):
                before, after = (run.rng(row["id"], 2 * draw + i).integers(0, 255, (8, 8, 3)) for i in range(2))
                yield {
                    "id": f"{row['id']}/{draw}", "seed": run.seed(row["id"], draw), "original_image": png(before),
                    "edited_image": png(after), "clip_sim_dir": run.rng(row["id"], draw).random(),
                }  # fmt: skip


def png(pixels: np.ndarray) -> bytes:
    """(H, W, 3) as an encoded picture."""
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@settings
class Direction(Filter):
    """Takes over a score that the generator computed by the same model, and counts what it computed itself."""

    name: ClassVar = "direction"
    version: ClassVar = 1
    reads: ClassVar = columns("original_image", "edited_image")
    writes: ClassVar = columns("clip_sim_dir", model="scorer")
    reasons: ClassVar = ("direction_low",)

    scorer: Annotated[str, ModelRole("score")] = "scorer"
    min_direction: Annotated[float, Decision()] = 0.4

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        if run.computed("clip_sim_dir", self.scorer):
            return [{} for _ in rows]
        run.count("computed", len(rows))
        return [{"clip_sim_dir": 0.5} for _ in rows]

    def decide(self, row: Row) -> tuple[str, ...]:
        return ("direction_low",) * (row["clip_sim_dir"] < self.min_direction)
