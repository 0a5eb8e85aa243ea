"""Answers of paid calls, on disk before they are used: no call is paid twice because of a crash.

    journal/3120-9f3c11aa.jsonl     one file a process, appended to

An answer is written the moment it arrives, so a killed process loses none, and is handed on once it is synced, in
groups of at most 64 answers or 50 ms, so that a power cut loses none that was used. A torn last line is ignored.

A row that failed because its answers were of no use is asked anew when it is tried again: a line names their places, and
they are never handed out again. They stay paid.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from limbeck.models.roles import ChatAnswer, Usage
from limbeck.store import disk_errors

_GROUP_S = 0.02
_GROUP_ANSWERS = 64


@dataclass
class Spent:
    """What one stage's answers cost, over all runs of a build.

    Attributes:
        answers: paid answers.
        prompt_tokens: their prompts' tokens.
        completion_tokens: tokens they wrote.
        cost: in the recipe's currency; None where a price is unknown.
    """

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0

    def add(self, usage: Mapping[str, Any]) -> None:
        """Counts one answer."""
        self.answers += 1
        self.prompt_tokens += usage["in"]
        self.completion_tokens += usage["out"]
        cost = usage["cost"]
        self.cost = None if self.cost is None or cost is None else self.cost + cost


class Journal:
    """The answers of one build.

    Attributes:
        spent: by stage, what all answers in the journal cost; a resumed run counts none twice.
        hits: answers taken from the journal by this process.
    """

    def __init__(self, folder: Path) -> None:
        """Reads what is there."""
        self._folder = folder
        self._index: dict[str, tuple[Path, int, int]] = {}
        self._earlier: defaultdict[str, list[tuple[Path, int, int]]] = defaultdict(list)  # of the same key
        self._useless: set[tuple[str, int]] = set()
        self._read: dict[Path, int] = {}
        self._file: int | None = None
        self._path = folder / f"{os.getpid()}-{secrets.token_hex(4)}.jsonl"
        self._waiting = 0
        self._synced: asyncio.Event | None = None
        self._syncer: asyncio.Task[None] | None = None
        self._full: asyncio.Event | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._failed: BaseException | None = None
        self.spent: defaultdict[str, Spent] = defaultdict(Spent)
        self.hits = 0
        self.refresh()

    @staticmethod
    def key(*facts: Any) -> str:
        """Key of a call: a hash of everything that it depends on.

        >>> Journal.key("http://host/v1", "m", [{"role": "user", "content": "hi"}], 0) == Journal.key("other")
        False
        """
        return hashlib.blake2b(orjson.dumps(facts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()

    def refresh(self) -> None:
        """Reads what other processes have added since the last time."""
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.glob("*.jsonl")):
            start = self._read.get(path, 0)
            if path == self._path or path.stat().st_size <= start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # torn, or not finished yet
                    try:
                        entry = orjson.loads(line)
                        self._note(entry, path, start, len(line))
                    except (orjson.JSONDecodeError, KeyError, TypeError):
                        pass  # damaged: the call is made again
                    start += len(line)
            self._read[path] = start

    def get(self, key: str) -> ChatAnswer | None:
        """The answer to a call that was paid before."""
        places = [self._index[key], *self._earlier.get(key, ())] if key in self._index else []
        place = next((p for p in places if (p[0].name, p[1]) not in self._useless), None)
        if place is None:
            return None
        path, start, length = place
        with path.open("rb") as file:
            file.seek(start)
            entry = orjson.loads(file.read(length))
        self.hits += 1
        usage = Usage(entry["in"], entry["out"], entry["cost"])
        return ChatAnswer(entry["text"], entry["finish"], usage, entry["model"])

    async def add(self, key: str, answer: ChatAnswer, *, stage: str, row_id: str, draw: int, attempt: int) -> None:
        """Keeps an answer; returns when it is on the disk.

        Raises:
            DiskFull: it can't be kept, so it must not be used.
        """
        usage = answer.usage
        entry = {
            "key": key, "stage": stage, "row": row_id, "draw": draw, "attempt": attempt, "model": answer.model,
            "text": answer.text, "finish": answer.finish_reason,
            "in": usage.prompt_tokens, "out": usage.completion_tokens, "cost": usage.cost,
        }  # fmt: skip
        self._append(entry)
        await self._durable()

    async def set_aside(self, keys: Iterable[str]) -> None:
        """Hands out these answers never again, as they were of no use; returns when that is on the disk.

        Raises:
            DiskFull: it can't be kept.
        """
        places = (
            place for key in keys if key in self._index for place in (self._index[key], *self._earlier.get(key, ()))
        )
        if new := {(path.name, start) for path, start, _ in places} - self._useless:
            self._append({"useless": sorted(new)})
            await self._durable()

    def _append(self, entry: dict[str, Any]) -> None:
        line = orjson.dumps(entry) + b"\n"
        with disk_errors(self._folder):
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                self._read[self._path] = 0
            written = os.write(self._file, line)
            while written < len(line):  # a nearly full disk takes some of it, then raises
                written += os.write(self._file, line[written:])
        start = self._read[self._path]
        self._read[self._path] = start + len(line)
        self._note(entry, self._path, start, len(line))

    async def _durable(self) -> None:
        """Waits for the next sync, which everybody who came meanwhile shares."""
        if self._synced is None:
            self._synced, self._full = asyncio.Event(), asyncio.Event()
            self._waiting = 0
            self._syncer = asyncio.create_task(self._sync(self._synced, self._full, self._syncer))
        synced = self._synced
        self._waiting += 1
        if self._waiting >= _GROUP_ANSWERS:
            self._full.set()
        await synced.wait()
        if self._failed is not None:
            raise self._failed

    async def _sync(self, synced: asyncio.Event, full: asyncio.Event, before: asyncio.Task[None] | None) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(full.wait(), _GROUP_S)
        self._synced = None  # who comes from now on waits for the next one
        if before is not None and not before.done():
            await asyncio.wait([before])
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        try:
            with disk_errors(self._folder):
                await asyncio.get_running_loop().run_in_executor(self._thread, os.fsync, self._file)
        except BaseException as error:
            self._failed = error
        synced.set()

    def close(self) -> None:
        """Ends the process's own file."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _note(self, entry: Mapping[str, Any], path: Path, start: int, length: int) -> None:
        if "useless" in entry:
            self._useless.update((name, place) for name, place in entry["useless"])
            return
        self.spent[entry["stage"]].add(entry)
        if entry["key"] in self._index:
            self._earlier[entry["key"]].append(self._index[entry["key"]])
        self._index[entry["key"]] = (path, start, length)
