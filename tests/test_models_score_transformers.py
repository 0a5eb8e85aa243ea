"""The score role. Oracle: the same tiny random-weight model called directly, with transformers' own processors."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from tiny_scorers import TEXTS, tiny_clip, tiny_dinov2, tiny_siglip, tiny_siglip2
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from limbeck.errors import ModelNotFound, SettingError, UnsafeWeights
from limbeck.models.roles import ScoreModel
from limbeck.models.score_transformers import TransformersScore

PHOTOS = [Image.fromarray(getattr(data, name)()).crop((0, 0, 200, 160)) for name in ("chelsea", "coffee", "rocket")]
PHOTOS.append(Image.fromarray(data.astronaut()).resize((90, 40)))
MAKERS = {"clip": tiny_clip, "siglip": tiny_siglip, "siglip2": tiny_siglip2, "dinov2": tiny_dinov2}


@pytest.fixture(scope="module", params=MAKERS)
def folder(request, tmp_path_factory):
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def cos(a, b):
    return (a * b).sum(1)


@torch.inference_mode()
def test_pictures_embed_as_with_transformers_itself(folder):
    score = TransformersScore(folder, device="cpu", batch_size=3)
    assert isinstance(score, ScoreModel)
    got = score.embed_images(PHOTOS)
    model = AutoModel.from_pretrained(folder).eval()
    inputs = AutoImageProcessor.from_pretrained(folder, backend="pil")(PHOTOS, return_tensors="pt")
    features = model.get_image_features(**inputs) if score.has_text else model(**inputs)
    want = torch.nn.functional.normalize(features.pooler_output, dim=1).numpy()
    assert got.shape == want.shape == (4, score.dim)
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    assert cos(got, want).min() > 0.999  # one grey level here and there, in a model that is all noise
    assert cos(got[:-1], want[1:]).max() < 0.95, "the model tells pictures apart, or this test could not fail"


@torch.inference_mode()
def test_texts_embed_as_with_transformers_itself(folder):
    score = TransformersScore(folder, device="cpu", batch_size=2)
    if not score.has_text:
        with pytest.raises(ModelNotFound, match="DINOv2 embeds pictures only"):
            score.embed_texts(TEXTS)
        assert score.truncated(TEXTS) == [False] * len(TEXTS)
        return
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    texts = [*TEXTS, TEXTS[0], "", "고양이", "<b>bold</b>", "ball " * 2_000]
    got = score.embed_texts(texts)
    limit = score.max_tokens
    for text, row in zip(texts, got, strict=True):
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=limit, return_tensors="pt")["input_ids"]
        want = model.get_text_features(input_ids=ids).pooler_output[0].numpy()
        np.testing.assert_allclose(row, want / np.linalg.norm(want), atol=2e-5)
        assert score.truncated([text]) == [len(tokenizer(text)["input_ids"]) > limit]
    assert np.array_equal(got[0], got[len(TEXTS)])
    assert score.truncated(texts)[-1]
    assert not score.truncated(texts)[3]


def test_ip2p_scores_as_the_reference_does(clip):
    """Oracle: `F.interpolate(x in [0, 1], size, mode="bicubic")`, mean and std, encoder, unit length."""
    score = TransformersScore(clip, device="cpu", resize="ip2p")
    model = AutoModel.from_pretrained(clip).eval()
    processor = AutoImageProcessor.from_pretrained(clip, backend="pil")
    x = torch.from_numpy(np.array(PHOTOS[0])).permute(2, 0, 1)[None].float() / 255
    x = torch.nn.functional.interpolate(x, size=(32, 32), mode="bicubic", align_corners=False)
    x = (x - torch.tensor(processor.image_mean).view(3, 1, 1)) / torch.tensor(processor.image_std).view(3, 1, 1)
    with torch.inference_mode():
        want = model.get_image_features(pixel_values=x).pooler_output.numpy()
    got = score.embed_images(PHOTOS[:1])
    np.testing.assert_allclose(got, want / np.linalg.norm(want), atol=1e-4)
    assert score.fingerprint != TransformersScore(clip, device="cpu").fingerprint


def test_pixels_in_minus_one_to_one_are_refused_not_scored(clip):
    """The trap: a picture in [-1, 1] taken for [0, 1] gives a plausible, wrong score."""
    score = TransformersScore(clip, device="cpu")
    with pytest.raises(TypeError, match=r"values -1 to 0\.8.*uint8"):
        score.embed_images([np.array(PHOTOS[0], dtype=np.float32) / 127.5 - 1])
    as_array = score.embed_images([np.array(PHOTOS[0])])
    np.testing.assert_array_equal(as_array, score.embed_images(PHOTOS[:1]))


def test_alone_and_in_a_batch(clip):
    score = TransformersScore(clip, device="cpu")
    np.testing.assert_allclose(score.embed_images(PHOTOS)[2], score.embed_images(PHOTOS[2:3])[0], atol=1e-5)
    np.testing.assert_allclose(score.embed_texts(TEXTS)[3], score.embed_texts(TEXTS[3:4])[0], atol=1e-5)
    assert score.embed_images([]).shape == score.embed_texts([]).shape == (0, 12)


def test_fingerprint_follows_the_weights_and_not_the_place(clip, tmp_path):
    same, other = tiny_clip(tmp_path / "same"), tiny_clip(tmp_path / "other", seed=1)
    one, two, three = (TransformersScore(f, device="cpu").fingerprint for f in (clip, same, other))
    assert one == two != three
    assert TransformersScore(clip, device="cpu", dtype="bfloat16").fingerprint != one


def test_memory_that_runs_out_halves_the_batch(clip, monkeypatch):
    score = TransformersScore(clip, device="cpu", batch_size=4)
    want, real, sizes = score.embed_images(PHOTOS), score._model.get_image_features, []

    def greedy(**inputs):
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(**inputs)

    monkeypatch.setattr(score._model, "get_image_features", greedy)
    np.testing.assert_allclose(score.embed_images(PHOTOS), want, atol=1e-5)
    assert sizes == [4, 2, 1, 1, 1, 1]


def test_what_cannot_be_loaded_says_why(clip, tmp_path):
    with pytest.raises(SettingError, match="dtype = 'int4'"):
        TransformersScore(clip, dtype="int4")
    with pytest.raises(SettingError, match="resize = 'stretch'"):
        TransformersScore(clip, resize="stretch")
    with pytest.raises(SettingError, match="NaFlex"):
        TransformersScore(tiny_siglip2(tmp_path / "naflex"), resize="ip2p")
    LlamaForCausalLM(
        LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=16)
    ).save_pretrained(tmp_path / "llama")
    with pytest.raises(ModelNotFound, match="'llama'; expected a scorer: CLIP"):
        TransformersScore(tmp_path / "llama")
    pickled = tiny_clip(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UnsafeWeights, match=r"pytorch_model\.bin"):
        TransformersScore(pickled)
    (pickled / "pytorch_model.bin").unlink()
    (pickled / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelNotFound):
        TransformersScore(pickled)
