"""CLIP-style similarities of an edit pair, from embeddings: plain numpy, no model.

Generators, filters and evaluation share these functions, so that one word means one number everywhere. Embeddings
are brought to unit length here: a raw embedding and a unit one give the same scores.
"""

from __future__ import annotations

import numpy as np

SIMILARITIES = ("clip_sim_source", "clip_sim_target", "clip_sim_dir", "clip_sim_image")
"""Canonical column names, in the order of `pair_similarities`."""

MIN_DIRECTION_LENGTH = 1e-4
"""Differences of unit embeddings shorter than this are rounding noise and point nowhere: their cosine is 0."""


def unit_rows(x: np.ndarray) -> np.ndarray:
    """Scales rows to unit length; a row of zeros stays zeros.

    Args:
        x: (N, D), any real dtype.

    Returns:
        (N, D) float64.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    x = np.asarray(x, dtype=np.float64)
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length != 0)


def cosine(a: np.ndarray, b: np.ndarray, min_length: float = 0.0) -> np.ndarray:
    """Cosine of the angle between corresponding rows.

    Args:
        a: (N, D).
        b: (N, D).
        min_length: a row this short or shorter has no direction, and the result is 0; NaN rows give NaN.

    Returns:
        (N,) float32 in [-1, 1].

    >>> [round(x, 3) for x in cosine(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])).tolist()]
    [0.707]
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"found shapes {a.shape} and {b.shape}; expected two equal (N, D)")
    dots = np.einsum("nd,nd->n", unit_rows(a), unit_rows(b))
    short = (np.linalg.norm(a, axis=1) <= min_length) | (np.linalg.norm(b, axis=1) <= min_length)
    return np.where(short, 0.0, np.clip(dots, -1.0, 1.0)).astype(np.float32)


def pair_similarities(
    image_source: np.ndarray, image_target: np.ndarray, text_source: np.ndarray, text_target: np.ndarray
) -> dict[str, np.ndarray]:
    """The four scores of InstructPix2Pix: does each picture fit its caption, did both move in one direction.

    Args:
        image_source: (N, D) embeddings of the before pictures.
        image_target: (N, D) embeddings of the after pictures.
        text_source: (N, D) embeddings of the before captions.
        text_target: (N, D) embeddings of the after captions.

    Returns:
        `clip_sim_source` = cos(i0, t0), `clip_sim_target` = cos(i1, t1), `clip_sim_dir` = cos(i1 - i0, t1 - t0),
        `clip_sim_image` = cos(i0, i1); each (N,) float32 in [-1, 1]. Where pictures or texts don't differ
        (`MIN_DIRECTION_LENGTH`) the direction score is 0, as an edit that points nowhere agrees with nothing: any
        positive threshold drops it. NaN embeddings give NaN scores.

    Source: Brooks et al. 2023, InstructPix2Pix, section 3.1; direction after Gal et al. 2022, StyleGAN-NADA, eq. 1.
    Differs: torch's `cosine_similarity` calls a difference null only below 1e-8, so rounding noise counts there.
    """
    i0, i1, t0, t1 = (unit_rows(x) for x in (image_source, image_target, text_source, text_target))
    return {
        "clip_sim_source": cosine(i0, t0),
        "clip_sim_target": cosine(i1, t1),
        "clip_sim_dir": cosine(i1 - i0, t1 - t0, min_length=MIN_DIRECTION_LENGTH),
        "clip_sim_image": cosine(i0, i1),
    }
