"""What a magnifier shows: of clips their frames and gains, of gratings curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.motion import measures, methods, plaids
from distill.motion.pairs import Pair, motion_px, moved_frame
from distill.student import Answers, Predictor
from limbeck.errors import SettingError
from limbeck.motion.spec import ClipSpec

_BATCH = 16
_GAINS = (1, 2, 3, 5, 8, 13, 20, 30, 50, 75, 100)
_SHARES = np.array([0.05, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25])


def asked(predictor: Predictor) -> plaids.Magnify:
    """A predictor as a magnifier."""
    return lambda first, second, gain: predictor.ask({"first": first, "second": second, "gain": gain})["magnified"]


def magnified(magnify: plaids.Magnify, pairs: Sequence[Pair], gains: Sequence[float]) -> NDArray[np.float32]:
    """(N, 3, H, W): the recorded pairs, magnified."""
    found = []
    for start in range(0, len(pairs), _BATCH):
        some = slice(start, start + _BATCH)
        frames = np.stack([pair.recorded for pair in pairs[some]]).astype(np.float32) / measures.STEPS
        found.append(magnify(frames[:, 0], frames[:, 1], np.array(gains[some], np.float32)))
    return np.concatenate(found)


def of_gratings(
    magnify: plaids.Magnify, shape: tuple[int, int], rows: int, *, max_gain: float, bound_px: float
) -> Answers:
    """Gratings of a frame's shorter side.

    Args:
        magnify: what is measured; an exported file takes frames of one size, so gratings are continued to it.
        shape: (H, W) of the frames.
        rows: N.
        max_gain: the largest that is asked for.
        bound_px: the largest magnified motion that is asked for.

    Returns:
        `gain_curve` (N, M, 5) and `vibrations` (N, V, 5), the fields of `GainPoint` and `Vibration`: the same in every
        row, kept once.
    """
    side = min(shape)

    def filled(first: NDArray[Any], second: NDArray[Any], gains: NDArray[Any]) -> NDArray[np.float32]:
        more = [(0, 0), (0, 0), *((0, want - side) for want in shape)]
        wide = [np.pad(part, more, mode="symmetric") if shape != (side, side) else part for part in (first, second)]
        parts = [slice(n, n + _BATCH) for n in range(0, len(gains), _BATCH)]
        return np.concatenate([magnify(wide[0][p], wide[1][p], gains[p]) for p in parts])[..., :side, :side]

    curve = plaids.gain_curve(filled, side, [gain for gain in _GAINS if gain <= max_gain], most_px=bound_px)
    swings = [
        plaids.vibration(filled, side, hz, amplitude, min(max_gain, 0.2 * bound_px / amplitude))
        for hz in (1.7, 4.3, 9.1)
        for amplitude in (0.05, 0.2)
    ]
    tables = {"gain_curve": curve, "vibrations": swings}
    tables = {name: np.array([list(vars(each).values()) for each in found]) for name, found in tables.items()}
    return {name: np.broadcast_to(table, (rows, *table.shape)) for name, table in tables.items()}


class Ladders:
    """Clips' magnified frames at shares of their gains, against which it is read what gain was shown; kept by row."""

    def __init__(self) -> None:
        """None yet."""
        self._known: dict[str, NDArray[np.float32] | None] = {}

    def gains(
        self, clips: Iterable[tuple[str, ClipSpec, NDArray[np.float32]]], most: int, bound_px: float
    ) -> NDArray[np.float64]:
        """(n, 2) gain asked, and share of it shown, for clips in which it makes a difference.

        Args:
            clips: row id, specification, (3, H, W) what was shown.
            most: clips that are measured.
            bound_px: the largest magnified motion that is measured.
        """
        found: list[tuple[float, float]] = []
        for row_id, spec, frame in clips:
            if len(found) >= most:
                break
            if not 0.5 <= motion_px(spec) * spec.gains[0].gain_total <= bound_px:
                continue
            ladder = self._of(row_id, spec)
            if ladder is not None:
                found.append((spec.gains[0].gain_total, measures.shown_gain(frame, ladder, _SHARES)))
        return np.array(found).reshape(-1, 2)

    def _of(self, row_id: str, spec: ClipSpec) -> NDArray[np.float32] | None:
        """None where a larger gain can't be shown."""
        if row_id not in self._known:
            try:
                self._known[row_id] = methods.ladder(spec, spec.gains[0], moved_frame(spec), _SHARES)
            except SettingError:
                self._known[row_id] = None
        return self._known[row_id]
