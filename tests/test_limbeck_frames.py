"""Columns by position, where they are larger than one Arrow array. Oracle: Arrow's own `take` of small ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from limbeck.frames import taken

VALUES = {
    "picture": [b"x" * n if n % 3 else None for n in range(40)],
    "text": ["y" * (40 - n) if n % 4 else None for n in range(40)],
    "pictures": [[b"x" * (n + m) for m in range(n % 4)] if n % 5 else None for n in range(40)],
    "words": [["y" * n, None] for n in range(40)],
    "number": [None if n % 7 == 0 else n for n in range(40)],
    "said": [[{"role": "user", "text": "y" * n}] for n in range(40)],
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("most", [1, 50, 300, 10**6])
def test_values_come_as_they_lie_however_small_the_chunks_have_to_be(name, most):
    kind = pa.array(VALUES[name]).type
    column = pa.chunked_array([VALUES[name][:13], VALUES[name][13:14], [], VALUES[name][14:]], kind)
    at = pa.array([39, 0, None, 13, 13, 12, 14, *np.random.default_rng(0).integers(0, 40, 60).tolist()])
    found = taken(column, at, most)
    assert found.type == kind
    assert (
        found.to_pylist()
        == column.take(at).to_pylist()
        == [None if i is None else VALUES[name][i] for i in at.to_pylist()]
    )
    if most == 300 and name == "picture":
        assert max(chunk.nbytes for chunk in found.chunks) < 300 + 8 * len(at)
        assert found.num_chunks > 3


def test_children_of_one_large_picture_are_many():
    """Oracle: sizes worked by hand: a thousand children of 300 bytes are 300 kB, of which a chunk has a tenth."""
    column = pa.chunked_array([[b"x" * 300]])
    found = taken(column, pa.array([0] * 1000), 30_000)
    assert found.num_chunks == 10
    assert set(found.to_pylist()) == {b"x" * 300}
