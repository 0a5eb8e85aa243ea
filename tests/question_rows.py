"""Rows for tests of visual instructions, made by the real stages without a build around them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from limbeck import seeds
from limbeck.stage import Drop
from limbeck.storybook.source import rows as scenes


class DirectRun:
    """The `Run` protocol without a runner: the same seeds, one chat model, no journal."""

    log = logging.getLogger("test")

    def __init__(self, stage_id="stage", chat=None):
        self.stage_id, self.chat_model, self.calls = stage_id, chat, []

    def model(self, name):
        return self.chat_model

    def path(self, setting):
        return Path(setting)

    def rng(self, row_id, draw=0):
        return seeds.rng(7, self.stage_id, row_id, draw)

    def seed(self, row_id, draw=0):
        return seeds.seed(7, self.stage_id, row_id, draw)

    async def chat(self, name, messages, *, row_id, draw=0, attempt=0, **parameters):
        self.calls.append((row_id, draw, attempt, messages))
        return await self.chat_model.complete(messages, **parameters)

    def count(self, name, amount=1):
        pass


def made(stage, rows, run=None):
    """What a generator makes of rows, drops left out."""
    return [row for row in stage.generate(rows, run or DirectRun(stage.name)) if not isinstance(row, Drop)]


def asked(stage, rows, run):
    """What a generator that waits makes of rows, in order."""

    async def everything():
        return await asyncio.gather(*(stage.generate_one(row, run) for row in rows))

    return [result for results in asyncio.run(everything()) for result in results]


def storybook(n, seed=3):
    """Scenes as source rows."""
    return list(scenes(n, seed))
