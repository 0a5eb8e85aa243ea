"""Refilters a build of a million score rows: new thresholds, no model, no rendering.

    python benchmarks/refilter.py [ROWS] [FOLDER]

The build's parts are written directly, as stages would have stored them: 62,500 captions with one instruction each,
16 samples of each instruction, CLIP scores of every sample. Pictures are left out, as `keep_rejected = "none"` would.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from limbeck import store
from limbeck.building import refilter
from limbeck.built import Build
from limbeck.plan import stage_folder

RECIPE = """
[dataset]
name = "million"
record = "EditInstruction"
[source]
captions = "captions.txt"
[models]
writer = "mini:llm"
painter = "mini:diffusion"
matcher = "mini:clip"
[[stages]]
use = "edit_instructions"
[[stages]]
id = "pairs"
use = "edit_pairs"
image = "painter"
score = "matcher"
samples = 16
[[stages]]
use = "clip_pair"
[[stages]]
use = "best_of"
keep = 4
"""
SAMPLES, PART = 16, 512
SCORES = ("clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image")


def write_build(folder: Path, rows: int) -> Path:
    """A finished build of `rows` score rows, at least in the eyes of `refilter`."""
    out = folder / "out"
    out.mkdir(parents=True)
    (out / "recipe.toml").write_text(RECIPE)
    captions, rng = rows // SAMPLES, np.random.default_rng(7)
    parts = list(range(-(-captions // PART)))
    for part in parts:
        ids = [f"{i:016x}" for i in range(part * PART, min(captions, (part + 1) * PART))]
        texts = [f"a photo of thing {i}" for i in ids]
        _write(out, 0, "source", part, {"id": ids, "caption": texts}, ids=ids, digests=ids)
        edits = [f"{i}/0" for i in ids]
        _write(out, 1, "edit_instructions", part, {
            "id": edits, "parent_id": ids, "original_prompt": texts, "edit_prompt": ["make it blue"] * len(ids),
            "edited_prompt": texts, "edit_type": rng.choice(["add", "remove", "style"], len(ids)).tolist(),
        })  # fmt: skip
        pairs = [f"{i}/{n}" for i in edits for n in range(SAMPLES)]
        scores = {n: pa.array(rng.normal(0.25, 0.1, len(pairs)).astype(np.float32)) for n in SCORES}
        scores["clip_sim_image"] = pa.array(rng.uniform(0.6, 1, len(pairs)).astype(np.float32))
        parents = [i for i in edits for _ in range(SAMPLES)]
        _write(out, 2, "pairs", part, {"id": pairs, "parent_id": parents, **scores})
        _write(out, 3, "clip_pair", part, {"id": pairs, **scores})
    (out / "data").mkdir()
    (out / "lock.json").write_text(json.dumps({"parts": parts, "result": {}}))
    return out


def _write(out: Path, number: int, stage: str, part: int, columns: dict, **facts: object) -> None:
    none = pa.nulls(len(columns["id"]), pa.string())
    made = {"counts": {"in": 0, "made": len(columns["id"]), "dropped": 0, "failed": 0}, "counters": {}, "seconds": 0}
    table = pa.table({**columns, "reason": none, "detail": none})
    store.write_part(stage_folder(out, number, stage), part, table, {**made, **facts})


def main(rows: int = 1_000_000, folder: str | None = None) -> None:
    """Prints the times of two refilters: the first writes what the last one would have left."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        out = write_build(Path(place), rows)
        for sets in (
            ["clip_pair.min_direction=0.2"],
            ["clip_pair.min_direction=0.3", "clip_pair.by.edit_type.style={min_direction=0.1}"],
        ):
            start, busy = time.perf_counter(), time.process_time()
            built: Build = refilter(out, sets, report=False)
            seconds, cpu = time.perf_counter() - start, time.process_time() - busy
            funnel = {count.stage: count.kept for count in built.funnel()}
            print(json.dumps({"rows": rows, "seconds": round(seconds, 2), "cpu_s": round(cpu, 2), "kept": funnel}))
    assert not {"torch", "transformers", "diffusers"} & set(sys.modules), "a model library was loaded"


if __name__ == "__main__":
    main(*(int(sys.argv[1]),) if len(sys.argv) > 1 else (), *sys.argv[2:3])
