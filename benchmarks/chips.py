"""What several benchmarks of accelerators need: how fast chips are, and the shape of Stable Diffusion 1.5's U-Net."""

from __future__ import annotations

PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 tensor throughput, FLOP/s, of the vendor's data sheets."""

SD15 = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
    "block_out_channels": (320, 640, 1280, 1280),
}  # fmt: skip


def peak_of(name: str) -> float | None:
    """FLOP/s of the chip that torch calls `name`; None where it isn't known.

    >>> peak_of("NVIDIA H100 80GB HBM3")
    989000000000000.0
    """
    return next((flops for chip, flops in PEAKS.items() if chip in name), None)
