"""Teachers that magnify: the phase-based method, or a larger magnifier. Their answers are frames in 8 bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.motion import methods
from distill.motion.pairs import Pair
from distill.teacher import Teacher, array, model_name
from distill.views import View
from limbeck.errors import ModelNotFound
from limbeck.models.spec import ModelSpec
from limbeck.paths import beside

MAGNIFIED = "magnified"
_BATCH = 16


class MagnifyingTeacher(Teacher):
    """Gives `magnified`, (3, H, W) uint8: the recorded pair at the clip's first gain."""

    reads = ("clip_spec",)

    def __init__(
        self, model: str, folder: Path, size_px: tuple[int, int], look: Callable[[dict[str, Any]], tuple[Pair, float]]
    ) -> None:
        """Knows the teacher; doesn't load it.

        Args:
            model: `phase-based`, or the folder of a saved magnifier.
            folder: what a relative folder is relative to.
            size_px: (height, width) of the frames.
            look: a row to its pair and its first gain.

        Raises:
            ModelNotFound: the folder holds no magnifier.
        """
        self.columns = (array(MAGNIFIED, (3, *size_px), "uint8"),)
        self._look, self._magnify, self._parameters = look, None, 0
        if model == methods.PHASE:
            self.name, self._place = model, None
            self.fingerprint = {"weights": "none", "preprocessing": "limbeck.motion.phase_based 1", "dtype": "float32"}
            return
        place = beside(folder, model)
        weights = place / "model.safetensors"
        if not weights.is_file():
            raise ModelNotFound(
                f"{place} holds no model.safetensors", expected="`phase-based`, or the folder of a saved magnifier",
                where="student.teacher",
            )  # fmt: skip
        with weights.open("rb") as stream:
            digest = hashlib.file_digest(stream, "blake2b").hexdigest()[:16]
        self.name, self._place = model_name(ModelSpec(id=str(place)), folder, digest), place
        self.fingerprint = {"weights": digest, "preprocessing": "none", "dtype": "float32"}

    def load(self) -> None:
        """Loads the weights, if it has any."""
        if self._place is None:
            self._magnify = methods.phase_based
            return
        from limbeck.motion.magnifier import Magnifier

        model = Magnifier.from_pretrained(self._place)
        self._parameters = sum(p.numel() for p in model.parameters())
        self._magnify = torch_magnify(model)

    def unload(self) -> None:
        """Lets go of them."""
        self._magnify = None

    def targets(self, rows: Sequence[dict[str, Any]], views: Sequence[View]) -> dict[str, Any]:
        """What it makes of the recorded pairs; a view changes nothing, pictures of motion aren't resized."""
        found = []
        for start in range(0, len(rows), _BATCH):
            seen = [self._look(row) for row in rows[start : start + _BATCH]]
            recorded = np.stack([pair.recorded for pair, _ in seen]).astype(np.float32) / 255
            gains = np.array([gain for _, gain in seen], np.float32)
            found.append(self._magnify(recorded[:, 0], recorded[:, 1], gains))
        return {MAGNIFIED: np.round(np.clip(np.concatenate(found), 0, 1) * 255).astype(np.uint8)}

    def facts(self) -> dict[str, Any]:
        """Its size; 0 where there is nothing learnt."""
        return {"parameters": self._parameters}


def torch_magnify(model: Any) -> methods.Magnify:
    """A torch magnifier in numpy."""
    import torch

    def magnify(
        first: NDArray[np.float32], second: NDArray[np.float32], gains: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        with torch.inference_mode():
            return model(*(torch.from_numpy(np.ascontiguousarray(part)) for part in (first, second, gains))).numpy()

    return magnify
