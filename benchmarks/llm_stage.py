"""What the LLM stage costs on top of a bare loop: span, CPU and lost rows, against the shipped loopback server.

    python -m benchmarks.llm_stage                     # 2,000 rows, 64 at once, 50 ms a request; about a minute
    python -m benchmarks.llm_stage --rows 300 --repeats 1

`bare` is an asyncio.Semaphore around `chat.completions.create` of the same SDK on the same aiohttp transport, with
pydantic validation and no journal, cache or resume. `stage` is `edit_instructions` run by the real runner: same
messages, same schema, validation, a durable journal, Parquet. Both run in this process, in turns, imports apart; the
server is a process of its own and says how long it was between the first request and the last answer (span). CPU is
this process's. On a busy machine the ratios mean more than the seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pyarrow.parquet as pq
from pydantic import BaseModel

from generators.edit_instructions import SCHEMA, EditInstructions
from limbeck import recipe as recipes
from limbeck.models import chat_endpoint  # noqa: F401  (imported before the clock starts)
from limbeck.plan import make_plan
from limbeck.runner import Runner

RECIPE = """
[dataset]
name = "llm-stage"
record = "EditInstruction"
[source]
captions = "captions.jsonl"
[models]
writer = {{ base_url = "{url}", model = "bench", concurrency = {at_once} }}
[[stages]]
use = "edit_instructions"
"""


class Edit(BaseModel):
    edit: str
    output: str


class Server:
    """The loopback server as a process."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    def call(self, path: str, **settings: float) -> dict:
        data = json.dumps(settings).encode() if path == "/reset" else None
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(self.root + path, data, timeout=10) as r:
            return json.load(r)


@contextmanager
def serving() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "limbeck.loopback", "--port", str(port)], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        server = Server(port)
        for _ in range(100):
            try:
                server.call("/stats")
                break
            except OSError:
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait()


def measured(server: Server, work: Callable[[], int], **faults: float) -> dict[str, float]:
    """Good rows, span, wall and CPU seconds, requests of one run."""
    server.call("/reset", **{"error_rate": 0.0, "malformed_rate": 0.0, **faults})
    wall, cpu = time.perf_counter(), time.process_time()
    good = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    stats = server.call("/stats")
    return {
        "good": good, "span_s": stats["span"], "wall_s": round(wall, 3), "cpu_s": round(cpu, 3),
        "requests": stats["requests"], "repeated": stats["answers_repeated"], "peak": stats["peak_in_flight"],
    }  # fmt: skip


def bare(server: Server, captions: list[str], at_once: int) -> int:
    """The loop that anybody would write; returns good rows."""
    stage = EditInstructions()
    shape = {"type": "json_schema", "json_schema": {"name": "edit", "schema": SCHEMA, "strict": True}}

    async def everything() -> int:
        sdk = openai.AsyncOpenAI(
            base_url=f"{server.root}/v1",
            api_key="none",
            max_retries=6,
            http_client=openai.DefaultAioHttpClient(trust_env=False),
        )
        gate = asyncio.Semaphore(at_once)

        async def one(i: int, caption: str) -> bool:
            async with gate:
                for attempt in range(3):
                    reply = await sdk.chat.completions.create(
                        model="bench",
                        messages=stage._messages("recolour", caption, short=False),
                        response_format=shape,
                        temperature=stage.temperature,
                        max_tokens=stage.max_tokens,
                        seed=10 * i + attempt,
                    )
                    try:
                        Edit.model_validate_json(reply.choices[0].message.content)
                        return True
                    except ValueError:
                        continue
            return False

        good = sum(await asyncio.gather(*(one(i, caption) for i, caption in enumerate(captions))))
        await sdk.close()
        return good

    return asyncio.run(everything())


def stage(folder: Path, out: Path) -> int:
    """A build of one stage; returns good rows."""
    plan = make_plan(recipes.load(folder / "recipe.toml"), out)
    runner = Runner(plan)
    try:
        asyncio.run(runner.run(plan.parts, {}, until=2))
    finally:
        runner.journal.close()
    tables = [pq.read_table(path, columns=["reason"]) for path in sorted(plan.folder(1).glob("*.parquet"))]
    return sum(table["reason"].null_count for table in tables)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    captions = [f"a photo of item-{i:05d} on a table" for i in range(args.rows)]
    runs: dict[str, list[dict[str, float]]] = {}

    def note(name: str, result: dict[str, float]) -> None:
        runs.setdefault(name, []).append(result)
        print(f"{name:22}", "  ".join(f"{key} {value:g}" for key, value in result.items()), flush=True)

    with tempfile.TemporaryDirectory() as scratch, serving() as server:
        folder = Path(scratch)
        (folder / "captions.jsonl").write_text("".join(json.dumps({"caption": c}) + "\n" for c in captions))
        (folder / "recipe.toml").write_text(RECIPE.format(url=f"{server.root}/v1", at_once=args.at_once))
        server.call("/reset", latency=args.latency)
        bare(server, captions[:50], args.at_once)  # the SDK's own lazy imports
        stage(folder, folder / "warm") if args.rows <= 300 else None
        for i in range(args.repeats):
            out = folder / f"clean-{i}"
            note("bare", measured(server, lambda: bare(server, captions, args.at_once)))
            note("stage", measured(server, lambda out=out: stage(folder, out)))
            note("stage, done already", measured(server, lambda out=out: stage(folder, out)))
            shutil.rmtree(out / "stages" / "01-edit_instructions")
            note("stage, from journal", measured(server, lambda out=out: stage(folder, out)))
            note("stage, 10% 429/500", measured(server, lambda i=i: stage(folder, folder / f"e{i}"), error_rate=0.1))
            note("stage, 5% broken", measured(server, lambda i=i: stage(folder, folder / f"m{i}"), malformed_rate=0.05))

    def median(name: str, what: str) -> float:
        return statistics.median(run[what] for run in runs[name])

    span, cpu = (median("stage", what) / median("bare", what) for what in ("span_s", "cpu_s"))
    faulty = median("stage, 10% 429/500", "span_s") / median("stage", "span_s")
    good = all(run["good"] == args.rows for name in runs for run in runs[name])
    cached = sum(run["requests"] for name in ("stage, done already", "stage, from journal") for run in runs[name])
    print(
        f"\nstage / bare: span {span:.2f}, CPU {cpu:.2f} (at most 1.2)\n"
        f"10% 429/500 / clean: span {faulty:.2f} (at most 1.5)\n"
        f"requests of re-runs: {cached:g} (0)\n"
        f"every run has {args.rows} good rows: {good}\n"
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, openai {openai.__version__}"
    )


if __name__ == "__main__":
    main()
