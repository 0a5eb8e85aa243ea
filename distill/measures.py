"""Measures of classifiers and retrievers on plain arrays. Each gives a value for every row, so that rows can be resampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_softmax(logits: NDArray) -> Floats:
    """Over the last axis, in float64; -inf stays -inf.

    >>> np.exp(log_softmax(np.array([0.0, 0.0, -np.inf]))).tolist()
    [0.5, 0.5, 0.0]
    """
    x = np.asarray(logits, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def retrieved(queries: NDArray, keys: NDArray, names: Sequence[str]) -> Floats:
    """Whether the nearest key of each query bears the query's name.

    Args:
        queries: (N, D), rows of unit length.
        keys: (N, D), key n belongs to query n.
        names: N names; two rows of one name are each other's right answer.

    Returns:
        (N,) of 0 and 1.

    >>> retrieved(np.eye(2), np.array([[1.0, 0.0], [1.0, 0.1]]), ["a", "b"]).tolist()
    [1.0, 1.0]
    """
    nearest = (np.asarray(queries, np.float64) @ np.asarray(keys, np.float64).T).argmax(1)
    return np.array([float(names[n] == name) for name, n in zip(names, nearest, strict=True)])


def calibration_error(confidence: NDArray, right: NDArray, bins: int = 15) -> float:
    """Expected calibration error: how far confidence is from accuracy, over bins of equal width.

    Args:
        confidence: (N,) probability of the answer given.
        right: (N,) whether it was right.
        bins: of [0, 1].

    >>> round(calibration_error(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1, 1, 1, 0])), 3)
    0.1

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
    """
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    at = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [abs(confidence[at == b].sum() - right[at == b].sum()) for b in range(bins)]
    return float(sum(gaps) / max(1, len(confidence)))
