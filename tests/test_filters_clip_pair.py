"""InstructPix2Pix's filter. Oracles: `CLIPModel` called directly on the stored files; thresholds worked out by hand."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from skimage import data
from tiny_scorers import tiny_clip, tiny_dinov2, tiny_siglip
from transformers import AutoModel, AutoTokenizer, CLIPImageProcessorPil

from filters.clip_pair import PRESETS, ClipPair
from limbeck.errors import ModelNotFound
from limbeck.models.score_transformers import TransformersScore
from limbeck.scores import SIMILARITIES
from limbeck.stage import models_of, settings_of

GOOD = {"clip_sim_source": 0.25, "clip_sim_target": 0.25, "clip_sim_dir": 0.3, "clip_sim_image": 0.9}


class OneModel:
    """A run with one model; `computed` as the runner says it of rows that bring scores along."""

    def __init__(self, model, computed=False):
        self._model, self._computed = model, computed

    def model(self, name):
        return self._model

    def computed(self, column, model):
        return self._computed


def stored(picture, **options):
    buffer = BytesIO()
    picture.save(buffer, **({"format": "PNG"} | options))
    return buffer.getvalue()


def pairs():
    photos = (data.chelsea(), data.coffee(), data.rocket())
    cat, coffee, rocket = (Image.fromarray(photo).resize((64, 64)) for photo in photos)
    texts = ("a cat", "a cup"), ("a cup of coffee", "a rocket"), ("a rocket at night, " * 20, "a cat by day")
    pictures = (cat, coffee), (coffee, rocket), (rocket, cat)
    return [
        {"id": str(i), "original_prompt": a, "edited_prompt": b, "original_image": stored(x),
         "edited_image": stored(y, format="JPEG", quality=60)}
        for i, ((a, b), (x, y)) in enumerate(zip(texts, pictures, strict=True))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@torch.inference_mode()
def direct(folder, row):
    """The paper's four numbers by transformers alone: files opened, processed, embedded, unit length, dot products."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    processor = CLIPImageProcessorPil.from_pretrained(folder)
    files = [Image.open(BytesIO(row[name])).convert("RGB") for name in ("original_image", "edited_image")]
    i = model.get_image_features(**processor(files, return_tensors="pt")).pooler_output
    texts = tokenizer([row["original_prompt"], row["edited_prompt"]], padding=True, truncation=True, max_length=24,
                      return_tensors="pt")  # fmt: skip
    t = model.get_text_features(**texts).pooler_output
    i, t = i / i.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True)
    cos = torch.nn.functional.cosine_similarity(i[1] - i[0], t[1] - t[0], dim=0)
    return [float(v) for v in (i[0] @ t[0], i[1] @ t[1], cos, i[0] @ i[1])]


def test_scores_match_a_direct_computation_on_the_stored_files(clip):
    rows = pairs()
    scored = ClipPair().score(rows, OneModel(TransformersScore(clip, device="cpu")))
    for row, scores in zip(rows, scored, strict=True):
        assert [scores[name] for name in SIMILARITIES] == pytest.approx(direct(clip, row), abs=2e-3)
    spread = np.ptp([[scores[name] for name in SIMILARITIES] for scores in scored], axis=0)
    assert (spread > 0.05).all(), "the pairs score differently, or this test could not fail"
    assert [scores["text_truncated"] for scores in scored] == [False, False, True]


def test_what_the_generator_computed_is_used_and_what_is_missing_is_computed(clip):
    rows = [row | GOOD for row in pairs()]
    rows[1]["clip_sim_dir"] = None
    scorer = TransformersScore(clip, device="cpu")
    scored = ClipPair().score(rows, OneModel(scorer, computed=True))
    assert [s["clip_sim_source"] == 0.25 for s in scored] == [True, False, True]
    assert scored[1]["clip_sim_dir"] == pytest.approx(direct(clip, rows[1])[2], abs=2e-3)
    again = ClipPair().score(rows, OneModel(scorer, computed=False))
    assert all(s["clip_sim_source"] != 0.25 for s in again), "scores of another model are never used"


