"""The terminal: where results, progress and notes go, and what is opened in a browser."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.text import Text

from flows.progress_bars import ProgressBars, ProgressLines


def results() -> Console:
    """Standard output: what was asked for. A file or pipe has no edge at which lines would have to end."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=240)


def notes() -> Console:
    """Standard error: progress and notes, so that standard output can be piped."""
    return Console(stderr=True, highlight=False)


def progress() -> ProgressBars | ProgressLines:
    """Bars where somebody watches, else plain lines."""
    console = notes()
    if console.is_terminal:
        return ProgressBars(console)
    return ProgressLines(lambda line: print(line, file=sys.stderr, flush=True))


def fact(name: str, value: Text) -> Text:
    """A line such as `look  OUT/report/index.html`; never cut, so that what it says can be copied."""
    line = Text.assemble((f"{name:<{max(len(name), 12)}}  ", "dim"), value)
    line.no_wrap, line.overflow = True, "ignore"
    return line


def write_json(value: Any) -> None:
    """Writes one JSON value to standard output."""
    print(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def show(page: Path, *, wanted: bool) -> None:
    """Opens a page in the browser where there is one to open."""
    if wanted and _has_display():
        webbrowser.open(page.resolve().as_uri())


def _has_display() -> bool:
    if not sys.stdout.isatty() or os.environ.get("SSH_CONNECTION"):
        return False
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
