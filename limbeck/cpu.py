"""What this CPU is quick at, measured: what it says it can do doesn't tell."""

from __future__ import annotations

import time
from functools import cache

_SIDE = 512
_ROUNDS = 8


@cache
def bf16_speed() -> float:
    """How many times as fast as in float32 it multiplies matrices in bfloat16; 0 where it would emulate that.

    Cores with instructions for it were seen at 2.4 and, a Xeon whose AMX its virtual machine hides, at 0.5. Takes a
    twentieth of a second, once a process. Counted is the processor time of one thread, of which other work takes none.
    """
    import torch

    if not (torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return 0.0
    threads, best = torch.get_num_threads(), {}
    torch.set_num_threads(1)
    try:
        for dtype in (torch.float32, torch.bfloat16):
            a = torch.ones(_SIDE, _SIDE, dtype=dtype)
            torch.nn.functional.linear(a, a)
            taken = []
            for _ in range(_ROUNDS):
                start = time.thread_time()
                torch.nn.functional.linear(a, a)
                taken.append(time.thread_time() - start)
            best[dtype] = min(taken)
    finally:
        torch.set_num_threads(threads)
    return best[torch.float32] / best[torch.bfloat16]
