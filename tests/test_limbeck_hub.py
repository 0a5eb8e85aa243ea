"""Publishing. Oracle: a Hub on 127.0.0.1 in a process of its own, the files that it got, and `datasets` loading from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_build import small_build

from limbeck.errors import NotPublishable, RequestError
from limbeck.hub import plan_upload

ROOT = Path(__file__).resolve().parent.parent
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    return small_build(tmp_path_factory.mktemp("squares")).path


class Hub:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        command = [sys.executable, str(ROOT / "tests" / "hub_server.py"), str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def state(self) -> dict:
        with urllib.request.urlopen(f"{self.url}/_state", timeout=10) as answer:
            return json.load(answer)

    def faults(self, **faults: list[int]) -> None:
        """The next requests of a kind fail with these statuses; what was seen so far is forgotten."""
        request = urllib.request.Request(
            f"{self.url}/_faults", json.dumps(faults).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Iterator[Hub]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.process.terminate()
    hub.process.wait(timeout=10)


def python(*arguments: object, url: str, token: str | None = "hf_good", home: Path, **more: str):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "PREFECT"))}
    own = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HOME": str(home), "PYTHONPATH": str(ROOT)}
    if token is not None:
        own["HF_TOKEN"] = token
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**kept, **own, **more}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert "hf_good" not in done.stdout + done.stderr
    return done


def publish(build: Path, to: str, *arguments: str, **options):
    return python("-m", "limbeck", "publish", build, "--to", to, *arguments, **options)


def test_a_dry_run_lists_what_would_be_and_asks_nobody(built, hub, tmp_path):
    hub.faults()
    done = publish(built, "me/dry", url=hub.url, home=tmp_path, token=None)
    assert done.returncode == 0, done.stderr
    assert hub.state()["seen"] == {"state": 1}
    assert "private: only you would see it" in done.stdout
    assert "cc0-1.0; of what rows were made from: cc-by-4.0 (" in done.stdout
    found = json.loads(publish(built, "me/dry", "--json", url=NOBODY, home=tmp_path).stdout)
    assert found["private"]
    assert not found["pushed"]
    there = {p.relative_to(built).as_posix(): p.stat().st_size for p in built.rglob("*") if p.is_file()}
    sent = {p: n for p, n in there.items() if p.startswith(("data/", "report/")) or "/" not in p}
    assert found["files"] == sent | {"stages/verdicts.parquet": there["stages/verdicts.parquet"]}
    assert {"README.md", "lock.json", "recipe.toml", "report/index.html"} <= found["files"].keys()


@pytest.mark.parametrize("protocol", ["xet", "lfs"])
def test_what_is_pushed_arrives_whole_in_one_commit_and_is_sent_once(built, hub, tmp_path, protocol):
    to, options = f"me/{protocol}", {"HF_HUB_DISABLE_XET": "1"} if protocol == "lfs" else {}
    done = publish(built, to, "--push", "--direct", url=hub.url, home=tmp_path, **options)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/datasets/{to}" in done.stdout
    repo = hub.state()["repos"][to]
    assert repo["private"]
    assert len(repo["commits"]) == 1
    assert set(repo["files"]) == set(plan_upload(built, to).files)
    assert not [path for path in repo["files"] if path.startswith(("journal", ".leases")) or "/part-" in path]
    if protocol == "lfs":  # of xet the bytes lie in the client's own store
        for path in repo["files"]:
            assert (hub.folder / to / path).read_bytes() == (built / path).read_bytes()
    again = publish(built, to, "--push", "--direct", url=hub.url, home=tmp_path, **options)
    assert "nothing had changed" in again.stdout
    assert "No files have been modified" not in again.stderr
    assert len(hub.state()["repos"][to]["commits"]) == 1


def test_datasets_loads_what_was_pushed(built, hub, tmp_path):
    off = {"HF_HUB_DISABLE_XET": "1"}
    assert publish(built, "me/loaded", "--push", "--direct", url=hub.url, home=tmp_path, **off).returncode == 0
    code = "import datasets; d = datasets.load_dataset('me/loaded'); print({k: v.num_rows for k, v in d.items()}, d['train'][0]['edited_image'].size)"
    done = python("-c", code, url=hub.url, home=tmp_path, **off)
    assert done.returncode == 0, done.stderr
    counts = {
        s: sum(pq.read_metadata(f).num_rows for f in (built / "data").glob(f"{s}-*")) for s in ("train", "validation")
    }
    assert done.stdout.strip() == f"{counts} (16, 16)"


def test_files_that_are_gone_here_go_there_too(built, hub, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(built, copy)
    old = copy / "data" / "train-00001-of-00002.parquet"
    shutil.copy(copy / "data" / "train-00000-of-00001.parquet", old)
    assert publish(copy, "me/fewer", "--push", "--direct", url=hub.url, home=tmp_path).returncode == 0
    assert "data/train-00001-of-00002.parquet" in hub.state()["repos"]["me/fewer"]["files"]
    old.unlink()
    assert publish(copy, "me/fewer", "--push", "--direct", url=hub.url, home=tmp_path).returncode == 0
    repo = hub.state()["repos"]["me/fewer"]
    assert set(repo["files"]) == set(plan_upload(copy, "me/fewer").files)
    assert repo["commits"][-1]["deleted"] == ["data/train-00001-of-00002.parquet"]


def test_it_gets_through_stray_errors(built, hub, tmp_path):
    hub.faults(info=[502], create=[503, 429], preupload=[500], commit=[503], tree=[500])
    done = publish(built, "me/stray", "--push", "--direct", url=hub.url, home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the Hub answered HTTP 503; attempt" in done.stderr
    assert len(hub.state()["repos"]["me/stray"]["commits"]) == 1


SEND = """
import sys
from limbeck.errors import LimbeckError
from limbeck.hub import plan_upload, upload
try:
    print(upload(plan_upload(sys.argv[1], sys.argv[2]), tries=int(sys.argv[3]), first_wait_s=0.1))
