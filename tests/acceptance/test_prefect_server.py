"""Runs as a user starts them, against a real Prefect server and against the temporary one.

The oracles are the server's own API, the files of the build, and what the terminal shows: nothing of Prefect's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_build import small_build
from test_limbeck_hub import Hub
from toy_recipes import TOYS, data_digest, toy_recipe

from limbeck.hub import plan_upload

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.acceptance
NOISE = ("Traceback", "prefect.", "httpx", "RuntimeError", "Warning")


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """A user who has never heard of Prefect."""
    home = tmp_path_factory.mktemp("home")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "XDG_"))}
    return {**kept, "HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


@pytest.fixture(scope="module")
def server(environment, tmp_path_factory) -> Iterator[str]:
    """A server as `prefect server start` makes it, with all its services."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    own = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**environment, **own}, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/api"
    until = time.monotonic() + 600
    while True:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, (home / "log").read_text()
            assert time.monotonic() < until, "the server didn't start"
            time.sleep(0.2)
    yield url
    process.terminate()
    process.wait(timeout=30)


def ask(url: str, what: str) -> list[dict]:
    request = urllib.request.Request(
        f"{url}/{what}/filter", data=b'{"limit": 200}', headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def limbeck(*arguments: object, environment: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "limbeck", *map(str, arguments)],
        env={**environment, **more}, capture_output=True, text=True, timeout=1200, check=False,
    )  # fmt: skip


def settled(url: str, what: str, count: int) -> list[dict]:
    """Task runs are recorded a moment after they end."""
    until = time.monotonic() + 60
    while True:
        runs = ask(url, what)
        if (len(runs) >= count and all(run["state_type"] == "COMPLETED" for run in runs)) or time.monotonic() > until:
            return runs
        time.sleep(0.5)


