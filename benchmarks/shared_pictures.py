"""What does a step of a VLM take when some questions about one picture share it, and when none do?

    python -m benchmarks.shared_pictures [recipes/distill-vlm.toml] [--share 1:8 2:16 4:16] [--steps 6] [--rounds 3]

Each setting is how many rows share a picture and the micro-batch. Settings take turns, so that what else the machine does
touches all of them; of one process, on rows of the recipe's own builds, in the recipe's phase `tune`. Prints seconds of forward and
backward pass, tokens, pictures, and the ratio to the first setting. Losses and gradients are the same for the same rows:
tests/test_distill_vlm.py.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from distill import batches, opening
from distill.arm_names import ARMS
from distill.progress import Watcher
from distill.recipe import load
from distill.student import Batch, terms_for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "recipe", type=Path, nargs="?", default=Path(__file__).parent.parent / "recipes/distill-vlm.toml"
    )
    parser.add_argument(
        "--share", nargs="+", default=["1:8", "2:16", "4:16", "8:16"], help="rows a picture:micro-batch"
    )
    parser.add_argument("--rows", type=int, default=32, help="of a step")
    parser.add_argument("--steps", type=int, default=6, help="timed steps of each setting and round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    settings = [tuple(map(int, text.split(":"))) for text in given.share]
    with TemporaryDirectory() as folder:
        work = opening.work_of(load(given.recipe), Path(folder), "auto", Watcher())
        found = batches.pools(work.dataset, work.recipe, work.seed)
        torch.manual_seed(0)
        model = work.student.build(work)
        work.student.begin(model, "tune", work)
        model.train().to(work.device)
        sources = []
        for share, micro in settings:
            recipe = load(given.recipe, sets=[f"student.share_pictures={share}"])
            own = work.with_(recipe=recipe, terms=terms_for(recipe.student, ARMS["labels"].signals, {}))
            sources.append((own, batches.Batches(own, ARMS["labels"], found, "tune", given.rows, micro)))
        times: list[list[float]] = [[] for _ in settings]
        sizes = [[0, 0] for _ in settings]
        for step in range(given.rounds * given.steps + 1):
            for n, (own, source) in enumerate(sources):
                micro_batches = source.micro_batches(step)
                seconds = _seconds(own, model, micro_batches)
                if step:  # the first is to warm up
                    times[n].append(seconds)
                    sizes[n][0] += sum(map(_tokens, micro_batches))
                    sizes[n][1] += sum(len(b.get("begin_ids", ())) + len(b["input_ids"]) for b in micro_batches)
    first = median(times[0])
    print(f"{work.device}, {torch.get_num_threads()} threads, {given.rows} rows a step")
    for (share, micro), taken, (tokens, pictures) in zip(settings, times, sizes, strict=True):
        print(
            f"share_pictures = {share}, micro_batch = {micro}: {median(taken):.3f} s a step, {median(taken) / first:.2f} of the first; "
            f"{tokens / len(taken):,.0f} tokens, {pictures / len(taken):.1f} beginnings"
        )


def _seconds(work, model, micro_batches: list[Batch]) -> float:
    start = time.perf_counter()
    for batch in micro_batches:
        on_device = {k: v.to(work.device) for k, v in batch.items()}
        work.student.losses(model, on_device, "tune", work)["answers"].div(100).backward()
    if work.device != "cpu":
        torch.cuda.synchronize()
    taken = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    return taken


def _tokens(batch: Batch) -> int:
    """That go through the language model, padding included."""
    return sum(v.numel() for k, v in batch.items() if k in ("input_ids", "begin_ids") or k.startswith("after_ids"))


if __name__ == "__main__":
    main()
