"""Requests to deploy that are wrong; that a deployment runs is shown in tests/acceptance/test_prefect_server.py.

Oracles: exit codes and words of a fresh process, and a port at which nobody listens.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_recipes import toy_recipe

ROOT = Path(__file__).resolve().parent.parent


def deploy(folder: Path, *arguments: str, url: str | None = None) -> tuple[int, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "XDG_"))}
    own = {"HOME": str(folder), "PYTHONPATH": str(ROOT), **({"PREFECT_API_URL": url} if url else {})}
    command = [sys.executable, "-m", "limbeck", "deploy", str(toy_recipe(folder, 4)), *arguments]
    done = subprocess.run(command, env=kept | own, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_without_a_server_it_says_how_to_get_one(tmp_path):
    code, said = deploy(tmp_path, "--cron", "0 3 * * 1")
    assert code == 2
    assert "prefect server start" in said
    assert "PREFECT_API_URL" in said


def test_a_server_that_doesnt_answer(tmp_path):
    code, said = deploy(tmp_path, "--cron", "0 3 * * 1", url="http://127.0.0.1:9/api")
    assert code == 1
    assert "http://127.0.0.1:9/api: the Prefect server doesn't answer" in said


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--cron", "mondays"), "'mondays' is no schedule; expected minute, hour"),
        (("--cron", "0 0 30 2 *"), "'0 0 30 2 *' never comes"),
        (("--cron", "0 3 * * 1", "--timezone", "Mars/Olympus"), "'Mars/Olympus' is no time zone"),
        (("--cron", "0 3 * * 1", "--publish", "alone"), "'alone' can't be a name on the Hub"),
        (("--cron", "0 3 * * 1", "--publish", "me/toys"), "without a licence nothing is published"),
        (("--cron", "0 3 * * 1", "--set", "lucky.min_lukc=1"), "did you mean 'min_luck'?"),
        (("--cron", "0 3 * * 1", "--limit", "0"), "--limit"),
    ],
)
def test_a_wrong_request_is_2(tmp_path, arguments, word):
    code, said = deploy(tmp_path, *arguments, url="http://127.0.0.1:9/api")
    assert code == 2
    assert word in " ".join(said.split())
