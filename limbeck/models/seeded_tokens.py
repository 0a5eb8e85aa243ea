"""Sampling of tokens in which every row has random numbers of its own."""

from __future__ import annotations

import numpy as np
import torch
from transformers import LogitsProcessor


class SeededSampling(LogitsProcessor):
    """Samples each row by inverse CDF with its own numbers, and leaves only the chosen token possible.

    Row i at step t takes the first token whose cumulative probability exceeds the t-th number drawn from
    `seeds[i]`: other rows, and how many there are, don't enter.

    Args:
        temperatures: of each row; 0 takes the most likely token.
        seeds: of each row.
        steps: most tokens generated.
    """

    def __init__(self, temperatures: list[float], seeds: list[int], steps: int) -> None:
        self._temperatures = torch.tensor(temperatures, dtype=torch.float64)[:, None]  # (B, 1)
        drawn = np.stack([np.random.default_rng(seed).random(steps) for seed in seeds])
        self._numbers = torch.from_numpy(drawn)  # (B, steps) in [0, 1)
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """(B, V) logits to (B, V): 0 at the chosen token, minus infinity elsewhere."""
        temperatures, numbers = self._temperatures.to(scores.device), self._numbers[:, self._step : self._step + 1]
        self._step += 1
        greedy = scores.argmax(dim=-1, keepdim=True)
        probabilities = torch.softmax(scores.double() / temperatures.clamp(min=1e-6), dim=-1)
        cumulative = probabilities.cumsum(dim=-1)
        numbers = numbers.to(scores.device) * cumulative[:, -1:]
        sampled = torch.searchsorted(cumulative, numbers, right=True).clamp(max=scores.shape[-1] - 1)
        chosen = torch.where(temperatures > 0, sampled, greedy)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)
