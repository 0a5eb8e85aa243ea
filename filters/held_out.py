"""Decontamination: drops rows whose pictures are near ones of a held-out set, resized or re-encoded as they may be."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from annotated_types import Ge, Le
from pydantic import ValidationInfo, field_validator

from limbeck.duplicates import PICTURE_BYTES, picture_signature
from limbeck.errors import SettingError
from limbeck.pictures import Fault, decode
from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, Reasons, Row, Run, beside_recipe, settings

_CHUNK = 4096
_MOST_BITS = 16


@settings
class HeldOut(Filter):
    """Drops rows that show a picture of the held-out set, or nearly.

    Every picture's perceptual hash and colours are compared with those of all held-out pictures, and it is one of them
    where one is near in both; an exact hash of bytes would miss a resize. The held-out set is one or more Parquet
    files; every picture in them counts, in whatever column (bytes, the `Image` feature, or lists of them).
    """

    name: ClassVar = "held_out"
    version: ClassVar = 2
    reads: ClassVar = columns("images")
    writes: ClassVar = (
        column("held_out_bits", pa.int32()),  # difference of hashes from the nearest held-out picture, of 64
        column("held_out_colour", pa.float32()),  # mean difference of colours from that picture, in [0, 1]
        # (17,): the least mean difference of colours among held-out pictures within 0, 1, ... bits; 1 where there are none
        column("held_out_colours", pa.list_(pa.float32())),
    )
    reasons: ClassVar = ("held_out_picture",)

    against: tuple[str, ...]
    """Parquet files, relative ones as seen from the recipe. A digest of each one's contents is put behind its name
    (`FILE#DIGEST`), so that another file is another setting; a build can be read when they are gone."""
    max_bits: Annotated[int, Decision(), Ge(0), Le(_MOST_BITS)] = 4
    """Greatest difference of hashes, in bits of 64, of the same picture."""
    max_colour: Annotated[float, Decision(), Ge(0), Le(1)] = 0.04
    """Greatest mean difference of colours of the same picture."""

    @field_validator("against")
    @classmethod
    def _with_digest(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not value:
            raise SettingError("against is empty", expected="Parquet files with the held-out pictures")
        return tuple(name if "#" in name else f"{name}#{_digest(beside_recipe(name, info))}" for name in value)

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """The distance of each row's nearest picture from the held-out ones; null without pictures."""
        named = (name.partition("#") for name in self.against)
        held_out = _held_out(tuple((run.path(file), digest) for file, _, digest in named))
        known: dict[bytes, np.ndarray | None] = {}
        out = []
        for row in rows:
            near = []
            for image in row["images"] or ():
                if image not in known:
                    signature = _signature(image)
                    known[image] = None if signature is None else _least_colours(signature, held_out)
                near += [] if known[image] is None else [known[image]]
            if not near:
                out.append(dict.fromkeys(field.name for field in self.writes))
                continue
            exactly = np.min(near, axis=0)  # (65,)
            bits = int(np.flatnonzero(exactly < np.inf)[0])
            within = np.minimum(np.minimum.accumulate(exactly), 1)[: _MOST_BITS + 1]
            out.append(
                {"held_out_bits": bits, "held_out_colour": float(exactly[bits]), "held_out_colours": within.tolist()}
            )
        return out

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        least = row["held_out_colours"]
        same = least is not None and np.float32(least[self.max_bits]) <= np.float32(self.max_colour)
        return ("held_out_picture",) if same else ()


@lru_cache(maxsize=4)
def _held_out(files: tuple[tuple[Path, str], ...]) -> np.ndarray:
    """(N, PICTURE_BYTES) uint8 of the pictures in files of these contents.

    Raises:
        SettingError: a file is gone or another one, or none holds a picture.
    """
    found: set[bytes] = set()
    for path, known in files:
        if (digest := _digest(path)) != known:
            raise SettingError(
                f"{path} is not what it was", expected=f"contents {known}, found {digest}", where="held_out.against"
            )
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=100):
                for row in batch.to_pylist():
                    found.update(s for value in row.values() for s in map(_signature, _pictures(value)) if s)
    if not found:
        raise SettingError("no picture in the held-out files", where="held_out.against")
    return np.frombuffer(b"".join(sorted(found)), np.uint8).reshape(-1, PICTURE_BYTES)


def _least_colours(signature: bytes, held_out: np.ndarray) -> np.ndarray:
    """(65,): the least mean colour difference of held-out pictures whose hashes differ in so many bits; infinite for none."""
    own, least = np.frombuffer(signature, np.uint8), np.full(65, np.inf)
    for start in range(0, len(held_out), _CHUNK):
        others = held_out[start : start + _CHUNK]
        bits = np.bitwise_count(others[:, :8] ^ own[:8]).sum(1)
        np.minimum.at(least, bits, np.abs(others[:, 8:].astype(np.int16) - own[8:]).mean(1) / 255)
    return least


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
    except OSError as error:
        raise SettingError(f"can't read {path}: {error.strerror}", where="held_out.against") from None


def _pictures(value: Any) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        return [value["bytes"]]
    return [picture for part in value for picture in _pictures(part)] if isinstance(value, list) else []


def _signature(image: bytes) -> bytes | None:
    picture = decode(image)
    return None if isinstance(picture, Fault) else picture_signature(picture)
