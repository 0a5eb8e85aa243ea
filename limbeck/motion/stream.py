"""Specifications in, training samples out: clips rendered on the fly, nothing stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from limbeck.motion.clip import Clip, make_clip
from limbeck.motion.spec import ClipSpec

Sample = dict[str, Tensor]


class ClipStream(IterableDataset):
    """Renders specifications, in order, whatever the number of workers.

    Worker w of n renders specifications w, w + n, w + 2n, ...; a DataLoader takes from its workers in
    turn, so that with `batch_size=None` the samples come in the order of the specifications. Each sample
    depends on its specification alone.

    >>> from limbeck.motion.spec import Layer, Plain
    >>> clip = ClipSpec(width_px=8, height_px=8, frames=2, layers=(Layer(texture=Plain()),), gains=({"gain_total": 2},))
    >>> [sample["frames"].shape for sample in ClipStream([clip])]
    [torch.Size([2, 3, 8, 8])]

    Args:
        specs: a list, or a function that gives a fresh iterable (for generated or endless streams).
        pictures: the user's pictures by hash.
        sample: what to keep of a clip.
        rank, world: share of this process among several that train together.
    """

    def __init__(
        self,
        specs: Sequence[ClipSpec] | Callable[[], Iterable[ClipSpec]],
        pictures: Mapping[str, Tensor] | None = None,
        sample: Callable[[Clip], Sample] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.specs, self.pictures, self.sample = specs, dict(pictures or {}), sample or training_sample
        self.rank, self.world = rank, world

    def __iter__(self) -> Iterator[Sample]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        specs = self.specs() if callable(self.specs) else self.specs
        own = (spec for index, spec in enumerate(specs) if index % self.world == self.rank)
        for index, spec in enumerate(own):
            if index % workers == worker:
                yield self.sample(make_clip(spec, self.pictures, tracks=0, occlusion=False))


def training_sample(clip: Clip) -> Sample:
    """Frames and targets in [0, 1], gains, and flow: what a magnification student trains on."""
    return {
        "frames": clip.frames.float() / 255,
        "magnified": clip.magnified,
        "gain_total": torch.tensor([gain.gain_total for gain in clip.spec.gains]),
        "flow_forward": clip.forward.flow,
    }
