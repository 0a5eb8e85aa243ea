"""How often a pair comes out right, by number of steps, shared fraction, guidance scale and type of edit.

    python -m benchmarks.pairs_settings --steps 6 8 12 20 --prompts 80 --samples 3 --out settings.json

Development scenes, edits worded by the grammar, nothing filtered; `mini:reader` judges. From this come the settings in
the recipes on miniatures; the figures on test scenes are made once, with those settings (docs/RESULTS.md).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.pairs_speed import Clock, Run, render
from generators.edit_pairs import EditPairs
from limbeck import models
from limbeck.models.reader import Reader, as_pixels
from limbeck.models.spec import ModelSpec
from limbeck.storybook import caption, sample_edit, sample_scene
from limbeck.storybook.edits import EDIT_TYPES, instruction
from limbeck.storybook.truth import judge

SHARED = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)


def edits(count: int, split: str) -> list[dict[str, Any]]:
    """Prompts with as many edits of each type."""
    rng, rows = np.random.default_rng(17), list[dict[str, Any]]()
    while len(rows) < count:
        scene, type = sample_scene(rng, split=split), EDIT_TYPES[len(rows) % len(EDIT_TYPES)]
        edit = sample_edit(rng, scene, type)
        after = edit and edit.apply(scene)
        if edit and after:
            rows.append({"id": f"p{len(rows)}", "original_prompt": caption(scene), "edited_prompt": caption(after),
                         "edit_prompt": instruction(edit), "edit_type": type})  # fmt: skip
    return rows


def by(values: np.ndarray, right: np.ndarray, edges: tuple[float, ...]) -> dict[str, str]:
    """Share right and number, in bins."""
    bins = np.digitize(values, edges[1:-1])
    return {
        f"{edges[b]:g}-{edges[b + 1]:g}": f"{right[bins == b].mean():.3f} of {int((bins == b).sum())}"
        for b in range(len(edges) - 1)
        if (bins == b).any()
    }


def main(say: Callable[[str], None] = print) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="mini:diffusion")
    parser.add_argument("--steps", type=int, nargs="+", default=[8, 12, 20])
    parser.add_argument("--prompts", type=int, default=80)
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--shared", type=float, nargs=2, default=(0.0, 1.0))
    parser.add_argument("--guidance", type=float, nargs=2, default=(1.0, 5.0))
    parser.add_argument("--split", default="validation")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    painter, reader = models.load(ModelSpec.model_validate(args.image), "image"), Reader.load()
    rows = edits(args.prompts, args.split)
    parents = {row["id"]: row for row in rows}
    found = []
    for steps in args.steps:
        stage = EditPairs(image="painter", samples=args.samples, steps=steps, batch_size=16,
                          shared_fraction=tuple(args.shared), guidance_scale=tuple(args.guidance))  # fmt: skip
        clock = Clock()
        children = render(stage, Run({"painter": painter}), rows, clock)
        owners = [parents[c["id"].rsplit("/", 1)[0]] for c in children]
        sides = [as_pixels([Image.open(BytesIO(c[side])) for c in children])
                 for side in ("original_image", "edited_image")]  # fmt: skip
        verdicts = judge(
            *map(reader.read, sides), [o["original_prompt"] for o in owners], [o["edit_prompt"] for o in owners]
        )
        right, types = verdicts.right, np.array([o["edit_type"] for o in owners])
        row = {
            "steps": steps, "pairs": len(children), "cpu_s_a_pair": round(clock.cpu_s / clock.pairs, 3),
            "wall_s_a_pair": round(clock.wall_s / clock.pairs, 3), "right": round(float(right.mean()), 4),
            "happened": round(float(verdicts.happened.mean()), 4), "stayed": round(float(verdicts.stayed.mean()), 4),
            "by_shared_fraction": by(np.array([c["shared_fraction"] for c in children]), right, SHARED),
            "by_guidance_scale": by(np.array([c["guidance_scale"] for c in children]), right, GUIDANCE),
            "by_edit_type": {t: round(float(right[types == t].mean()), 3) for t in EDIT_TYPES},
        }  # fmt: skip
        found.append(row)
        say(json.dumps(row, indent=1))
    if args.out:
        args.out.write_text(json.dumps({"settings": vars(args) | {"out": None}, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
