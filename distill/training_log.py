"""Figures of a training as they come: `metrics.jsonl`, and TensorBoard where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson


class TrainingLog:
    """Appends a line for each look. Lines past the step that a training goes on from are taken back first."""

    def __init__(self, folder: Path, from_step: int = 0) -> None:
        """Opens the log of a training."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        lines = path.read_bytes().splitlines() if path.is_file() else []
        kept = [line for line in lines if line.strip() and orjson.loads(line)["step"] <= from_step]
        path.write_bytes(b"".join(line + b"\n" for line in kept))
        self._file = path.open("ab")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._board: Any = None
        else:
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=from_step)

    def write(self, step: int, figures: Mapping[str, float], group: str) -> None:
        """One line: `{"step": 100, "train/loss": 0.3, ...}`."""
        named = {f"{group}/{name}": float(value) for name, value in figures.items()}
        self._file.write(orjson.dumps({"step": step, **named}) + b"\n")
        self._file.flush()
        if self._board is not None:
            for name, value in named.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Ends both."""
        self._file.close()
        if self._board is not None:
            self._board.close()
