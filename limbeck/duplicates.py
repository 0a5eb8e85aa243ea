"""Near duplicates among millions of rows: small signatures, and clusters found by sorting, never pair by pair.

A signature is made once a row and stored; clustering is numpy on whole columns. Rows become candidates when a key
cut from their signatures is equal; sorted by that key they lie side by side, and each is compared with the next few.

    text      MinHash of character 4-grams, 8 bits a hash (b-bit minwise hashing), 16 keys of 8 hashes
    picture   perceptual hash of 64 bits, and 4 x 4 mean colours, as that hash sees brightness only
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import combinations

import numpy as np
from PIL import Image

_KEYS, _HASHES_PER_KEY = 16, 8
_EXACT_BYTES = 8
TEXT_BYTES = _EXACT_BYTES + _KEYS * _HASHES_PER_KEY
_GRID = 4
PICTURE_BYTES = 8 + 3 * _GRID * _GRID

Near = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(indices, indices) to whether each pair of rows is near."""


def normalise(text: str) -> str:
    """A text without what makes no difference: case, punctuation, spacing, Unicode variants.

    >>> normalise("  Make the Ball blue! ")
    'make the ball blue'
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def text_signature(texts: list[str]) -> bytes:
    """Signature of a row's texts, such as caption and instruction; 1, 2, 4 or 8 texts.

    Returns:
        `TEXT_BYTES` bytes: a digest of the exact texts, then 128 hashes of 8 bits, shared out among the texts.

    Source: Broder 1997, On the resemblance and containment of documents; Li and König 2010, b-bit minwise hashing.
    """
    from datasketch import MinHash  # takes a second to import: only those who sign rows need it

    per_text = _HASHES_PER_KEY // len(texts)
    if per_text * len(texts) != _HASHES_PER_KEY:
        raise ValueError(f"found {len(texts)} texts; expected 1, 2, 4 or 8")
    shingled = [{f" {t} "[i : i + 4].encode() for i in range(max(1, len(t) - 1))} for t in map(normalise, texts)]
    hashed = MinHash.bulk(shingled, num_perm=_KEYS * per_text, seed=1)
    low = np.stack([m.hashvalues.astype(np.uint64) & 0xFF for m in hashed]).astype(np.uint8)  # (texts, 16 * per_text)
    by_key = low.reshape(len(texts), _KEYS, per_text).transpose(1, 0, 2)  # (16, texts, per_text)
    exact = blake2b("\x1f".join(texts).encode(errors="surrogatepass"), digest_size=_EXACT_BYTES)
    return exact.digest() + by_key.tobytes()


def picture_signature(picture: Image.Image) -> bytes:
    """Signature of an RGB picture: `PICTURE_BYTES` bytes, perceptual hash and mean colours."""
    import imagehash

    bits = imagehash.phash(picture, hash_size=8).hash
    colours = picture.resize((_GRID, _GRID), Image.Resampling.BOX)
    return np.packbits(bits).tobytes() + colours.tobytes()


def stacked(signatures: np.ndarray, length: int) -> np.ndarray:
    """(N,) bytes objects of one length to (N, length) uint8."""
    return np.frombuffer(b"".join(signatures.tolist()), dtype=np.uint8).reshape(len(signatures), length)


def text_clusters(signatures: np.ndarray, texts: int, least: float) -> np.ndarray:
    """Labels of rows whose texts are near in every one of `texts` positions.

    Args:
        signatures: (N, TEXT_BYTES) uint8.
        texts: texts in each signature.
        least: least Jaccard similarity of each text's 4-grams, as estimated (standard error 0.03 at 0.9 for two
            texts). From 0.85 on nearly all pairs are found.

    Returns:
        (N,) labels, equal within a cluster.
    """
    hashes = signatures[:, _EXACT_BYTES:]
    keys = np.ascontiguousarray(hashes).view(np.uint64)  # (N, 16)

    def near(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return text_similarity(signatures[i], signatures[j], texts) >= least

    return _clusters((keys[:, k] for k in range(_KEYS)), np.lexsort(keys[:, :2].T), near)


def text_similarity(a: np.ndarray, b: np.ndarray, texts: int) -> np.ndarray:
    """Estimated Jaccard similarity of the text that differs most, (M,), of (M, TEXT_BYTES) uint8 signatures."""
    equal = a[:, _EXACT_BYTES:] == b[:, _EXACT_BYTES:]
    shares = equal.reshape(len(a), _KEYS, texts, _HASHES_PER_KEY // texts).mean(axis=(1, 3)).min(axis=1)
    return (shares - 1 / 256) / (1 - 1 / 256)  # equal by chance once in 256


def picture_clusters(
    signatures: np.ndarray, most_bits: int, most_colour: float, also: Near | None = None
) -> np.ndarray:
    """Labels of rows whose pictures are near, each in its place.

    Args:
        signatures: (N, pictures * PICTURE_BYTES) uint8, one or two pictures a row.
        most_bits: greatest Hamming distance of each picture's hash; up to 6 in all are found without fail when
            two pictures are compared, or 3 of one.
        most_colour: greatest mean difference of each picture's 4 x 4 colours, in [0, 1].
        also: a further condition.

    Returns:
        (N,) labels, equal within a cluster.
    """
    pictures = signatures.shape[1] // PICTURE_BYTES
    parts = signatures.reshape(len(signatures), pictures, PICTURE_BYTES)
    hashes, colours = np.ascontiguousarray(parts[:, :, :8]), parts[:, :, 8:]
    words = hashes.reshape(len(hashes), 8 * pictures).view(np.uint64)  # (N, pictures)
    bands = hashes.reshape(len(hashes), 8 * pictures).view(np.uint16)  # (N, 4 * pictures)

    def near(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        ok = (np.bitwise_count(words[i] ^ words[j]) <= most_bits).all(axis=1)
        ok[ok] &= _colour_distance(colours[i[ok]], colours[j[ok]]) <= most_colour
        if also is not None:
            ok[ok] &= also(i[ok], j[ok])
        return ok

    # Each differing bit spoils one band of 16: of 8 bands, 6 differing bits leave two that agree.
    count = bands.shape[1]
    keys = (
        bands[:, a].astype(np.uint32) << np.uint32(16) | bands[:, b]
        for a, b in combinations(range(count), 2)
    ) if count > 4 else (bands[:, a].astype(np.uint32) for a in range(count))  # fmt: skip
    return _clusters(keys, np.lexsort(words.T), near)


def _colour_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean colour difference of the picture that differs most, (M,) in [0, 1], of (M, pictures, 48) uint8."""
    return np.abs(a.astype(np.int16) - b.astype(np.int16)).mean(axis=2).max(axis=1) / 255


