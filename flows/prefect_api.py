"""A Prefect API for one command: the user's own server where one is configured, else a quiet temporary one.

    prepare()                       before Prefect is imported
    with prefect_api() as wait:     starts; goes on at once
        ...                         other things that take their time
        wait()                      from here on flows can run

Differs from Prefect's own temporary server in four ways: it starts in the background while models load; it runs the
API alone, without the services that nobody waits for (schedules, late runs, recorders: they take CPU from the build,
and their shutdown is what prints tracebacks); what it says goes to a log file; its database lies in limbeck's cache,
never in the user's `~/.prefect`.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from limbeck.errors import WorkError

T = TypeVar("T")
START_LIMIT_S = 120.0
"""A first start migrates a new database: ten seconds on an idle machine, minutes on a loaded one."""
QUIET = {
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the terminal is ours; the API still gets every line
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "limbeck",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
"""What is set unless the user's environment says otherwise."""
_SERVER = "-m prefect server start --host 127.0.0.1 --no-services --no-ui --analytics-off"


def prepare() -> None:
    """Sets the environment that Prefect reads on import; the user's own settings win.

    Importing Prefect makes its home folder. Who has none keeps having none.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if "PREFECT_HOME" not in os.environ and not (Path.home() / ".prefect").exists():
        os.environ["PREFECT_HOME"] = str(home())


def home() -> Path:
    """The folder of the temporary server: its database and log."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limbeck" / "prefect"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(mkdtemp(prefix="limbeck-prefect-"))
    return cache


def configured() -> str | None:
    """Address of the API that the user's environment, profile or project file names, or None."""
    prepare()
    from prefect.settings import get_current_settings

    url = get_current_settings().api.url
    return None if url is None else str(url)


@contextmanager
def prefect_api() -> Iterator[Callable[[], str]]:
    """Makes sure that flows find an API; yields what waits for it and returns its address.

    Raises:
        WorkError: the temporary server didn't start; from waiting.
    """
    if (url := configured()) is not None:
        yield lambda: url
        return
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with ExitStack() as leaving:
        server = TemporaryServer()
        leaving.callback(server.stop)

        def wait() -> str:
            address = server.wait()
            leaving.enter_context(temporary_settings({PREFECT_API_URL: address}))
            leaving.callback(_flush)
            return address

        yield wait


def run_flow(
    flow: Callable[[], T], directly: Callable[[], T], note: Callable[[str], None], meanwhile: Callable[[], None]
) -> T:
    """Runs a flow; without Prefect where no server is configured and the temporary one doesn't come up.

    Args:
        flow: calls the flow.
        directly: does the same without Prefect.
        note: is told why it goes on without.
        meanwhile: what can be done while the server starts; may import Prefect.

    Raises:
        WorkError: the user's own server doesn't answer; and what `flow` and `directly` raise.
    """
    with prefect_api() as wait:
        meanwhile()
        try:
            wait()
        except WorkError as error:
            if configured():
                raise
            note(f"{error}. Going on without Prefect.")
            return directly()
        return flow()


class TemporaryServer:
    """A Prefect server of our own on a free port of this machine, as a child process."""

    def __init__(self) -> None:
        """Starts it; doesn't wait."""
        self.home = home()
        self.log = self.home / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/api"
        own = {"PREFECT_HOME": str(self.home), "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false"}
        others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *_SERVER.split(), "--port", str(port)],
                env={**others, **QUIET, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the build, which stops the server when it has tidied up
            )

    def wait(self, limit_s: float = START_LIMIT_S) -> str:
        """The API's address, as soon as it answers.

        Raises:
            WorkError: it ended, or didn't answer in time.
        """
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise self._failed(f"ended with exit code {self._process.returncode}")
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return self.url
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise self._failed(f"didn't answer within {limit_s:.0f} s")

    def _failed(self, what: str) -> WorkError:
        return WorkError(
            f"the temporary Prefect server {what}", where=str(self.log), remedy="read that file, or run with --direct"
        )

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _flush() -> None:
    """Sends what is still queued for the API while it is there; later it could only complain."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=5)
    EventsWorker.drain_all(timeout=5)
