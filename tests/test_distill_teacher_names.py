"""What teachers' answers are kept under. Oracles: names written down; a second teacher's run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import tiny_scorers

from distill.editing import latents
from distill.embedding_teacher import EmbeddingTeacher
from distill.motion.teachers import MagnifyingTeacher
from distill.opening import opened
from distill.recipe import load
from distill.vlm.top_tokens import TopTokens
from distill.vlm.vocabulary import Shared
from limbeck.models.spec import ModelSpec


@pytest.fixture(autouse=True)
def no_configs_are_read(monkeypatch):
    shape = SimpleNamespace(size=8, channels=4, side=4, tokens=4, width=4)
    monkeypatch.setattr(latents, "latent_shape", lambda *_: shape)


TEACHERS = {
    "embedding": lambda model, folder: EmbeddingTeacher(ModelSpec(id=model), folder, 8),
    "tokens": lambda model, folder: TopTokens(
        ModelSpec(id=model), folder, None, Shared(10, 1, 1), k=2, of="own", longest=4
    ),
    "latents": lambda model, folder: latents.LatentTeacher(ModelSpec(id=model), folder, None),
    "magnifying": lambda model, folder: MagnifyingTeacher(model, folder, (4, 4), lambda row: None),
}


@pytest.mark.parametrize(
    ("teacher", "model", "name"),
    [
        ("embedding", "mini:clip", "mini-clip"),
        ("embedding", "openai/clip-vit-large-patch14", "openai-clip-vit-large-patch14"),
        ("embedding", "gpt2", "gpt2"),
        ("tokens", "mini:llm", "mini-llm-own"),
        ("tokens", "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen-Qwen2.5-VL-7B-Instruct-own"),
        ("latents", "mini:editor", "mini-editor-latents"),
        ("latents", "timbrooks/instruct-pix2pix", "timbrooks-instruct-pix2pix-latents"),
        ("magnifying", "phase-based", "phase-based"),
    ],
)
def test_models_of_the_hub_and_miniatures_are_known_by_their_ids(teacher, model, name, tmp_path):
    """Oracle: ids, written down. Owners belong to them: two of one model's name are two teachers."""
    assert TEACHERS[teacher](model, tmp_path).name == name


@pytest.mark.parametrize("teacher", list(TEACHERS))
def test_folders_that_end_alike_have_names_of_their_own(teacher, tmp_path):
    """Oracle: four teachers, four names; however a folder is written, and wherever it is moved to, it keeps its own."""
    places = ["builds/large/student", "builds/small/student", "elsewhere/large/student", "large/student"]
    for n, place in enumerate(places):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "model.safetensors").write_bytes(bytes([n]))
    called = TEACHERS[teacher]
    names = [called(f"./{place}", tmp_path).name for place in places]
    assert len({*names}) == 4
    assert [name.partition("-student-")[0] for name in names] == ["large", "small", "large", "large"]
    assert called(str(tmp_path / places[0]), tmp_path / "other").name == names[0]
    assert called("../large/student/", tmp_path / "builds" / "small").name == names[0]
    (tmp_path / "builds").rename(tmp_path / "moved")
    assert called("./moved/large/student", tmp_path).name == names[0]


def test_a_second_teacher_of_the_same_rows_is_asked_and_not_refused(tmp_path):
    """Oracle: both folders of answers, each under its own teacher's fingerprint."""
    sets = ["source.storybook.rows=60", "budget.labelled=10", "budget.unlabelled=10", "evaluate.test_rows=4"]
    caches = {}
    for seed, name in enumerate(("large", "small")):
        tiny_scorers.tiny_clip(tmp_path / name / "student", seed=seed, max_tokens=200)
        recipe = load("recipes/distill-encoder.toml", sets=[*sets, f"models.teacher={tmp_path / name / 'student'}"])
        caches[name] = opened(recipe, tmp_path / "out", "cpu").cache
    assert {*(tmp_path / "out" / "teacher").iterdir()} == {cache.folder for cache in caches.values()}
    assert caches["large"].fingerprint["weights"] != caches["small"].fingerprint["weights"]
