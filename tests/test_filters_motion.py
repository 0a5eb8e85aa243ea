"""What the analytic motion filters drop.

Oracles: stored truth that was spoiled on purpose, each in one way, which has to be noticed.
"""

import numpy as np
import pytest

from filters.motion_exact import MotionExact
from filters.motion_range import MotionRange
from limbeck.motion.clip import make_clip
from limbeck.motion.curriculum import ClipSettings
from limbeck.motion.row import arrays, labels
from limbeck.motion.sampling import draw_clip
from limbeck.motion.storage import decode, encode

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
