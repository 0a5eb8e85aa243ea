"""InstructPix2Pix's own folders: prompt.json, SEED_0.jpg, SEED_1.jpg, metadata.jsonl, and seeds.json over all.

    seeds.json                        [["0000000", ["1234", ...]], ...]
    0000000/prompt.json               caption, edit, output
    0000000/1234_0.jpg, 1234_1.jpg    before and after, JPEG quality 100
    0000000/metadata.jsonl            a line for each: seed, p2p_threshold, cfg_scale and the four similarities

Source: timothybrooks/instruct-pix2pix, dataset_creation and edit_dataset.py.
Differs: colour isn't subsampled in the JPEGs; prompt.json also has the caption as `input`, the key that the reference's
evaluation reads and its generator never writes.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from limbeck.exports import UNREADABLE, Exported
from limbeck.pictures import Fault, decode
from limbeck.published_rows import Published

METADATA = {
    "p2p_threshold": "shared_fraction",
    "cfg_scale": "guidance_scale",
    "clip_sim_0": "clip_sim_source",
    "clip_sim_1": "clip_sim_target",
    "clip_sim_dir": "clip_sim_dir",
    "clip_sim_image": "clip_sim_image",
}
"""The reference's name of a fact, and ours."""
_PROMPT = ("original_prompt", "edit_prompt", "edited_prompt")
_ORDER = ("train", "val", "validation", "dev", "test")


@dataclass
class _Prompt:
    """One folder: its name and what is in it."""

    name: str
    metadata: list[dict[str, Any]] = field(default_factory=list)


def write(source: Published, out: Path) -> Exported:
    """Fills `out`: a folder for every prompt, the train split's first, then the others'.

    The reference cuts seeds.json by position; `Exported.next` has the `splits` with which it cuts where ours end.

    Raises:
        RequestError: a column is missing.
    """
    source.need((*_PROMPT, "original_image", "edited_image"), "instructpix2pix")
    columns = (*_PROMPT, "original_image", "edited_image", "seed", "id", *METADATA.values())
    seeds: list[tuple[str, list[str]]] = []
    counts: dict[str, int] = {}
    rows, left_out = 0, Counter[str]()
    for split in sorted(source.splits, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        prompts: dict[tuple[str, ...], _Prompt] = {}  # the same words in two splits are two folders
        for row in source.rows(split, columns):
            pictures = [decode(row[name]) for name in ("original_image", "edited_image")]
            if any(isinstance(picture, Fault) for picture in pictures):
                left_out[UNREADABLE] += 1
                continue
            words = tuple(row[name] or "" for name in _PROMPT)
            if words not in prompts:
                prompts[words] = _Prompt(f"{len(seeds) + len(prompts):07d}")
                _start(out / prompts[words].name, words)
            prompt = prompts[words]
            seed = _seed(row, {each["seed"] for each in prompt.metadata})
            for n, picture in enumerate(pictures):
                picture.save(out / prompt.name / f"{seed}_{n}.jpg", quality=100, subsampling=0)
            prompt.metadata.append({"seed": seed, **{name: row[own] for name, own in METADATA.items()}})
            rows += 1
        for prompt in prompts.values():
            _finish(out / prompt.name, prompt.metadata)
            seeds.append((prompt.name, sorted(str(each["seed"]) for each in prompt.metadata)))
        counts[split] = len(prompts)
    (out / "seeds.json").write_bytes(orjson.dumps(seeds))
    return Exported(out, rows, f"path: {out}\nsplits: {list(split_shares(list(counts.values())))}", left_out)


def split_shares(counts: Sequence[int]) -> tuple[float, float, float]:
    """The reference's `splits` that cut n prompts into the first counts[0], the next counts[1], and the rest.

    They add up to exactly 1, which it asserts, and it rounds n times their running sum down.

    >>> shares = split_shares([6, 4])
    >>> sum(shares) == 1, int(10 * shares[0]), int(10 * (shares[0] + shares[1]))
    (True, 6, 10)
    """
    total = sum(counts)
    if not total:
        return 1.0, 0.0, 0.0
    ends = [min(1.0, (sum(counts[:n]) + 0.5) / total) if sum(counts[:n]) < total else 1.0 for n in (1, 2)]
    first = ends[0]
    second = ends[1] - first
    third = 1.0 - (first + second)
    while sum((first, second, third)) != 1:  # the last bit of a sum of three
        third = math.nextafter(third, third + 1.0 - sum((first, second, third)))
    return first, second, third


def _seed(row: dict[str, Any], taken: set[int]) -> int:
    """The row's seed; a hash of its id where it has none or a sibling has the same."""
    seed, n = row["seed"], 0
    while seed is None or seed in taken:
        seed, n = int.from_bytes(hashlib.blake2b(f"{row['id']}~{n}".encode(), digest_size=4).digest(), "big"), n + 1
    return seed


def _start(folder: Path, words: tuple[str, ...]) -> None:
    folder.mkdir()
    caption, edit, output = words
    prompt = {"caption": caption, "edit": edit, "output": output, "input": caption}
    (folder / "prompt.json").write_bytes(orjson.dumps(prompt))


def _finish(folder: Path, metadata: list[dict[str, Any]]) -> None:
    """Best direction first, as the reference writes them."""
    ordered = sorted(metadata, key=lambda each: (-(each["clip_sim_dir"] or 0), each["seed"]))
    (folder / "metadata.jsonl").write_bytes(b"".join(orjson.dumps(each) + b"\n" for each in ordered))
