"""Accepted pairs an hour: InstructPix2Pix's published procedure against `edit_pairs`, on one machine.

    python -m benchmarks.pairs_speed --out pairs_speed.json

The reference renders 100 samples of every prompt, one pair a batch, 100 ancestral Euler steps, dense logits, scores
pair by pair and keeps up to 4 that pass. Both sides use the same models, prompts, ranges and thresholds, and at
most 4 pairs of a prompt count. `mini:reader` judges every pair that passes; it takes no part in the passing.

What is measured where:
    time       of `--timed` reference renders, and of as many for each rung of the ladder dense -> shared queries and
               keys -> one batch -> fewer steps. CPU seconds beside wall seconds: the first don't mind neighbours.
    yield      of the reference from `--draws` of its 100 samples for each prompt, rendered at its 100 steps by the
               batched renderer, whose pictures are the same (tests/test_models_image_attention.py). A prompt with s
               of n passing counts as a survival rate of (s + 1/2) / (n + 1), which favours the reference.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from scipy.stats import binom

from benchmarks import pairs_reference as reference
from generators.edit_pairs import EditPairs
from limbeck import models, seeds
from limbeck.models.reader import Reader, as_pixels
from limbeck.models.renderer import Renderer
from limbeck.models.roles import PairRequest
from limbeck.models.spec import ModelSpec
from limbeck.scores import pair_similarities
from limbeck.stopping import StopRule
from limbeck.storybook import caption, sample_edit, sample_scene
from limbeck.storybook.edits import instruction
from limbeck.storybook.truth import judge

KEPT = 4
"""Pairs of a prompt that count, as the reference keeps."""


@dataclass
class Clock:
    """Time of some pairs."""

    pairs: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @contextmanager
    def __call__(self, pairs: int) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.process_time() - cpu
        self.pairs += pairs


@dataclass
class Run:
    """What `edit_pairs` asks of a runner."""

    models: dict[str, Any]
    stage_id: str = "pairs"
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("pairs_speed"))
    counts: Counter = field(default_factory=Counter)

    def model(self, name: str) -> Any:
        return self.models[name]

    def fingerprint(self, name: str) -> str:
        return self.models[name].fingerprint

    def seed(self, row_id: str, draw: int = 0) -> int:
        return seeds.seed(7, self.stage_id, row_id, draw)

    def rng(self, row_id: str, draw: int = 0) -> np.random.Generator:
        return seeds.rng(7, self.stage_id, row_id, draw)

    def count(self, name: str, amount: float = 1) -> None:
        self.counts[name] += amount


def edits(count: int, split: str, seed: int) -> list[dict[str, str]]:
    """Rows of storybook edits of one split."""
    rng = np.random.default_rng(seed)
    rows = []
    while len(rows) < count:
        scene = sample_scene(rng, split=split)
        edit = sample_edit(rng, scene)
        after = edit and edit.apply(scene)
        if after:
            rows.append(
                {"id": f"p{len(rows)}", "original_prompt": caption(scene), "edited_prompt": caption(after),
                 "edit_prompt": instruction(edit)}
            )  # fmt: skip
    return rows


def time_ladder(args, painter, scorer, rows, stage: EditPairs) -> dict[str, Clock]:
    """Seconds a pair on each rung from the reference's renderer to ours."""
    folder = models.located(ModelSpec.model_validate(args.image))
    dense = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32, safety_checker=None)
    dense.set_progress_bar_config(disable=True)
    reference.use_dense_logits(dense)
    ancestral = replace_sampler(painter, "euler_ancestral")
    run = Run({})
    requests = [stage._request(rows[i % len(rows)], i, run) for i in range(args.timed)]
    clocks = {name: Clock() for name in ("reference", "shared_qk", "batched", "fewer_steps")}
    score(scorer, requests[:1], ancestral.render_pairs(requests[:1], steps=2))  # warm up
    for request in requests:
        prompts = (request.source_prompt, request.target_prompt)
        with clocks["reference"](1):
            latents = reference.sample_latents(dense, prompts, request.shared_fraction, request.guidance_scale)
            score(scorer, [request], [tuple(reference.decode(dense, latents))])
        with clocks["shared_qk"](1):
            score(scorer, [request], ancestral.render_pairs([request], steps=reference.STEPS))
    for name, model, steps in (("batched", ancestral, reference.STEPS), ("fewer_steps", painter, args.steps)):
        for start in range(0, len(requests), args.batch):
            batch = requests[start : start + args.batch]
            with clocks[name](len(batch)):
                score(scorer, batch, model.render_pairs(batch, steps=steps))
    return clocks


def replace_sampler(painter, sampler: str):
    """The same model with another sampler."""
    import copy

    other = copy.copy(painter)
    other.renderer = Renderer(painter.renderer.pipe, sampler, "linspace", painter.size)
    return other


def score(scorer, requests: list[PairRequest], pairs) -> list[dict[str, float]]:
    """The four similarities of each pair."""
    texts = scorer.embed_texts([p for r in requests for p in (r.source_prompt, r.target_prompt)])
    images = scorer.embed_images([picture for pair in pairs for picture in pair])
    found = pair_similarities(images[::2], images[1::2], texts[::2], texts[1::2])
    return [{name: float(values[i]) for name, values in found.items()} for i in range(len(requests))]


def render(stage: EditPairs, run: Run, rows, clock: Clock) -> list[dict[str, Any]]:
    """Children of some rows, by the stage itself."""
    with clock(0):
        children = list(stage.generate(rows, run))
    clock.pairs += len(children)
    return children


