"""Cached against live teacher: the same answers? And what does an epoch take with each?

    python -m benchmarks.distill_cache [--rows 4000] [--steps 40]

Prints the least cosine of cached and live embeddings of mini:clip over all views, the time and size of the cache, and
seconds for an epoch of the encoder's own recipe with the teacher's answers read, or asked for at every step.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from distill import batches, opening
from distill.arm_names import ARMS
from distill.pixels import picture_of
from distill.progress import Watcher
from distill.recipe import load
from distill.student import terms_for
from distill.trainer import Lesson, train
from limbeck import models
from limbeck.scores import cosine

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4000, help="scenes of the storybook")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each kind")
    given = parser.parse_args()
    sets = [
        f"source.storybook.rows={given.rows}", "budget.labelled=500", f"budget.unlabelled={int(0.7 * given.rows) - 500}",
        f"views.count={given.views}", "evaluate.test_rows=50", "evaluate.dev_rows=20",
    ]  # fmt: skip
    recipe = load(ROOT / "recipes" / "distill-encoder.toml", sets=sets)
    with TemporaryDirectory() as folder:
        start = time.perf_counter()
        work = opening.work_of(recipe, Path(folder), "cpu", Watcher())
        drawn = time.perf_counter()
        work = opening.taught(work, range(1), Watcher())
        asked = time.perf_counter() - drawn
        size = sum(p.stat().st_size for p in (Path(folder) / "teacher").rglob("*.parquet"))
        live = models.load(work.spec("teacher"), "score")
        ids = [i for i in work.dataset.ids if work.cache.views(i) == given.views][:500]
        least = 1.0
        for view in range(given.views):
            pictures = [work.cache.view(i, view).apply(picture_of(work.dataset.row(work.dataset.at(i)))) for i in ids]
            stored = work.cache.targets("image_embedding", ids, view)
            least = min(least, float(cosine(stored, live.embed_images(pictures)).min()))
        print(
            f"rows drawn in {drawn - start:.1f} s; teacher asked about {len(work.cache._first):,} rows in {asked:.1f} s; {size / 1e6:.2f} MB"
        )
        print(f"least cosine of cached and live embeddings, {len(ids)} rows, {given.views} views: {least:.7f}")
        times = {}
        for kind in ("cached", "live"):
            times[kind] = _seconds_a_step(work, Path(folder) / kind, given.steps, live if kind == "live" else None)
        found = batches.pools(work.dataset, recipe, work.seed)
        epoch = batches.Batches(work, ARMS["both"], found, "train", recipe.train.batch_size, None).epoch_steps
        for kind, seconds in times.items():
            print(
                f"{kind}: {1e3 * seconds:.1f} ms a step of {recipe.train.batch_size}, {seconds * epoch:.1f} s an epoch of {epoch} steps"
            )
        print(f"live / cached: {times['live'] / times['cached']:.2f}; the cache pays for itself after {asked / max(1e-9, (times['live'] - times['cached']) * epoch):.2f} epochs")  # fmt: skip


def _seconds_a_step(work, folder: Path, steps: int, live) -> float:
    """Median seconds between steps of a training with cached answers, or with the teacher asked at every step."""
    recipe, student = work.recipe, work.student
    own = work.with_(terms=terms_for(student, ARMS["both"].signals, {}))
    found = batches.pools(work.dataset, recipe, work.seed)
    source = batches.Batches(own, ARMS["both"], found, "train", recipe.train.batch_size, None)
    marks: list[float] = []

    class Timed:
        ids = source.ids

        def micro_batches(self, step: int, rank: int = 0, world: int = 1) -> list:
            marks.append(time.perf_counter())
            if live is None:
                return source.micro_batches(step, rank, world)
            made = source.micro_batches(step, rank, world)
            with torch.inference_mode():  # both read pictures of 64 px alike, so that they are prepared once
                said = live._model.get_image_features(pixel_values=made[0]["pixel_values"]).pooler_output
            made[0]["teacher"] = torch.nn.functional.normalize(said.float(), dim=-1).clone()
            return made

    torch.manual_seed(0)
    lose: Callable = lambda m, b: student.losses(m, b, "train", own)  # noqa: E731
    lesson = Lesson(
        student.build(own),
        Timed(),
        lose,
        student.counts,
        own.terms,
        lambda m: {student.metrics[0].name: 0.0},
        student.metrics[0],
    )
    settings = recipe.train.model_copy(
        update={"steps": steps, "evaluate_every": steps, "checkpoint_every": steps, "warmup": 5}
    )
    train(lesson, settings, folder, device="cpu")
    return float(np.median(np.diff(marks)[3:]))


if __name__ == "__main__":
    main()
