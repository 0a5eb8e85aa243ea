"""Pictures of an export as files, each once: rows that show the same picture share its file."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

from limbeck.pictures import Fault, decode

SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}


class PictureFiles:
    """A folder that pictures are put into under the hash of their bytes, which are written as they are."""

    def __init__(self, out: Path, name: str = "images") -> None:
        """Makes the folder.

        Args:
            out: the export's folder, which paths are relative to.
            name: of the folder in it.
        """
        self._out, self._name = out, name
        self._known: dict[bytes, str | None] = {}
        (out / name).mkdir()

    def add(self, picture: bytes | None) -> str | None:
        """The picture's path, relative to the export; None where no trainer could open it."""
        if not picture:
            return None
        digest = blake2b(picture, digest_size=16).digest()
        if digest not in self._known:
            self._known[digest] = None if isinstance(decode(picture), Fault) else self._write(picture, digest.hex())
        return self._known[digest]

    def _write(self, picture: bytes, name: str) -> str:
        suffix = next((s for magic, s in SUFFIXES.items() if picture.startswith(magic)), ".png")
        path = f"{self._name}/{name}{suffix}"
        (self._out / path).write_bytes(picture)
        return path