def judged(rows, children, survives: Callable[[dict], bool]) -> dict[str, float]:
    """Success of the pairs that pass, by `mini:reader`, with the standard error over prompts."""
    parents = {row["id"]: row for row in rows}
    passing = [c for c in children if survives(c)]
    owners = [parents[c["id"].rsplit("/", 1)[0]] for c in passing]
    reader = Reader.load()
    before, after = (
        reader.read(as_pixels([Image.open(BytesIO(c[side])) for c in passing]))
        for side in ("original_image", "edited_image")
    )
    right = judge(before, after, [o["original_prompt"] for o in owners], [o["edit_prompt"] for o in owners]).right
    prompts = np.unique([o["id"] for o in owners], return_inverse=True)[1]
    total, good = np.bincount(prompts), np.bincount(prompts, right)
    rate = good.sum() / total.sum()
    error = np.sqrt(((good - rate * total) ** 2).sum()) / total.sum()
    return {"pairs": len(passing), "success": float(rate), "standard_error": float(error)}


def accepted_of(children, survives: Callable[[dict], bool], samples: int | None = None) -> list[float]:
    """Accepted pairs of each prompt, at most `KEPT`; with `samples`, what that many would be expected to give."""
    by_prompt: dict[str, list[bool]] = {}
    for child in children:
        by_prompt.setdefault(child["id"].rsplit("/", 1)[0], []).append(survives(child))
    if samples is None:
        return [min(KEPT, sum(passed)) for passed in by_prompt.values()]
    rates = [(sum(passed) + 0.5) / (len(passed) + 1) for passed in by_prompt.values()]
    return [sum(float(binom.sf(k, samples, rate)) for k in range(KEPT)) for rate in rates]  # E[min(KEPT, S)]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="mini:diffusion")
    parser.add_argument("--score", default="mini:clip")
    parser.add_argument("--prompts", type=int, default=20, help="prompts of the reference's yield")
    parser.add_argument("--draws", type=int, default=24, help="of the reference's 100 samples for each of them")
    parser.add_argument("--ours", type=int, default=100, help="prompts of our yield")
    parser.add_argument("--timed", type=int, default=20, help="renders timed on each rung")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--samples", type=int, default=100, help="most samples of a prompt, ours")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--shared", type=float, nargs=2, default=reference.SHARED_FRACTION)
    parser.add_argument("--guidance", type=float, nargs=2, default=reference.GUIDANCE_SCALE)
    parser.add_argument("--rule", type=json.loads, default={}, help="settings of the stop rule, thresholds among them")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    painter = models.load(ModelSpec.model_validate(args.image), "image")
    scorer = models.load(ModelSpec.model_validate(args.score), "score")
    rule = StopRule(**args.rule)
    ours = EditPairs(image="painter", score="matcher", samples=args.samples, steps=args.steps, batch_size=args.batch,
                     shared_fraction=args.shared, guidance_scale=args.guidance, adaptive=rule)  # fmt: skip
    theirs = replace(ours, steps=reference.STEPS, samples=args.draws, adaptive=None)
    rows = edits(max(args.ours, args.prompts), args.split, seed=3)

    clocks = time_ladder(args, painter, scorer, rows[: args.prompts], ours)
    clocks |= {"reference_yield": Clock(), "ours": Clock()}
    ancestral = Run({"painter": replace_sampler(painter, "euler_ancestral"), "matcher": scorer})
    reference_children = render(theirs, ancestral, rows[: args.prompts], clocks["reference_yield"])
    run = Run({"painter": painter, "matcher": scorer})
    children = render(ours, run, rows[: args.ours], clocks["ours"])

    report = {"settings": vars(args) | {"out": None, "bounds": rule.bounds()}, "counts": dict(run.counts),
              "clocks": {k: asdict(c) for k, c in clocks.items()}}  # fmt: skip
    theirs_accepted = float(np.mean(accepted_of(reference_children, rule.survives, reference.SAMPLES)))
    ours_accepted = sum(accepted_of(children, rule.survives))
    per_pair = {kind: {n: getattr(c, kind) / c.pairs for n, c in clocks.items()} for kind in ("wall_s", "cpu_s")}
    renders_theirs, renders_ours = reference.SAMPLES / theirs_accepted, len(children) / ours_accepted
    for kind, seconds in per_pair.items():
        hourly_theirs = 3600 / (renders_theirs * seconds["reference"])
        hourly_ours = 3600 * ours_accepted / getattr(clocks["ours"], kind)
        report[kind] = {
            "seconds_a_pair": seconds,
            "accepted_an_hour": {"reference": hourly_theirs, "ours": hourly_ours},
            "gain": hourly_ours / hourly_theirs,
            "factors": {
                "kernel": seconds["reference"] / seconds["shared_qk"],
                "batching": seconds["shared_qk"] / seconds["batched"],
                "steps": seconds["batched"] / seconds["fewer_steps"],
                "stage": seconds["fewer_steps"] / seconds["ours"],
                "renders": renders_theirs / renders_ours,
            },
        }
    report["renders_per_accepted"] = {"reference": renders_theirs, "ours": renders_ours}
    report["judged"] = {
        "reference": judged(rows, reference_children, rule.survives),
        "ours": judged(rows, children, rule.survives),
    }
    text = json.dumps(report, indent=1, default=str)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