def test_a_run_shows_in_the_users_server_with_a_task_for_each_part(server, environment, tmp_path):
    recipe = toy_recipe(tmp_path, 20)  # five parts of four rows
    done = limbeck("run", recipe, "--out", tmp_path / "out", environment=environment, PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    (run,) = [run for run in ask(server, "flow_runs") if run["parameters"]["recipe"] == str(recipe)]
    assert run["state_type"] == "COMPLETED"
    tasks = [task for task in settled(server, "task_runs", 5) if task["flow_run_id"] == run["id"]]
    assert sorted(task["name"] for task in tasks) == [f"part-{i:05d}" for i in range(5)]
    assert {task["state_type"] for task in tasks} == {"COMPLETED"}
    assert not [word for word in NOISE if word in done.stdout + done.stderr]
    direct = limbeck("run", recipe, "--out", tmp_path / "direct", "--direct", environment=environment)
    assert direct.returncode == 0
    assert data_digest(tmp_path / "out") == data_digest(tmp_path / "direct")


def test_a_part_that_stumbles_is_tried_again(server, environment, tmp_path):
    stage = tmp_path / "stumbles.py"
    stage.write_text(f'''
from pathlib import Path
from typing import ClassVar
import sys
sys.path.insert(0, {str(TOYS.parent)!r})
from toy_stages import Instruct
from limbeck.stage import settings

@settings
class Stumbles(Instruct):
    """Loses its network once."""

    name: ClassVar = "stumbles"

    async def generate_one(self, row, run):
        marker = Path({str(tmp_path / "stumbled")!r})
        if not marker.exists():
            marker.touch()
            raise OSError("the network is away")
        return await super().generate_one(row, run)
''')
    recipe = toy_recipe(tmp_path, 4)
    recipe.write_text(recipe.read_text().replace(f"{TOYS}:Instruct", f"{stage}:Stumbles"))
    done = limbeck("run", recipe, "--out", tmp_path / "out", environment=environment, PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    (run,) = [run for run in ask(server, "flow_runs") if run["parameters"]["recipe"] == str(recipe)]
    (task,) = [task for task in settled(server, "task_runs", 1) if task["flow_run_id"] == run["id"]]
    assert task["run_count"] == 2
    assert not [word for word in NOISE if word in done.stdout + done.stderr]


def test_a_failed_run_says_one_thing_and_shows_as_failed(server, environment, tmp_path):
    recipe = toy_recipe(tmp_path, [f"broken {i}" for i in range(8)])
    done = limbeck("run", recipe, "--out", tmp_path / "out", environment=environment, PREFECT_API_URL=server)
    assert done.returncode == 1
    assert done.stderr.count("max_error_rate") == 1
    assert not [word for word in NOISE if word in done.stdout + done.stderr]
    (run,) = [run for run in ask(server, "flow_runs") if run["parameters"]["recipe"] == str(recipe)]
    assert run["state_type"] == "FAILED"


def test_without_a_server_a_temporary_one_leaves_no_trace_in_the_users_home(environment, tmp_path):
    recipe = toy_recipe(tmp_path, 20)
    done = limbeck("run", recipe, "--out", tmp_path / "out", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "without Prefect" not in done.stderr, done.stderr
    assert not [word for word in NOISE if word in done.stdout + done.stderr]
    assert {line.partition(":")[0] for line in done.stderr.splitlines()} <= {
        "instruct",
        "sample",
        "lucky",
        "best",
        "unique",
    }
    home = Path(environment["HOME"])
    assert not (home / ".prefect").exists()
    log = home / ".cache" / "limbeck" / "prefect" / "server.log"
    assert "Traceback" not in log.read_text()
    commands = [Path(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit()]
    environs = [
        path.parent / "environ" for path in commands if path.exists() and b"prefect\0server" in path.read_bytes()
    ]
    assert not [
        path for path in environs if str(home).encode() in path.read_bytes() and b"limbeck/prefect" in path.read_bytes()
    ]


def test_on_several_devices_a_task_is_a_worker(server, environment, tmp_path):
    recipe = toy_recipe(tmp_path, 16, run='devices = ["cpu", "cpu"]')
    done = limbeck("run", recipe, "--out", tmp_path / "out", environment=environment, PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    (run,) = [run for run in ask(server, "flow_runs") if run["parameters"]["recipe"] == str(recipe)]
    tasks = [task for task in settled(server, "task_runs", 2) if task["flow_run_id"] == run["id"]]
    assert sorted(task["name"] for task in tasks) == ["worker-0-cpu", "worker-1-cpu"]
    assert not [word for word in NOISE if word in done.stdout + done.stderr]


def test_the_deployable_reference_runs_too(server, environment, tmp_path):
    recipe = toy_recipe(tmp_path, 4)
    asked = f"{str(recipe)!r}, {str(tmp_path / 'out')!r}"
    code = f"from flows.build_dataset import build_dataset; print(build_dataset({asked}))"
    own = {"PREFECT_API_URL": server, "PREFECT_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, **own},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "'finished': True" in done.stdout


@pytest.fixture
def worker(server, environment, tmp_path) -> Iterator[Path]:
    """A worker of the pool that `limbeck deploy` makes, as `prefect worker start` makes one; yields its log."""
    own = {"PREFECT_API_URL": server, "PREFECT_HOME": str(tmp_path / "worker"), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "limbeck", "--type", "process"]
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, env={**environment, **own}, stdout=log, stderr=log, cwd=tmp_path)
    yield tmp_path / "worker.log"
    process.terminate()
    process.wait(timeout=60)


def test_a_deployed_recipe_runs_on_its_schedule_with_its_settings(server, environment, worker, tmp_path):
    """The first run is the schedule's own, within a minute or so; oracles: the server, and a build made directly."""
    recipe = toy_recipe(tmp_path, 20)
    own = {"PREFECT_API_URL": server}
    asked = ["--set", "lucky.min_luck=0.5", "--limit", 12, "--out", tmp_path / "weekly"]
    for cron in ("0 3 * * 1", "* * * * *"):  # the second replaces the first
        done = limbeck("deploy", recipe, "--cron", cron, *asked, environment=environment, **own)
        assert done.returncode == 0, done.stderr
        assert "prefect worker start --pool limbeck" in done.stdout
        assert not [word for word in NOISE if word in done.stdout + done.stderr]
    (made,) = ask(server, "deployments")
    assert made["entrypoint"] == "flows.build_dataset:build_dataset"
    assert [each["schedule"]["cron"] for each in made["schedules"]] == ["* * * * *"]
    until = time.monotonic() + 240
    while not (
        runs := [
            r for r in ask(server, "flow_runs") if r["deployment_id"] == made["id"] and r["state_type"] == "COMPLETED"
        ]
    ):
        assert time.monotonic() < until, worker.read_text()
        time.sleep(1)
    assert runs[0]["auto_scheduled"]
    assert runs[0]["parameters"]["sets"] == ["lucky.min_luck=0.5"]
    request = urllib.request.Request(f"{server}/deployments/{made['id']}", method="DELETE")
    urllib.request.urlopen(request, timeout=30).close()
    direct = limbeck("run", recipe, *asked[:-1], tmp_path / "direct", "--direct", environment=environment)
    assert direct.returncode == 0, direct.stderr
    assert data_digest(tmp_path / "weekly") == data_digest(tmp_path / "direct")


def test_a_deployed_recipe_publishes_what_it_builds(server, environment, tmp_path):
    """The flow as a worker calls it; oracle: the Hub that got the files."""
    hub = Hub(tmp_path / "hub")
    small_build(tmp_path / "squares")
    recipe, out = tmp_path / "squares" / "recipe.toml", tmp_path / "out"
    own = {"PREFECT_API_URL": server, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    done = limbeck(
        "deploy", recipe, "--cron", "0 3 * * 1", "--publish", "me/squares", "--out", out, environment=environment, **own
    )
    assert done.returncode == 0, done.stderr
    assert "HF_TOKEN" in done.stdout
    (made,) = [each for each in ask(server, "deployments") if each["name"] == "squares"]
    assert "hf_good" not in json.dumps(made)
    code = f"from flows.build_dataset import build_dataset; print(build_dataset(**{made['parameters']!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **own, "HF_TOKEN": "hf_good"},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    repo = hub.state()["repos"]["me/squares"]
    assert repo["private"]
    assert set(repo["files"]) == set(plan_upload(out, "me/squares").files)
    names = {run["name"] for run in ask(server, "flow_runs")}
    assert {str(recipe), "me/squares"} <= names
    hub.process.terminate()
    hub.process.wait(timeout=10)
