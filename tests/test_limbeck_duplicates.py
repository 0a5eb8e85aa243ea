"""Clusters of near duplicates. Oracles: all pairs compared, true Jaccard similarities, pictures the test alters."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage import data

from limbeck.duplicates import (
    PICTURE_BYTES,
    TEXT_BYTES,
    normalise,
    pair_clusters,
    picture_clusters,
    picture_signature,
    text_clusters,
    text_signature,
    text_similarity,
)

PHOTOS = [Image.fromarray(getattr(data, n)()).convert("RGB").resize((96, 96)) for n in ("chelsea", "coffee", "rocket")]
THINGS = ("a red ball", "two old boats", "a small house", "the snowman", "a green kite", "an owl", "a bright lantern")
PLACES = ("on the wide beach", "under the tall pine tree", "behind the wooden fence", "in the middle of the meadow")


def rows_of(*signatures):
    return np.frombuffer(b"".join(signatures), dtype=np.uint8).reshape(len(signatures), -1)


def jaccard(a, b):
    x, y = ({f" {normalise(t)} "[i : i + 4] for i in range(len(normalise(t)) - 1)} for t in (a, b))
    return len(x & y) / len(x | y)


def test_similarity_is_that_of_the_text_that_differs_most():
    """One text of each pair is equal, the other differs: the true Jaccard similarity of that one, within its error."""
    rng = np.random.default_rng(0)
    pairs = []
    for n in range(80):
        words = rng.choice(THINGS + PLACES, 8)
        other = [rng.choice(THINGS) if rng.random() < 0.2 else w for w in words]
        changed, same = (" ".join(words), " ".join(other)), ("make it blue", "make it blue")
        pairs.append(list(zip(*((changed, same) if n % 2 else (same, changed)), strict=True)))
    a, b = (rows_of(*(text_signature(list(texts)) for texts in side)) for side in zip(*pairs, strict=True))
    assert a.shape == (80, TEXT_BYTES)
    want = np.array([min(jaccard(x, y) for x, y in zip(*pair, strict=True)) for pair in pairs])
    error = text_similarity(a, b, 2) - want
    assert abs(error.mean()) < 0.03
    assert error.std() < 0.07, "64 hashes a text: standard error at most 0.0625"
    assert np.ptp(want) > 0.5


def test_case_and_punctuation_make_no_difference_and_one_word_does():
    same = [["A red ball, on the grass.", "Make it blue!"], ["a red  ball on the grass", "make it blue"]]
    other = [["a red ball on the grass", "make it black"], ["a red ball on the sand", "make it blue"], ["", ""]]
    labels = text_clusters(rows_of(*map(text_signature, same + other)), 2, 0.9)
    assert labels[0] == labels[1]
    assert len(set(labels)) == 4
    korean = [["빨간 공", "파랗게 바꿔"], ["빨간 공", "검게 바꿔"], ["빨간 공!", "파랗게 바꿔."]]
    labels = text_clusters(rows_of(*map(text_signature, korean)), 2, 0.9)
    assert labels[0] == labels[2] != labels[1]


def test_text_clusters_are_those_of_all_pairs():
    rng = np.random.default_rng(1)
    base = [" ".join(rng.choice(THINGS + PLACES, 9)) for _ in range(60)]
    texts = base + [t.replace("the", "that", 1) for t in base for _ in range(2)] + [t + "!" for t in base]
    signatures = rows_of(*(text_signature([t]) for t in texts))
    labels = text_clusters(signatures, 1, 0.85)
    i, j = np.triu_indices(len(texts), 1)
    near = text_similarity(signatures[i], signatures[j], 1) >= 0.85
    graph = coo_array((np.ones(near.sum()), (i[near], j[near])), shape=(len(texts), len(texts)))
    want = connected_components(graph, directed=False)[1]
    assert 60 <= len(set(want)) < 70
    assert ((labels[i] == labels[j]) == (want[i] == want[j])).all()


def altered(picture):
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    yield Image.open(buffer).convert("RGB")
    yield picture.resize((64, 64)).resize((96, 96))
    yield ImageEnhance.Brightness(picture).enhance(1.03)


def test_pictures_stored_again_are_near_and_recoloured_ones_are_not():
    pictures, owner = [], []
    for n, photo in enumerate(PHOTOS):
        for picture in (photo, *altered(photo)):
            pictures.append(picture)
            owner.append(n)
    red, green, blue = PHOTOS[0].split()
    pictures.append(Image.merge("RGB", (blue, green, red)))
    owner.append(9)
    labels = picture_clusters(rows_of(*map(picture_signature, pictures)), 3, 0.03)
    assert [[a == b for a in labels] for b in labels] == [[a == b for a in owner] for b in owner]


@pytest.mark.parametrize(("pictures", "bits"), [(1, 3), (2, 6)])
def test_up_to_that_many_bits_no_near_pair_is_missed(pictures, bits):
    """Oracle: all pairs. Copies with 0 to `bits` flipped bits in all, and strangers."""
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 256, (400, pictures * PICTURE_BYTES), dtype=np.uint8)
    parts = rows.reshape(400, pictures, PICTURE_BYTES)
    parts[:, :, 8:] = 7
    parts[200:] = parts[:200]
    flipped = np.unpackbits(parts[:, :, :8].reshape(400, -1), axis=1)
    for i in range(200, 400):
        flipped[i, rng.choice(flipped.shape[1], i % (bits + 1), replace=False)] ^= 1
    parts[:, :, :8] = np.packbits(flipped, axis=1).reshape(400, pictures, 8)
    labels = picture_clusters(rows, bits, 0.0)
    assert (labels[:200] == labels[200:]).all()
    assert len(set(labels)) == 200
    strict = picture_clusters(rows, 0, 0.0)
    equal = (flipped[:200] == flipped[200:]).all(axis=1)
    assert ((strict[:200] == strict[200:]) == equal).all()


def test_among_many_of_one_layout_those_of_like_colours_are_found():
    """Oracle: all pairs; forty rows of one hash, each of two colours twice."""
    rng = np.random.default_rng(4)
    rows = np.zeros((40, PICTURE_BYTES), np.uint8)
    rows[:, 8:] = rng.permuted(np.tile(np.arange(0, 240, 5), (20, 1)), axis=1).repeat(
        2, 0
    )  # all as light as each other
    order = rng.permutation(40)
    labels = picture_clusters(rows[order], 3, 0.03)
    owner = order // 2
    assert ((labels[:, None] == labels) == (owner[:, None] == owner)).all()


@pytest.mark.parametrize("seed", range(3))
def test_of_many_questions_about_a_picture_those_that_repeat_are_found(seed):
    """Oracle: all pairs, in any order: the same thirty questions about six pictures, half of them asked again."""
    rng = np.random.default_rng(seed)
    asked = [text_signature(["".join(rng.choice([*"abcdefghij "], 40))]) for _ in range(30)]
    shown = [picture_signature(photo.resize((64 + 8 * n, 64 + 8 * n))) for photo in PHOTOS[:3] for n in range(2)]
    rows = [(q, p) for q in range(30) for p in range(6) if p % 2 == 0 or q % 2 == 0]
    order = rng.permutation(len(rows))
    owner = np.array([(q, p // 2) for q, p in rows])[order]
    texts = rows_of(*(asked[rows[n][0]] for n in order))
    pictures = rows_of(*(shown[rows[n][1]] for n in order))
    labels = pair_clusters(texts, pictures, 1, 0.9, 3, 0.03)
    same = (owner[:, None] == owner).all(-1)
    assert ((labels[:, None] == labels) == same).all()
    assert len(set(labels)) == 90
