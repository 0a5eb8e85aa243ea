"""`limbeck verify` on the miniatures; and that each check can fail, on tiny random weights that are broken one by one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines
import torch
from tiny_scorers import tiny_clip

from limbeck.launch import main
from limbeck.loopback import Faults, LoopbackServer
from limbeck.models import checks_chat, checks_image, checks_score
from limbeck.models.chat_endpoint import EndpointChat
from limbeck.models.image_diffusers import DiffusersImageModel
from limbeck.models.score_transformers import TransformersScore

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"\| \S.* \| (chat|image|score) \| .*, \d+ of \d+ checks, .*, limbeck [\d.]+, \d{4}-\d\d-\d\d \|")


def test_the_miniatures_pass(capsys):
    assert main(["verify", str(ROOT / "recipes" / "smoke.toml"), "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert {name: each["role"] for name, each in found.items()} == {
        "writer": "chat",
        "painter": "image",
        "matcher": "score",
    }
    assert [len(found[name]["checks"]) for name in ("writer", "painter", "matcher")] == [4, 5, 5]
    assert all(check["passed"] for each in found.values() for check in each["checks"])
    assert all(ROW.fullmatch(each["line"]) for each in found.values())
    head = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| model class"))
    assert all(each["line"].count("|") == head.count("|") for each in found.values())


def test_a_model_that_doesnt_load_fails_and_the_others_are_checked(tmp_path, capsys):
    folder = tiny_clip(tmp_path / "clip")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"not weights")
    (tmp_path / "r.toml").write_text(
        f"""
        dataset = {{ name = "x" }}
        source = {{ storybook = {{ rows = 2 }} }}
        models = {{ writer = "./broken", matcher = "{folder}" }}
        stages = [{{ use = "edit_instructions" }}, {{ use = "edit_pairs", image = "painter", score = "matcher" }}]
    """.replace('matcher = "', 'painter = "./broken", matcher = "')
    )
    assert main(["verify", str(tmp_path / "r.toml")]) == 1
    said = capsys.readouterr().out
    assert "✗" in said
    assert re.search(r"clip \(CLIPModel\) \| score \| real weights, 5 of 5 checks, float32 on cpu", said)
    assert "Traceback" not in said


def failed(found):
    return [check.name for check in found[1] if not check.passed]


@pytest.fixture
def one_thread():
    """Threads gain nothing on tiny weights, and on a loaded machine they wait for each other: 72 s instead of 2."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    folder = tiny_pipelines.save_sd15(tmp_path_factory.mktemp("sd15"), "epsilon")
    return DiffusersImageModel.load(str(folder), device="cpu")


@pytest.mark.usefixtures("one_thread")
def test_sound_pipelines_pass(painter):
    assert failed(checks_image.checks(painter, "image")) == []


@pytest.mark.usefixtures("one_thread")
def test_noise_of_its_own_for_each_picture_is_seen(painter, monkeypatch):
    from limbeck.models import renderer

    real = renderer.standard_normal

    class Unshared(torch.Tensor):
        def repeat(self, *counts):
            return torch.cat([torch.Tensor(self.clone()) + i for i in range(counts[0])])

    monkeypatch.setattr(renderer, "standard_normal", lambda *args: real(*args).as_subclass(Unshared))
    assert any("noise is shared" in name for name in failed(checks_image.checks(painter, "image")))


@pytest.mark.usefixtures("one_thread")
def test_noise_that_depends_on_the_batch_is_seen(painter, monkeypatch):
    from limbeck.models import renderer

    real = renderer.standard_normal
    monkeypatch.setattr(
        renderer, "standard_normal", lambda seeds, step, shape: real([s + len(seeds) for s in seeds], step, shape)
    )
    assert "a pair alone and in a batch" in failed(checks_image.checks(painter, "image"))


@pytest.mark.usefixtures("one_thread")
def test_attention_that_isnt_shared_is_seen(painter, monkeypatch):
    from limbeck.models import shared_attention

    def own(attn, hidden_states, sharing):
        return attn.to_q(hidden_states), attn.to_k(hidden_states)

    monkeypatch.setattr(shared_attention, "_source_projections", own)
    assert "shared queries and keys against copied logits, one step" in failed(checks_image.checks(painter, "image"))


def test_another_preprocessing_and_other_texts_are_seen(tmp_path, monkeypatch):
    model = TransformersScore(tiny_clip(tmp_path), device="cpu")
    assert failed(checks_score.checks(model, "score")) == []
    real = model._preprocess
    monkeypatch.setattr(model, "_preprocess", lambda batch: {k: v.flip(-1) for k, v in real(batch).items()})
    assert failed(checks_score.checks(model, "score")) == ["pictures against transformers itself"]
    monkeypatch.setattr(model, "_preprocess", real)
    monkeypatch.setattr(model, "embed_texts", lambda texts: np.roll(TransformersScore.embed_texts(model, texts), 1, 0))
    assert failed(checks_score.checks(model, "score")) == ["texts against transformers itself"]


@pytest.mark.parametrize(("faults", "names"), [
    (Faults(), []),
    (Faults(malformed_rate=1.0), ["answers in the schema"]),
    (Faults(endless_rate=1.0), ["answers in the schema"]),
])  # fmt: skip
def test_an_endpoints_answers_are_read(faults, names):
    with LoopbackServer(faults) as server:
        found = checks_chat.checks(EndpointChat(server.base_url, "loopback"), "chat")
    assert failed(found) == names
