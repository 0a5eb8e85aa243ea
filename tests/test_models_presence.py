"""Models that can't be had are named before anything is computed.

Oracles: a loopback port on which nobody listens, a server that answers as the Hub does, and the backends' own tables.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.errors import RecipeError, UnsafeWeights
from limbeck.models import unfit
from limbeck.models.declared import ROLES
from limbeck.models.presence import check_models_are_there
from limbeck.models.spec import ModelSpec

ROOT = Path(__file__).resolve().parent.parent
MINIATURES = ROOT / "limbeck" / "miniatures"


def limbeck(recipe: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh process: the Hub's client reads its environment when it is imported."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    return subprocess.run(
        [sys.executable, "-m", "limbeck", "run", str(recipe), "--out", str(folder / "out"), "--direct"],
        env={**kept, "PYTHONPATH": str(ROOT), "HF_HOME": str(folder / "home"), **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def recipe(folder: Path, writer: str, painter: str) -> Path:
    (folder / "r.toml").write_text(f"""
        dataset = {{ name = "x" }}
        source = {{ storybook = {{ rows = 2 }} }}
        models = {{ writer = "{writer}", painter = "{painter}" }}
        stages = [{{ use = "edit_instructions" }}, {{ use = "edit_pairs" }}]
    """)
    return folder / "r.toml"


def test_a_hub_that_doesnt_answer_is_said_at_once_and_nothing_is_computed(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    done = limbeck(recipe(tmp_path, "mini:llm", "owner/painter"), tmp_path, HF_ENDPOINT=nobody)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "models.painter: 'owner/painter' is no folder here" in done.stderr
    assert f"{nobody} can't be asked" in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_model_that_is_away_is_named(tmp_path):
    done = limbeck(recipe(tmp_path, "some/writer", "owner/painter"), tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    for name in ("models.writer: 'some/writer'", "models.painter: 'owner/painter'"):
        assert name in done.stderr
    assert "unset HF_HUB_OFFLINE" in done.stderr


def test_pickled_weights_and_no_weights_are_seen_in_the_folder(tmp_path):
    for name, file in (("pickled", "pytorch_model.bin"), ("empty", "config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes(b"{}")
    specs = {name: ModelSpec(id=f"./{name}") for name in ("pickled", "empty")}
    with pytest.raises(UnsafeWeights, match=r"models\.pickled: found only pickled weights \(pytorch_model\.bin\)"):
        check_models_are_there({"pickled": specs["pickled"]}, tmp_path, "r.toml")
    with pytest.raises(RecipeError) as caught:
        check_models_are_there(specs, tmp_path, "r.toml")
    assert [problem.key for problem in caught.value.problems] == ["models.pickled", "models.empty"]


@pytest.mark.parametrize(
    ("folder", "role", "plays"),
    [
        ("clip", "chat", "score"),
        ("llm", "image", "chat"),
        ("diffusion", "score", "image"),
        ("diffusion", "detect", "image"),
    ],
)
def test_a_model_of_another_kind_is_seen_in_its_folder(folder, role, plays):
    said = unfit(ModelSpec(id=str(MINIATURES / folder)), role)
    assert said.endswith(f"which plays the role {plays}; the stage needs {role}")
    assert unfit(ModelSpec(id=str(MINIATURES / folder)), plays) is None


def test_a_folder_that_says_nothing_is_left_to_its_loader(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "something new"}))
    assert unfit(ModelSpec(id=str(tmp_path)), "score") is None
    (tmp_path / "config.json").write_text("not JSON")
    assert unfit(ModelSpec(id=str(tmp_path)), "chat") is None


def test_the_roles_are_those_of_the_backends():
    from limbeck.models import detect_transformers, score_transformers, segment_transformers

    backends = {"score": score_transformers, "detect": detect_transformers, "segment": segment_transformers}
    assert {kind: role for role, backend in backends.items() for kind in backend.ARCHITECTURES} == ROLES


def test_a_model_of_a_task_that_nobody_has_is_seen_in_its_folder(tmp_path):
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    said = unfit(ModelSpec(id=str(tmp_path)), "chat")
    assert said == f"{tmp_path} holds a ViTForImageClassification, which plays no role here; the stage needs chat"


@pytest.mark.parametrize("offline", [False, True])
def test_a_dataset_that_isnt_there_is_one_error_at_once(tmp_path, offline):
    """`datasets` itself would try for half a minute, and say so six times."""
    (tmp_path / "r.toml").write_text("""
        dataset = { name = "d" }
        source = { pairs = "owner/pairs" }
        stages = [{ use = "image_integrity" }]
    """)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
        done = limbeck(
            tmp_path / "r.toml", tmp_path, HF_ENDPOINT=nobody, **({"HF_HUB_OFFLINE": "1"} if offline else {})
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 2, done.stderr  # the recipe, and its one problem
    assert "source.pairs: 'owner/pairs' is no folder or file here and isn't in the cache" in done.stderr
    assert ("HF_HUB_OFFLINE keeps off the Hub" if offline else f"{nobody} can't be asked") in done.stderr
