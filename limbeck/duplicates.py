"""Near duplicates among millions of rows: small signatures, and clusters found by sorting, never pair by pair.

A signature is made once a row and stored; clustering is numpy on whole columns. Rows become candidates when a key
cut from their signatures is equal. Few of one key are compared each with each; among many, which are mostly copies, each
with the next few of an order that brings like rows together.

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
    keys = _text_keys(signatures)

    def near(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return text_similarity(signatures[i], signatures[j], texts) >= least

    return _clusters((keys[:, k] for k in range(_KEYS)), np.lexsort(keys[:, :2].T), near)


def _text_keys(signatures: np.ndarray) -> np.ndarray:
    """(N, 16) uint64."""
    return np.ascontiguousarray(signatures[:, _EXACT_BYTES:]).view(np.uint64)


def text_similarity(a: np.ndarray, b: np.ndarray, texts: int) -> np.ndarray:
    """Estimated Jaccard similarity of the text that differs most, (M,), of (M, TEXT_BYTES) uint8 signatures."""
    equal = a[:, _EXACT_BYTES:] == b[:, _EXACT_BYTES:]
    shares = equal.reshape(len(a), _KEYS, texts, _HASHES_PER_KEY // texts).mean(axis=(1, 3)).min(axis=1)
    return (shares - 1 / 256) / (1 - 1 / 256)  # equal by chance once in 256


def picture_clusters(signatures: np.ndarray, most_bits: int, most_colour: float) -> np.ndarray:
    """Labels of rows whose pictures are near, each in its place.

    Args:
        signatures: (N, pictures * PICTURE_BYTES) uint8, one or two pictures a row.
        most_bits: greatest Hamming distance of each picture's hash; up to 6 in all are found without fail when
            two pictures are compared, or 3 of one.
        most_colour: greatest mean difference of each picture's 4 x 4 colours, in [0, 1].

    Returns:
        (N,) labels, equal within a cluster.
    """
    words, colours = _looks(signatures)
    bands = words.view(np.uint16)  # (N, 4 * pictures)

    def near(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return _look_alike(words, colours, i, j, most_bits, most_colour)

    # Each differing bit spoils one band of 16: of 8 bands, 6 differing bits leave two that agree.
    count = bands.shape[1]
    keys = (
        bands[:, a].astype(np.uint32) << np.uint32(16) | bands[:, b]
        for a, b in combinations(range(count), 2)
    ) if count > 4 else (bands[:, a].astype(np.uint32) for a in range(count))  # fmt: skip
    return _clusters(keys, _by_looks(words, colours), near)


def pair_clusters(
    texts: np.ndarray, pictures: np.ndarray, count: int, least: float, most_bits: int, most_colour: float
) -> np.ndarray:
    """Labels of rows whose texts and pictures are both near: many questions about one picture are many clusters.

    Candidates share a key of their texts and a cluster of pictures, in which each differs little from some other.

    Args:
        texts: (N, TEXT_BYTES) uint8.
        pictures: (N, pictures * PICTURE_BYTES) uint8.
        count: texts in each signature.
        least: as of `text_clusters`.
        most_bits: as of `picture_clusters`.
        most_colour: as of `picture_clusters`.

    Returns:
        (N,) labels, equal within a cluster.
    """
    words, colours = _looks(pictures)
    alike = picture_clusters(pictures, most_bits, most_colour).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keys = _text_keys(texts)

    def near(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        ok = _look_alike(words, colours, i, j, most_bits, most_colour)
        ok[ok] &= text_similarity(texts[i[ok]], texts[j[ok]], count) >= least
        return ok

    return _clusters((keys[:, k] ^ alike for k in range(_KEYS)), _by_looks(words, colours), near)


def _looks(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, pictures) uint64 of hashes and (N, pictures, 48) uint8 of colours."""
    parts = signatures.reshape(len(signatures), signatures.shape[1] // PICTURE_BYTES, PICTURE_BYTES)
    hashes = np.ascontiguousarray(parts[:, :, :8])
    return hashes.reshape(len(hashes), 8 * parts.shape[1]).view(np.uint64), parts[:, :, 8:]


def _look_alike(
    words: np.ndarray, colours: np.ndarray, i: np.ndarray, j: np.ndarray, most_bits: int, most_colour: float
) -> np.ndarray:
    """(M,) whether each picture of rows i is near that of rows j."""
    ok = (np.bitwise_count(words[i] ^ words[j]) <= most_bits).all(axis=1)
    ok[ok] &= _colour_distance(colours[i[ok]], colours[j[ok]]) <= most_colour
    return ok


def _by_looks(words: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Rows by their hashes, those of one hash by how light they are."""
    return np.lexsort((colours.sum(axis=(1, 2), dtype=np.int64), *words.T))


def _colour_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean colour difference of the picture that differs most, (M,) in [0, 1], of (M, pictures, 48) uint8."""
    return np.abs(a.astype(np.int16) - b.astype(np.int16)).mean(axis=2).max(axis=1) / 255


def _clusters(keys: Iterator[np.ndarray], order: np.ndarray, near: Near, window: int = 4, few: int = 64) -> np.ndarray:
    """Labels of rows that are linked by near pairs.

    Args:
        keys: (N,) of unsigned integers each; rows that share one are candidates.
        order: rows in an order that brings like rows together; it orders rows of one key.
        near: which candidates are near.
        window: how many following rows of the same key each row is compared with. In a large bucket of copies
            neighbours are linked, and the cluster closes over them.
        few: up to so many rows of one key are all compared, as those that aren't near can lie between two that are.
    """
    labels = np.arange(len(order))
    for key in keys:
        rows = order[_perhaps_shared(key)[order]]
        rows = rows[np.argsort(key[rows], kind="stable")]
        run = key[rows]
        labels = _linked(labels, rows, run, range(1, window + 1), near)
        sizes = np.unique(run, return_counts=True)[1]
        some = np.repeat((sizes > window + 1) & (sizes <= few), sizes)
        if some.any():
            labels = _linked(labels, rows[some], run[some], range(window + 1, few), near)
    return labels


def _linked(labels: np.ndarray, rows: np.ndarray, run: np.ndarray, steps: range, near: Near) -> np.ndarray:
    """The labels, joined where rows so many places apart, of one key, are near.

    Args:
        labels: (N,) so far.
        rows: (n,) those with a key that others have, one key's beside each other.
        run: (n,) their keys.
        steps: how far apart.
        near: which are near.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = []
    for step in steps:
        at = np.flatnonzero(run[:-step] == run[step:])
        if not len(at):
            break
        i, j = rows[at], rows[at + step]
        new = labels[i] != labels[j]
        i, j = i[new], j[new]
        ok = near(i, j)
        links.append(np.stack((labels[i[ok]], labels[j[ok]])))
    if not links or not (edges := np.concatenate(links, axis=1)).size:
        return labels
    graph = coo_array((np.ones(edges.shape[1], dtype=bool), tuple(edges)), shape=(len(labels), len(labels)))
    return connected_components(graph, directed=False)[1][labels]


def _perhaps_shared(key: np.ndarray) -> np.ndarray:
    """Rows whose key another row may have, and every row whose key another has: saves sorting the many that don't."""
    bucket = (key.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(42)  # 2**22 buckets
    return np.bincount(bucket.astype(np.int64), minlength=1)[bucket] > 1