def test_siglip_scores_and_dinov2_is_refused(tmp_path):
    scored = ClipPair().score(pairs(), OneModel(TransformersScore(tiny_siglip(tmp_path / "s"), device="cpu")))
    assert all(-1 <= s[name] <= 1 for s in scored for name in SIMILARITIES)
    with pytest.raises(ModelNotFound, match="pictures only"):
        ClipPair().score(pairs(), OneModel(TransformersScore(tiny_dinov2(tmp_path / "d"), device="cpu")))


def test_rows_that_cannot_be_scored_are_counted_and_harm_no_other(clip):
    rows = pairs()
    rows[0]["edited_image"] = rows[0]["edited_image"][:100]
    rows.append(rows[1] | {"edited_prompt": ""})
    scorer = OneModel(TransformersScore(clip, device="cpu"))
    scored = ClipPair().score(rows, scorer)
    assert ClipPair().decide(scored[0]) == ClipPair().decide(scored[3]) == ("score_missing",)
    for i in (1, 2):
        assert scored[i] == pytest.approx(ClipPair().score(rows[i : i + 1], scorer)[0], abs=1e-5)
    assert ClipPair().score([], scorer) == []


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, ()),
        ({"clip_sim_source": 0.2, "clip_sim_target": 0.2, "clip_sim_dir": 0.2, "clip_sim_image": 0.7}, ()),
        ({"clip_sim_source": 0.1999}, ("source_low",)),
        ({"clip_sim_target": 0.1999, "clip_sim_dir": -1.0}, ("target_low", "direction_low")),
        ({"clip_sim_image": 0.6999}, ("image_low",)),
        ({"clip_sim_image": 0.9901}, ("copy",)),
        ({"clip_sim_dir": None}, ("score_missing",)),
        ({"clip_sim_dir": float("nan"), "clip_sim_image": 0.5}, ("image_low", "score_missing")),
    ],
)
def test_reasons_by_hand(change, reasons):
    row = GOOD | {name: value if value is None else float(np.float32(value)) for name, value in change.items()}
    assert ClipPair().decide(row) == reasons
    assert set(reasons) <= set(ClipPair.reasons)


def test_presets_fill_what_the_recipe_leaves_out():
    assert ClipPair(preset="paper").bounds()["clip_sim_image"] == (0.75, 1.0)
    assert ClipPair(preset="script").bounds()["clip_sim_image"] == (0.7, 1.0)
    assert ClipPair(preset="paper", min_image=0.6, max_image=0.95).bounds()["clip_sim_image"] == (0.6, 0.95)
    assert all(set(preset) < set(ClipPair.__pydantic_fields__) for preset in PRESETS.values())
    assert ClipPair(matcher="").writes == ()
    assert models_of(ClipPair(matcher="")) == {}
    assert ClipPair(**settings_of(ClipPair(matcher=""))) == ClipPair(matcher="")
    assert [f.name for f in ClipPair(matcher="").reads] == list(SIMILARITIES)


def test_settings_are_checked():
    for wrong in ({"min_image": 0.9, "max_image": 0.8}, {"min_source": 2}, {"preset": "best"}, {"min_sim": 0.1}):
        with pytest.raises(ValidationError):
            ClipPair(**wrong)


def test_a_million_rows_are_decided_like_one():
    rng = np.random.default_rng(0)
    columns = {name: rng.uniform(-0.1, 1, 1_000_000).astype(np.float32) for name in SIMILARITIES}
    columns["clip_sim_dir"][:10] = np.nan
    masks = ClipPair().decide_columns(columns)
    assert tuple(masks) == ClipPair.reasons
    assert all(m.dtype == bool for m in masks.values())
    for i in range(0, 1000):
        row = {name: float(values[i]) for name, values in columns.items()}
        assert ClipPair().decide(row) == tuple(reason for reason in ClipPair.reasons if masks[reason][i])
