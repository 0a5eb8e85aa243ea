"""A small build made by the real runner from two stages that need no model: for tests of what a build hands out."""

from __future__ import annotations

import json
from pathlib import Path

import limbeck

STAGES = '''
"""Draws pairs of plain squares; the score is known by arithmetic."""
from io import BytesIO
from typing import Annotated, ClassVar

import pyarrow as pa
from PIL import Image

from limbeck.records import columns, column
from limbeck.errors import BadAnswer
from limbeck.stage import Decision, Drop, Failed, Filter, Generator, settings

KINDS = ("recolour", "add")


def square(size, value):
    out = BytesIO()
    Image.new("RGB", (size, size), (value % 256, 90, 200)).save(out, "PNG")
    return out.getvalue()


@settings
class Squares(Generator):
    """Two squares for every caption and sample."""

    name: ClassVar = "squares"
    reads: ClassVar = columns("caption")
    writes: ClassVar = columns(
        "original_prompt", "original_image", "edit_prompt", "edited_prompt", "edited_image", "edit_type",
        "clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image", "seed", "shared_fraction",
        "guidance_scale",
    )
    reasons: ClassVar = ("too_short",)

    samples: int = 4
    size: int = 16

    def generate(self, rows, run):
        for row in rows:
            caption = row["caption"]
            if len(caption) < 3:
                yield Drop(row["id"], "too_short", caption)
                continue
            if "fail" in caption:
                yield Failed(row["id"], BadAnswer("no <b>square</b> came"))
                continue
            number = int(caption.split()[-1])
            for i in range(self.samples):
                run.count("pictures", 2)
                yield {
                    "id": f"{row['id']}/{i}", "original_prompt": caption, "original_image": square(self.size, number),
                    "edit_prompt": f"make square {number} brighter", "edited_prompt": f"{caption} but brighter",
                    "edited_image": square(self.size, number + 40), "edit_type": KINDS[number % 2],
                    "clip_sim_source": 0.3, "clip_sim_target": 0.25, "clip_sim_dir": i / 10, "clip_sim_image": 0.9,
                    "seed": run.seed(row["id"], i), "shared_fraction": 0.5, "guidance_scale": 3.0,
                }


@settings
class Direction(Filter):
    """Drops pairs whose direction is low."""

    name: ClassVar = "direction"
    reads: ClassVar = columns("clip_sim_dir")
    writes: ClassVar = (column("twice", pa.float32()),)
    reasons: ClassVar = ("direction_low",)

    least: Annotated[float, Decision()] = 0.2
    """Least direction similarity."""

    def bounds(self):
        return {"clip_sim_dir": (self.least, 1.0)}

    def decides_on(self):
        return ("clip_sim_dir", "twice")

    def score(self, rows, run):
        return [{"twice": 2 * row["clip_sim_dir"]} for row in rows]

    def decide(self, row):
        return ("direction_low",) if row["clip_sim_dir"] < self.least - 1e-6 else ()
'''

RECIPE = """
[dataset]
name = "squares"
title = "Squares & <i>more</i>"
description = "Squares that become brighter."
seed = 3
license = "cc0-1.0"
splits = { train = 0.6, validation = 0.4 }
keep_rejected = "KEEP"

[source]
captions = "captions.jsonl"

[[stages]]
id = "squares"
use = "./stages.py:Squares"
samples = 4

[[stages]]
id = "direction"
use = "./stages.py:Direction"
by.edit_type.add = { least = 0.1 }

[run]
part_rows = 4
max_error_rate = 0.5
"""

CAPTIONS = [f"a square of colour {i}" for i in range(10)]


def small_build(folder: Path, captions: list[str] | None = None, keep: str = "all") -> limbeck.Build:
    """Builds it in FOLDER/out: of each number, samples 0 to 3 have direction 0, 0.1, 0.2, 0.3.

    Kept are directions of at least 0.2, of `add` (odd numbers) of at least 0.1. One row fails, one is too short.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stages.py").write_text(STAGES)
    captions = [*CAPTIONS, "<script>alert('a')</script> 11", "please fail 12", "ab"] if captions is None else captions
    rows = ({"caption": caption, "license": "cc-by-4.0"} for caption in captions)
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "recipe.toml").write_text(RECIPE.replace("KEEP", keep))
    return limbeck.build(folder / "recipe.toml", folder / "out")
