"""The `Run` handle of a stage, and the models behind it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck import models, seeds
from limbeck.journal import Journal
from limbeck.models.spec import ModelSpec
from limbeck.paths import beside
from limbeck.progress import Observer
from limbeck.records import made_by
from limbeck.stage import models_of

if TYPE_CHECKING:
    import numpy as np

    from limbeck.frames import Frame
    from limbeck.models.roles import ChatAnswer, Role
    from limbeck.schema import StageTable

_QUIET_TURNS = 8
"""Turns of the event loop without a new question after which all rows of a part are taken to wait for answers."""


class ModelPool:
    """The models of a process, each loaded once and when first asked for."""

    def __init__(self, specs: dict[str, ModelSpec], folder: Path, observer: Observer) -> None:
        """Loads nothing."""
        self.specs, self.folder, self._observer = specs, folder, observer
        self._loaded: dict[tuple[str, Role], Any] = {}
        self._lock = threading.RLock()
        self._turns: dict[tuple[str, int], asyncio.Lock] = {}

    def get(self, name: str, role: Role) -> Any:
        """The backend that plays `role` for the recipe's model `name`."""
        with self._lock:
            if (name, role) not in self._loaded:
                start = time.perf_counter()
                self._loaded[name, role] = models.load(self.specs[name], role, self.folder, name=name)
                self._observer.model_loaded(name, time.perf_counter() - start)
            return self._loaded[name, role]

    def put(self, name: str, role: Role, backend: Any) -> None:
        """Uses a backend that is loaded already, in place of the recipe's."""
        self._loaded[name, role] = backend

    def turn(self, name: str) -> asyncio.Lock:
        """What parts take turns by at a model in this process."""
        return self._turns.setdefault((name, id(asyncio.get_running_loop())), asyncio.Lock())

    async def aclose(self) -> None:
        """Ends connections."""
        for backend in self._loaded.values():
            if hasattr(backend, "aclose"):
                await backend.aclose()


class Rounds:
    """Puts a part's questions to a model in this process in rounds, so that batches don't depend on timing.

    A round holds every question that the part's rows ask before all of them wait; parts take turns. Killed and
    resumed, the same rows ask the same questions in the same company.
    """

    def __init__(self, backend: Any, turn: asyncio.Lock) -> None:
        """One for each part, stage and model; `turn` is the model's."""
        self._backend, self._turn = backend, turn
        self._asked: list[tuple[asyncio.Future[ChatAnswer], list, dict]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, messages: list[dict[str, Any]], parameters: dict[str, Any]) -> ChatAnswer:
        """The answer, when the round is through."""
        future: asyncio.Future[ChatAnswer] = asyncio.get_running_loop().create_future()
        self._asked.append((future, messages, parameters))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while self._asked:
            asked, quiet = len(self._asked), 0
            while quiet < _QUIET_TURNS:
                await asyncio.sleep(0)
                quiet = quiet + 1 if len(self._asked) == asked else 0
                asked = len(self._asked)
            round_, self._asked = self._asked, []
            async with self._turn:
                answers = await asyncio.gather(
                    *(self._backend.complete(messages, **parameters) for _, messages, parameters in round_),
                    return_exceptions=True,
                )
            for (future, _, _), answer in zip(round_, answers, strict=True):
                if future.done():
                    continue
                if isinstance(answer, BaseException):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)


class Handle:
    """One stage's `Run` for one part; see `limbeck.stage.Run`.

    Attributes:
        counters: what the stage counted.
        paid: keys of the journal's answers that each row got.
    """

    def __init__(
        self,
        table: StageTable,
        *,
        seed: int,
        pool: ModelPool,
        journal: Journal | None = None,
        fingerprints: Mapping[str, str] | None = None,
        frame: Frame | None = None,
    ) -> None:
        """The stage's handle.

        Args:
            table: the stage with its id.
            seed: the recipe's.
            pool: its models.
            journal: where answers of endpoints are kept.
            fingerprints: of the models, by name.
            frame: what comes in, for `computed`.
        """
        self.stage_id = table.id
        self.log = logging.getLogger(f"limbeck.stages.{table.id}")
        self.counters: Counter[str] = Counter()
        self.paid: defaultdict[str, list[str]] = defaultdict(list)
        self._seed = seed
        self._fingerprints = fingerprints or {}
        self._roles = {name: role for name, role in models_of(table.stage).values()}
        self._pool, self._journal, self._frame = pool, journal, frame
        self._rounds: dict[str, Rounds] = {}

    def model(self, name: str) -> Any:
        """The backend of one of the recipe's models."""
        return self._pool.get(name, self._role(name))

    def fingerprint(self, name: str) -> str:
        """A model's fingerprint, without loading it."""
        self._role(name)
        return self._fingerprints[name]

    def computed(self, column: str, model: str) -> bool:
        """Whether the incoming rows hold this column, by a model with this fingerprint."""
        field = None if self._frame is None else self._frame.field(column)
        return field is not None and made_by(field) == self.fingerprint(model)

    def path(self, setting: str) -> Path:
        """Where a path among the settings leads."""
        return beside(self._pool.folder, setting)

    def rng(self, row_id: str, draw: int = 0) -> np.random.Generator:
        """Random numbers of one row and draw."""
        return seeds.rng(self._seed, self.stage_id, row_id, draw)

    def seed(self, row_id: str, draw: int = 0) -> int:
        """The 64-bit seed of one row and draw."""
        return seeds.seed(self._seed, self.stage_id, row_id, draw)

    def count(self, name: str, amount: float = 1) -> None:
        """Adds to a counter of the stage's report."""
        self.counters[name] += amount

    async def chat(
        self,
        name: str,
        messages: list[dict[str, Any]],
        *,
        row_id: str,
        draw: int = 0,
        attempt: int = 0,
        **parameters: Any,
    ) -> ChatAnswer:
        """Asks a chat model; answers of endpoints are journalled before they come back."""
        spec = self._pool.specs.get(name)
        seed = parameters.get("seed")
        parameters["seed"] = (self.seed(row_id, draw * 1024 + attempt) if seed is None else seed) & 0x7FFFFFFF
        if spec is None or not spec.is_endpoint or self._journal is None:
            if name not in self._rounds:
                self._rounds[name] = Rounds(self.model(name), self._pool.turn(name))
            self.counters["answers"] += 1
            return await self._rounds[name].ask(messages, parameters)
        key = Journal.key(spec.base_url, spec.model, messages, parameters, self.stage_id, row_id, draw, attempt)
        answer = self._journal.get(key)
        if answer is None:
            answer = await self.model(name).complete(messages, **parameters)
            await self._journal.add(key, answer, stage=self.stage_id, row_id=row_id, draw=draw, attempt=attempt)
        self.paid[row_id].append(key)
        self.counters["answers"] += 1
        self.counters["prompt_tokens"] += answer.usage.prompt_tokens
        self.counters["completion_tokens"] += answer.usage.completion_tokens
        return answer

    def _role(self, name: str) -> Role:
        try:
            return self._roles[name]
        except KeyError:
            raise KeyError(
                f"stage {self.stage_id!r} asks for the model {name!r}, which none of its settings names"
            ) from None
