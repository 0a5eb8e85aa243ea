"""The temporary server's edges; that it works is shown in tests/acceptance/test_prefect_server.py.

Oracles: the environment of a fresh interpreter, and a server program that is `false`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import prefect_api
from limbeck.errors import WorkError

ROOT = Path(__file__).resolve().parent.parent


def fresh(code: str, home: Path, **more: str) -> str:
    """What a new interpreter prints, whose user has only what is given here."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "XDG_")) and k != "DO_NOT_TRACK"}
    environment = {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return done.stdout.strip()


def test_who_has_no_prefect_home_keeps_having_none(tmp_path):
    said = fresh("from flows.prefect_api import configured; print(configured()); import prefect", tmp_path)
    assert said == "None"
    assert not (tmp_path / ".prefect").exists()


def test_the_users_own_settings_win(tmp_path):
    code = (
        "from flows.prefect_api import configured; print(configured());"
        "import os; print(os.environ['PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL'], os.environ['DO_NOT_TRACK'])"
    )
    url = "http://127.0.0.1:4999/api"
    said = fresh(code, tmp_path, PREFECT_API_URL=url, PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL="INFO")
    assert said.splitlines() == [url, "INFO 1"]


def test_a_server_that_ends_is_an_error_that_names_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(prefect_api.sys, "executable", "/bin/false")
    server = prefect_api.TemporaryServer()
    with pytest.raises(WorkError, match="ended with exit code 1") as caught:
        server.wait()
    server.stop()
    assert str(tmp_path / "limbeck" / "prefect" / "server.log") in str(caught.value)
    assert "--direct" in str(caught.value)


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(prefect_api.sys, "executable", str(sleeper))
    server = prefect_api.TemporaryServer()
    with pytest.raises(WorkError, match="didn't answer"):
        server.wait(limit_s=0.2)
    server.stop()
    assert server._process.returncode is not None


def test_a_cache_that_cant_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert prefect_api.home().is_dir()


def test_flow_files_hide_no_package():
    """Prefect's script loader registers a flow file under its bare name."""
    taken = {"limbeck", "generators", "filters", "distill", "flows"} | set(sys.stdlib_module_names)
    assert not {path.stem for path in (ROOT / "flows").glob("*.py")} & taken