except LimbeckError as error:
    print(f"{type(error).__name__}: {error}")
"""


def test_what_was_sent_before_it_broke_off_isnt_sent_again(built, hub, tmp_path):
    options = {"url": hub.url, "home": tmp_path, "HF_HUB_DISABLE_XET": "1"}
    copy = tmp_path / "other"
    shutil.copytree(built, copy)
    with (copy / "report" / "index.html").open("a") as page:
        page.write("<!-- another -->")  # what the store doesn't have yet
    hub.faults(commit=[400])
    assert python("-c", SEND, copy, "me/resumed", 1, **options).stdout.startswith("HubRefused: ")
    first = hub.state()["seen"]
    assert first["put"] >= 1
    hub.faults()
    assert "changed=True" in python("-c", SEND, copy, "me/resumed", 1, **options).stdout
    assert "put" not in hub.state()["seen"]


def test_a_failure_raises(built, hub, tmp_path):
    hub.faults(create=[500] * 9)
    said = python("-c", SEND, built, "me/never", 2, url=hub.url, home=tmp_path).stdout
    assert said.startswith(f"WorkError: {hub.url}/datasets/me/never: the Hub answered HTTP 500 in 2 attempts")
    said = python("-c", SEND, built, "me/never", 2, url=NOBODY, home=tmp_path).stdout
    assert said.startswith(f"WorkError: {NOBODY}/datasets/me/never: the Hub can't be reached")
    hub.faults(tree=[])
    assert "me/never" not in hub.state()["repos"]


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "the environment has no HF_TOKEN"),
        ("hf_wrong", "was refused (HTTP 401)"),
        ("hf_reader", "may not write to me (HTTP 403)"),
    ],
)
def test_tokens_that_dont_do(built, hub, tmp_path, token, said):
    hub.faults()
    done = publish(built, "me/denied", "--push", "--direct", url=hub.url, home=tmp_path, token=token)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "me/denied" not in hub.state()["repos"]


def test_a_token_file_of_this_machine_isnt_used(built, hub, tmp_path):
    (tmp_path / "token").write_text("hf_good")
    done = publish(built, "me/file", "--push", "--direct", url=hub.url, home=tmp_path, token=None)
    assert (done.returncode, "no token" in done.stderr) == (2, True)


def test_it_is_public_only_when_told(built, hub, tmp_path):
    hub.faults()
    assert publish(built, "me/open", "--push", "--public", "--direct", url=hub.url, home=tmp_path).returncode == 0
    assert not hub.state()["repos"]["me/open"]["private"]
    before = len(hub.state()["repos"]["me/open"]["commits"])
    done = publish(built, "me/open", "--push", "--direct", url=hub.url, home=tmp_path)
    assert done.returncode == 2
    assert "everybody can see it" in done.stderr
    assert len(hub.state()["repos"]["me/open"]["commits"]) == before


@pytest.mark.parametrize("name", ["alone", "me/", "/x", "me/a b", "me/../x", "a/b/c"])
def test_names_that_the_hub_wouldnt_take(built, name):
    with pytest.raises(RequestError, match="OWNER/NAME"):
        plan_upload(built, name)


def refused(build: Path) -> dict[str, str]:
    with pytest.raises(NotPublishable) as caught:
        plan_upload(build, "me/x")
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_an_unfinished_build_isnt_published(built, tmp_path):
    shutil.copytree(built, tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "data")
    assert "isn't finished" in refused(tmp_path / "half")["data"]


@pytest.mark.parametrize("line", ["", "license: other\n", "license: ''\n", "license: unknown\n"])
def test_a_card_without_a_licence_isnt_published(built, tmp_path, line):
    shutil.copytree(built, tmp_path / "bare")
    card = tmp_path / "bare" / "README.md"
    card.write_text(re.sub(r"^license: .*\n", line, card.read_text(), flags=re.MULTILINE))
    assert "licence" in refused(tmp_path / "bare")["README.md"]


def test_a_licence_of_ones_own_has_a_name(tmp_path):
    import limbeck

    small_build(tmp_path)
    sets = ["dataset.license=other", "dataset.license_name=ours", "dataset.license_link=https://example.org/ours"]
    build = limbeck.build(tmp_path / "recipe.toml", tmp_path / "own", sets=sets)
    assert plan_upload(build, "me/x").license == "other"
    assert (
        "license: other\nlicense_name: ours\nlicense_link: https://example.org/ours\n"
        in (build.path / "README.md").read_text()
    )


def test_rows_without_a_licence_arent_published_unless_the_recipe_states_one(tmp_path):
    build = small_build(tmp_path / "a", ["a square 1", "a square 2", "a square 3"])
    source = tmp_path / "a" / "captions.jsonl"
    source.write_text(
        "".join(
            json.dumps({"caption": f"a square {i}"} | ({"license": "cc-by-4.0"} if i == 1 else {})) + "\n"
            for i in (1, 2, 3)
        )
    )
    import limbeck

    build = limbeck.build(tmp_path / "a" / "recipe.toml", tmp_path / "bare")
    assert re.search(r"\d+ of \d+ rows have no licence", refused(build.path)["data"])
    assert "not stated" in (build.path / "README.md").read_text()
    build = limbeck.build(tmp_path / "a" / "recipe.toml", tmp_path / "stated", sets=["source.license=cc0-1.0"])
    found = plan_upload(build, "me/x").row_licenses
    assert set(found) == {"cc-by-4.0", "cc0-1.0"}
    assert {row["license"] for row in build.rows()} == {"cc-by-4.0", "cc0-1.0"}


def test_every_reason_comes_at_once_and_secrets_are_seen(built, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret_token")
    shutil.copytree(built, tmp_path / "bad")
    card = tmp_path / "bad" / "README.md"
    card.write_text(card.read_text().replace("license: cc0-1.0\n", ""))
    recipe = tmp_path / "bad" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("Squares that", "hf_very_secret_token"))
    found = refused(tmp_path / "bad")
    assert set(found) == {"README.md", "recipe.toml"}
    assert "HF_TOKEN" in found["recipe.toml"]
    assert "hf_very_secret_token" not in found["recipe.toml"]


def test_scenes_of_the_storybook_are_nobodys(tmp_path):
    from limbeck.recipe import SourceTable
    from limbeck.sources import stated_license

    assert stated_license(SourceTable(storybook={"rows": 2})) == "cc0-1.0"
    assert stated_license(SourceTable(captions="x.txt")) == ""