def _clusters(keys: Iterator[np.ndarray], order: np.ndarray, near: Near, window: int = 4) -> np.ndarray:
    """Labels of rows that are linked by near pairs.

    Args:
        keys: (N,) of unsigned integers each; rows that share one are candidates.
        order: rows in an order that brings like rows together; it orders rows of one key.
        near: which candidates are near.
        window: how many following rows of the same key each row is compared with. What matters in a large bucket of
            copies is that neighbours are linked; the cluster closes over them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    labels = np.arange(len(order))
    for key in keys:
        rows = order[_perhaps_shared(key)[order]]
        rows = rows[np.argsort(key[rows], kind="stable")]
        run = key[rows]
        links = []
        for step in range(1, min(window + 1, len(rows))):
            at = np.flatnonzero(run[:-step] == run[step:])
            i, j = rows[at], rows[at + step]
            new = labels[i] != labels[j]
            i, j = i[new], j[new]
            ok = near(i, j)
            links.append(np.stack((labels[i[ok]], labels[j[ok]])))
        if links and (edges := np.concatenate(links, axis=1)).size:
            graph = coo_array((np.ones(edges.shape[1], dtype=bool), tuple(edges)), shape=(len(order), len(order)))
            labels = connected_components(graph, directed=False)[1][labels]
    return labels


def _perhaps_shared(key: np.ndarray) -> np.ndarray:
    """Rows whose key another row may have, and every row whose key another has: saves sorting the many that don't."""
    bucket = (key.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)  # 2**22 buckets
    return np.bincount(bucket.astype(np.int64), minlength=1)[bucket] > 1
