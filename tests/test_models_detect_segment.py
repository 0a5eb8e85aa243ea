"""Grounding DINO and SAM 2 through transformers, tiny and random. Oracles: transformers' own processors and the raw forward pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from tiny_detectors import SIDE, tiny_grounding_dino, tiny_sam2
from tiny_scorers import tiny_clip
from transformers import AutoModelForZeroShotObjectDetection, AutoTokenizer, GroundingDinoImageProcessorPil, Sam2Model

from limbeck import models
from limbeck.errors import ModelNotFound, SettingError, UnsafeWeights
from limbeck.models.roles import DetectModel, SegmentModel
from limbeck.models.spec import ModelSpec

CAT = Image.fromarray(data.chelsea()).resize((90, 60))
TALL = Image.fromarray(data.coffee()).resize((40, 70))
NAMES = ["cat", "coffee cup", "dog"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detectors")
    return tiny_grounding_dino(folder / "dino", spread=2.0), tiny_sam2(folder / "sam")


def test_boxes_and_scores_are_the_forward_passs_own(folders):
    """Each box's score is the greatest of its name's tokens in the logits; its corners are those that transformers computes."""
    detector = models.load(ModelSpec(id=str(folders[0])), "detect")
    assert isinstance(detector, DetectModel)
    model = AutoModelForZeroShotObjectDetection.from_pretrained(folders[0]).eval()
    tokenizer = AutoTokenizer.from_pretrained(folders[0])
    tokens = tokenizer("cat. coffee cup. dog.", return_tensors="pt")
    pixels = GroundingDinoImageProcessorPil.from_pretrained(folders[0])(CAT, return_tensors="pt")
    with torch.inference_mode():
        output = model(**pixels, **tokens)
    probs = output.logits[0].sigmoid()
    words = tokenizer.convert_ids_to_tokens(tokens["input_ids"][0])
    ends = [i for i, word in enumerate(words) if word == "."]
    starts = [1, *(end + 1 for end in ends[:-1])]
    scores = torch.stack([probs[:, a:b].amax(1) for a, b in zip(starts, ends, strict=True)], 1)
    found = detector.detect(CAT, NAMES, min_score=0.0)
    assert len(found) == len(scores)
    assert [f.score for f in found] == pytest.approx(sorted(scores.amax(1).tolist(), reverse=True), abs=1e-5)
    order = scores.amax(1).argsort(descending=True)
    assert [f.name for f in found] == [NAMES[i] for i in scores[order].argmax(1).tolist()]
    x, y, w, h = output.pred_boxes[0][order[0]].tolist()
    assert found[0].box == pytest.approx(
        [min(max(v, 0), 1) for v in (x - w / 2, y - h / 2, x + w / 2, y + h / 2)], abs=1e-5
    )
    middle = sorted(f.score for f in found)[6]
    assert [f.score >= middle for f in detector.detect(CAT, NAMES, min_score=middle)] == [True] * 6


def test_a_picture_s_boxes_don_t_depend_on_its_company(folders):
    detector = models.load(ModelSpec(id=str(folders[0])), "detect")
    first = [detector.detect(image, NAMES, min_score=0.1) for image in (CAT, TALL)]
    assert [detector.detect(image, NAMES, min_score=0.1) for image in (TALL, CAT)] == first[::-1]
    assert all(0 <= a < c <= 1 and 0 <= b < d <= 1 for found in first for f in found for a, b, c, d in [f.box])


def test_masks_are_the_forward_passs_own_at_the_pictures_size(folders):
    segmenter = models.load(ModelSpec(id=str(folders[1])), "segment")
    assert isinstance(segmenter, SegmentModel)
    boxes = [(0.1, 0.2, 0.6, 0.9), (0.5, 0.0, 1.0, 0.5)]
    masks = segmenter.segment(CAT, boxes)
    assert masks.shape == (2, 60, 90)
    assert masks.dtype == bool
    assert 0 < masks.mean() < 1
    model = Sam2Model.from_pretrained(folders[1]).eval()
    small = np.asarray(CAT.resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
    pixels = torch.from_numpy((small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        output = model(pixel_values=pixels, input_boxes=torch.tensor([boxes]) * SIDE, multimask_output=False)
        whole = torch.nn.functional.interpolate(output.pred_masks[0, :, :1], (60, 90), mode="bilinear")[:, 0] > 0
    assert (masks == whole.numpy()).mean() > 0.999
    alone = segmenter.segment(CAT, boxes[1:])
    assert (alone[0] == masks[1]).mean() > 0.999
    assert segmenter.segment(TALL, []).shape == (0, 70, 40)


def test_what_is_no_detector_is_refused(folders, tmp_path):
    clip = tiny_clip(tmp_path / "clip")
    for folder, role in ((clip, "detect"), (clip, "segment"), (folders[1], "detect"), (folders[0], "segment")):
        with pytest.raises(ModelNotFound, match=r"architecture|plays the role"):
            models.load(ModelSpec(id=str(folder)), role)
    with pytest.raises(ModelNotFound, match="plays the role score"):
        models.load(ModelSpec(id="mini:clip"), "detect")
    with pytest.raises(ModelNotFound, match="no model folder"):
        models.load(ModelSpec(id=str(tmp_path / "none")), "detect")
    pickled = tiny_grounding_dino(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UnsafeWeights):
        models.load(ModelSpec(id=str(pickled)), "detect")
    detector = models.load(ModelSpec(id=str(folders[0])), "detect")
    for names in ([], [" "], ["x" * 80]):
        with pytest.raises(SettingError):
            detector.detect(CAT, names, min_score=0.5)


def test_fingerprints_follow_the_weights(folders, tmp_path):
    specs = [ModelSpec(id=str(f)) for f in (folders[0], tiny_grounding_dino(tmp_path / "other", seed=1))]
    prints = [models.load(spec, "detect").fingerprint for spec in specs]
    assert prints[0] != prints[1]
    assert prints[0] == models.load(specs[0], "detect").fingerprint
