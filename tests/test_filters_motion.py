"""What the analytic motion filters drop.

Oracles: stored truth that was spoiled on purpose, each in one way, which has to be noticed.
"""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_scorers import tiny_clip

from filters.motion_content import MotionContent
from filters.motion_exact import MotionExact
from filters.motion_range import MotionRange
from limbeck.models.score_transformers import TransformersScore
from limbeck.motion.clip import make_clip
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.row import arrays, labels
from limbeck.motion.sampling import draw_clip
from limbeck.motion.storage import decode, encode
from limbeck.testing import check_stage

SETTINGS = ClipSettings(
    width_px=64, height_px=64, frames=2, objects=(1, 2), object_radius=(0.2, 0.3), amplitude_px=(0.1, 0.4)
)


@pytest.fixture(scope="module")
def row():
    spec = draw_clip(SETTINGS, "ordinary", 11)
    return {"id": "a", **labels(spec), **arrays(make_clip(spec, tracks=0))}


def verdict(row, **settings):
    stage = MotionExact(**settings)
    (scores,) = stage.score([row], None)
    return scores, stage.decide(scores)


def test_a_true_clip_is_kept(row):
    scores, reasons = verdict(row)
    assert reasons == ()
    assert scores["flow_error_px"] < 1e-6
    assert scores["frame_error"] <= 0.51
    assert scores["zero_flow_ratio"] > 100


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: 0.5 * f,
        lambda f: 2 * f,
        lambda f: -f,
        lambda f: f[..., ::-1],
        lambda f: 0 * f,
        lambda f: np.roll(f, 1, 0),
    ],
    ids=["half", "double", "flipped", "axes swapped", "none", "shifted by a row"],
)
def test_a_wrong_flow_is_noticed(row, spoil):
    flow = np.ascontiguousarray(spoil(decode(row["flow_forward"])[0])[None])
    scores, reasons = verdict({**row, "flow_forward": encode(flow, "PHWV", "planes")})
    assert "flow_wrong" in reasons
    if not np.array_equal(spoil(np.eye(3)[..., None] * [1, 1]), np.roll(np.eye(3)[..., None] * [1, 1], 1, 0)):
        assert scores["zero_flow_ratio"] < 10
        assert "unexplained" in reasons


def test_backward_flow_in_the_place_of_forward_flow_is_noticed(row):
    _, reasons = verdict({**row, "flow_forward": row["flow_backward"]})
    assert {"flow_wrong", "inconsistent"} <= set(reasons)


def test_frames_of_another_gain_and_unreadable_columns_are_noticed(row):
    other = decode(row["magnified_frames"]).copy()
    other[:, 1] = other[:, 0]
    _, reasons = verdict({**row, "magnified_frames": encode(other, "GTHWC", "png")})
    assert reasons == ("frames_wrong",)
    scores, reasons = verdict({**row, "flow_forward": None})
    assert reasons == ("unreadable",)
    assert scores["fault"]
    assert verdict({**row, "clip_spec": "{}"})[1] == ("unreadable",)


def test_float16_needs_the_wider_bound_that_its_documentation_names(row):
    flow = decode(row["flow_forward"]).astype(np.float16)
    spoilt = {**row, "flow_forward": encode(flow, "PHWV", "planes")}
    assert verdict(spoilt)[1] == ("flow_wrong",)
    assert verdict(spoilt, max_flow_error_px=0.01)[1] == ()


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, ()),
        ({"peak_px": 0.001}, ("too_small",)),
        ({"peak_px": 0.0, "subset": "static"}, ()),
        ({"peak_px": 11.0}, ("too_large",)),
        ({"magnified_peak_px": [1.0, 31.0]}, ("magnified_too_large",)),
        ({"magnified_peak_px": []}, ()),
        ({"aliased": True}, ("aliased",)),
    ],
)
def test_motion_out_of_range_is_dropped_by_its_labels(changes, reasons):
    row = {"id": "a", "peak_px": 0.5, "magnified_peak_px": [3.0], "aliased": False, "subset": "ordinary"}
    assert MotionRange().decide(row | changes) == reasons
    assert MotionRange(keep_aliased=True).decide(row | changes) == tuple(r for r in reasons if r != "aliased")


@pytest.fixture(scope="module")
def rows(row):
    still = draw_clip(SETTINGS, "static", 1)
    other = {"id": "b", **labels(still), **arrays(make_clip(still, tracks=0))}
    captions = ("a green shape on a red wall", "nothing moves here")
    return [{**one, "caption": caption} for one, caption in zip((row, other), captions, strict=True)]


def test_the_filters_keep_the_contract(rows):
    for stage in (MotionRange(), MotionExact()):
        check_stage(stage, rows)


def test_content_is_the_cosine_of_first_frame_and_caption(rows, tmp_path):
    folder = tiny_clip(tmp_path / "clip")
    scorer = TransformersScore(str(folder))
    check_stage(MotionContent(), rows, models={"matcher": scorer})

    class Handle:
        def model(self, name):
            return scorer

    scored = MotionContent().score(rows, Handle())
    for one, scores in zip(rows, scored, strict=True):
        picture = Image.fromarray(decode(one["frames"])[0])
        wanted = scorer.embed_images([picture])[0] @ scorer.embed_texts([one["caption"]])[0]
        assert scores["content"] == pytest.approx(float(wanted), abs=1e-5)
    low = min(score["content"] for score in scored)
    assert MotionContent(min_content=low).decide({"content": low}) == ()
    assert MotionContent(min_content=min(1.0, low + 0.01)).decide({"content": low}) == ("content_low",)


def test_content_cannot_see_a_tenth_of_a_pixel(tmp_path):
    """Why such a model must not judge motion: a frame and itself moved by 0.1 px are the same to it."""
    scorer = TransformersScore(str(tiny_clip(tmp_path / "clip")))
    wave = torch.arange(64)
    frames = [0.5 + 0.4 * torch.cos((wave - shift) / 3).expand(3, 64, 64) for shift in (0.0, 0.1)]
    pictures = [Image.fromarray((frame.permute(1, 2, 0) * 255).byte().numpy()) for frame in frames]
    one, other = scorer.embed_images(pictures)
    assert float(one @ other) > 0.999
