"""limbeck turns one recipe file into a published synthetic dataset and a small student model distilled from it."""

from __future__ import annotations

__version__ = "0.1.0"
