"""An OpenAI-compatible chat server on 127.0.0.1 with faults on demand: for tests, demos and your own recipes.

    python -m limbeck.loopback --port 8000 --latency 0.05 --error-rate 0.1

    with LoopbackServer(Faults(error_rate=0.1)) as server:
        ...                       # base_url = server.base_url
        server.stats()["requests"]

It is no model: it fills the JSON schema it is sent with made-up text, or asks `answer` if one is given. Faults are
drawn from a hash of (seed, conversation, attempt), so every run meets the same ones and a retry is a new draw.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any, Self

from aiohttp import web

Answer = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how often.

    Attributes:
        latency: seconds until any answer.
        error_rate: share of requests answered 429 or 500, half each.
        retry_after: seconds in the `Retry-After` header of a 429; 0 sends none.
        malformed_rate: share of answers cut in half.
        endless_rate: share of answers that run into `max_tokens` (`finish_reason` is `length`).
        status: every request gets this HTTP status (401, 403, 404, 500, ...); 200 is normal.
        has_schema: False answers 400 to `response_format`, as servers without structured output do.
        seed: another seed, other requests fail.
    """

    latency: float = 0.0
    error_rate: float = 0.0
    retry_after: float = 0.0
    malformed_rate: float = 0.0
    endless_rate: float = 0.0
    status: int = 200
    has_schema: bool = True
    seed: int = 7


def made_up(body: dict[str, Any]) -> str:
    """A JSON object for the schema in `body`: every string is about the first user message, none like another's."""
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema", {})
    said = next((m["content"] for m in body["messages"] if m["role"] == "user"), "")
    if not isinstance(said, str):
        said = " ".join(block.get("text", "") for block in said)
    about = (said.strip().splitlines() or [""])[-1].partition("aption: ")[2] or said[-80:]
    if about[:1] == '"':
        with suppress(ValueError):
            about = json.loads(about)
    names = list(schema.get("properties", {"edit": {}, "output": {}}))
    word = hashlib.blake2b(f"{body['messages']}{body.get('seed')}".encode(), digest_size=4).hexdigest()
    return json.dumps({name: f"{name} {word}: {about}" for name in names}, ensure_ascii=False)


class _Counts:
    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()  # conversation -> requests seen
        self.answers: Counter[str] = Counter()  # conversation -> whole answers sent
        self.status: Counter[int] = Counter()
        self.malformed = self.in_flight = self.peak = self.with_schema = 0
        self.first = self.last = 0.0


class Loopback:
    """The application: answers chat completions and counts what it saw."""

    def __init__(self, faults: Faults | None = None, answer: Answer = made_up) -> None:
        self.faults = faults or Faults()
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        """The latest 100 requests, as they arrived."""
        self.counts = _Counts()

    def application(self) -> web.Application:
        """`/v1/chat/completions`, `/v1/models`, `/stats`, and `/reset` with faults to change as JSON."""
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/stats", self._stats)
        app.router.add_post("/reset", self._reset)
        return app

    def stats(self) -> dict[str, Any]:
        """Requests, whole answers, repeats of the same conversation, HTTP statuses, span in seconds."""
        seen = self.counts
        return {
            "requests": seen.requests.total(),
            "answers": seen.answers.total(),
            "answers_repeated": seen.answers.total() - len(seen.answers),
            "status": {str(code): n for code, n in seen.status.items()},
            "malformed": seen.malformed,
            "with_schema": seen.with_schema,
            "peak_in_flight": seen.peak,
            "span": round(seen.last - seen.first, 3),
        }

    def _draw(self, kind: str, key: str, attempt: int) -> float:
        digest = hashlib.blake2b(f"{self.faults.seed}/{kind}/{key}/{attempt}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    async def _chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        seen, faults = self.counts, self.faults
        self.bodies = [*self.bodies[-99:], body]
        key = hashlib.blake2b(json.dumps([body["messages"], body.get("seed")]).encode(), digest_size=12).hexdigest()
        seen.requests[key] += 1
        seen.in_flight += 1
        seen.peak = max(seen.peak, seen.in_flight)
        seen.first = seen.first or time.monotonic()
        try:
            await asyncio.sleep(faults.latency)
            return self._reply(body, key, seen.requests[key])
        finally:
            seen.in_flight -= 1
            seen.last = time.monotonic()

    def _reply(self, body: dict[str, Any], key: str, attempt: int) -> web.Response:
        seen, faults = self.counts, self.faults
        if faults.status != 200:
            return self._error(faults.status, "refused on demand")
        if "response_format" in body:
            if not faults.has_schema:
                return self._error(400, "response_format is not supported by this server")
            seen.with_schema += 1
        if self._draw("error", key, attempt) < faults.error_rate:
            limited = self._draw("code", key, attempt) < 0.5
            headers = {"Retry-After": str(faults.retry_after)} if limited and faults.retry_after else {}
            return self._error(429 if limited else 500, "rate limit" if limited else "internal error", headers)
        text, finish = self.answer(body), "stop"
        if self._draw("malformed", key, attempt) < faults.malformed_rate:
            text = text[: len(text) // 2]
            seen.malformed += 1
        elif self._draw("endless", key, attempt) < faults.endless_rate:
            text, finish = text[:-1] + " and so on" * 20, "length"
            seen.malformed += 1
        else:
            seen.answers[key] += 1
        seen.status[200] += 1
        return web.json_response(
            {
                "id": f"chatcmpl-{key}",
                "object": "chat.completion",
                "created": int(time.time()),
                "model": body.get("model", "loopback"),
                "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
                "usage": {"prompt_tokens": 60, "completion_tokens": 30, "total_tokens": 90},
            }
        )

    def _error(self, code: int, what: str, headers: dict[str, str] | None = None) -> web.Response:
        self.counts.status[code] += 1
        error = {"message": what, "type": "loopback", "code": str(code)}
        return web.json_response({"error": error}, status=code, headers=headers)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "loopback", "object": "model"}]})

    async def _stats(self, _: web.Request) -> web.Response:
        return web.json_response(self.stats())

    async def _reset(self, request: web.Request) -> web.Response:
        self.faults = replace(self.faults, **await request.json())
        self.counts = _Counts()
        return web.json_response({})


class LoopbackServer(Loopback):
    """A `Loopback` on a free port, in a thread of its own, for the length of a `with` block."""

    def __enter__(self) -> Self:
        """Serves from now on; `base_url` says where."""
        self._loop = asyncio.new_event_loop()
        started: threading.Event = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(started,), name="loopback", daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Stops, and closes the port."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _serve(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._until_stopped(started))
        self._loop.close()

    async def _until_stopped(self, started: threading.Event) -> None:
        self._stop = asyncio.Event()
        runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        started.set()
        await self._stop.wait()
        await runner.cleanup()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m limbeck.loopback", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    for fault in fields(Faults):
        flag = "--" + fault.name.replace("_", "-")
        if fault.name == "has_schema":
            parser.add_argument("--no-schema", dest="has_schema", action="store_false")
        else:
            parser.add_argument(flag, type=type(fault.default), default=fault.default)
    settings = vars(parser.parse_args())
    port = settings.pop("port")
    print(f"http://127.0.0.1:{port}/v1", flush=True)
    server = Loopback(Faults(**settings))
    web.run_app(server.application(), host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
