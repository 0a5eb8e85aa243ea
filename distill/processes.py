"""Several processes that train one student: who does what alone, and how the others wait for it.

    torchrun --nproc-per-node 4 -m limbeck distill RECIPE

Rows and the teacher's answers are made by whoever holds the lock of their folder; the others then find them made.
Only the steps of a training are shared work. Waiting goes by files, not by collectives: those give up after minutes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

_Found = TypeVar("_Found")


def world() -> int:
    """How many processes there are, as the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1") or 1)


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return int(os.environ.get("RANK", "0") or 0) == 0


def preparing(device: str) -> int:
    """How many processes prepare the batches of one that trains: on a GPU up to four, of the cores that are left to it.

    A CPU's cores train themselves. Rows come out the same, whoever prepares them.

    >>> preparing("cpu")
    0
    """
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1") or 1)
    return max(0, min(4, cores - 1)) if device.startswith("cuda") else 0


@contextmanager
def one_at_a_time(folder: Path, name: str) -> Iterator[None]:
    """A lock between processes."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{name}.lock"):
        yield


def awaited(look: Callable[[], _Found | None], every_s: float = 0.2) -> _Found:
    """What the main process makes, as soon as it is there; if that process fails, the launcher ends this one."""
    while (found := look()) is None:
        time.sleep(every_s)
    return found
