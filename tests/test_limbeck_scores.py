"""Similarities of edit pairs. Oracles: a case worked out by hand, and torch's cosine_similarity on random rows."""

import numpy as np
import pytest
import torch

from limbeck.scores import SIMILARITIES, cosine, pair_similarities

E = np.eye(3)


def test_by_hand():
    """i0 = x, i1 = y, t0 = (x + z)/sqrt 2, t1 = (y + z)/sqrt 2: both fit at 45 degrees, both move along y - x."""
    scores = pair_similarities(E[:1], E[1:2], E[:1] + E[2:], E[1:2] + E[2:])
    assert tuple(scores) == SIMILARITIES
    half = 2**-0.5
    for name, value in zip(SIMILARITIES, (half, half, 1.0, 0.0), strict=True):
        assert scores[name].dtype == np.float32
        assert scores[name].shape == (1,)
        assert scores[name][0] == pytest.approx(value, abs=1e-6), name


def test_embeddings_that_are_not_unit_vectors_score_as_unit_vectors():
    """i1 = y made 5 times as long: raw differences would give cos((-1, 5), (-1, 1)) = 0.83 in place of 1."""
    scores = pair_similarities(E[:1], 5 * E[1:2], E[:1], E[1:2])
    assert scores["clip_sim_dir"][0] == pytest.approx(1.0, abs=1e-6)
    assert scores["clip_sim_target"][0] == pytest.approx(1.0, abs=1e-6)


def test_against_torch():
    rng = np.random.default_rng(0)
    i0, i1, t0, t1 = (torch.nn.functional.normalize(torch.tensor(rng.normal(size=(64, 32))), dim=1) for _ in range(4))
    cos = torch.nn.functional.cosine_similarity
    want = dict(zip(SIMILARITIES, (cos(i0, t0), cos(i1, t1), cos(i1 - i0, t1 - t0), cos(i0, i1)), strict=True))
    got = pair_similarities(*(x.numpy() for x in (i0, i1, t0, t1)))
    for name in SIMILARITIES:
        np.testing.assert_allclose(got[name], want[name].numpy(), atol=1e-6)


def test_an_edit_that_points_nowhere_scores_zero_and_a_nan_stays_visible():
    noise = 1e-7 * np.ones((1, 3))
    assert pair_similarities(E[:1], E[:1] + noise, E[:1], E[1:2])["clip_sim_dir"][0] == 0  # a copy
    assert pair_similarities(E[:1], E[1:2], E[:1], E[:1])["clip_sim_dir"][0] == 0  # captions that embed equally
    scores = pair_similarities(E[:1] * np.nan, E[1:2], E[:1], E[1:2])
    assert np.isnan(scores["clip_sim_source"][0])
    assert np.isnan(scores["clip_sim_dir"][0])
    assert np.isfinite(scores["clip_sim_target"][0])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"\(1, 3\) and \(2, 3\)"):
        cosine(E[:1], E[:2])
