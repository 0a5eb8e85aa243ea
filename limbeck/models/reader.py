"""`mini:reader`: recognises the storybook's attributes in a picture. It judges in evaluation, and nowhere else.

It never filters, never teaches and is never trained on what a generator or a student made.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from limbeck.storybook.attributes import FIELDS, NOTHING

FOLDER = Path(__file__).parent.parent / "miniatures" / "reader"


class Reader(nn.Module):
    """A small convolutional network: (B, 3, 64, 64) float32 in [0, 1], RGB, to logits of every attribute."""

    def __init__(self) -> None:
        super().__init__()

        def block(c_in: int, c_out: int, stride: int, kernel: int = 3) -> list[nn.Module]:
            conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
            return [conv, nn.BatchNorm2d(c_out), nn.ReLU()]

        self.trunk = nn.Sequential(
            *block(3, 24, 2, 5),  # 32 x 32
            *block(24, 48, 2),  # 16 x 16
            *block(48, 96, 1),
            *block(96, 128, 2),  # 8 x 8
            *block(128, 128, 1),
            nn.Conv2d(128, 48, 1),
            nn.Flatten(),
            nn.ReLU(),
        )
        self.hidden = nn.Linear(48 * 8 * 8, 192)
        self.heads = nn.Linear(192, sum(FIELDS.values()))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(B, 3, 64, 64) to one (B, classes) tensor of logits per attribute, in the order of `FIELDS`."""
        return self.heads(F.relu(self.hidden(self.trunk(x - 0.5)))).split(list(FIELDS.values()), dim=-1)

    @torch.no_grad()
    def read(self, images: NDArray[np.uint8], batch: int = 200) -> NDArray[np.int64]:
        """Attributes of pictures.

        Args:
            images: (N, 64, 64, 3) uint8, RGB.
            batch: pictures at a time.

        Returns:
            (N, len(FIELDS)) class indices; colour and size of an empty place are -1.
        """
        self.eval()
        out = []
        for i in range(0, len(images), batch):
            x = torch.from_numpy(np.array(images[i : i + batch])).permute(0, 3, 1, 2).float() / 255
            out.append(torch.stack([logits.argmax(-1) for logits in self(x)], 1).numpy())
        classes = np.concatenate(out) if out else np.zeros((0, len(FIELDS)), np.int64)
        for place in range(3):
            classes[classes[:, 3 * place] == NOTHING, 3 * place + 1 : 3 * place + 3] = -1
        return classes

    @classmethod
    def load(cls, folder: Path = FOLDER) -> Reader:
        """Loads the built-in weights."""
        from safetensors.torch import load_file

        reader = cls()
        reader.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()}, strict=False)
        return reader.eval()


def as_pixels(images: list[Image.Image]) -> NDArray[np.uint8]:
    """(N, 64, 64, 3) uint8 from pictures of any size."""
    side = (64, 64)
    rgb = [image.convert("RGB") for image in images]
    return np.stack([np.asarray(i if i.size == side else i.resize(side, Image.Resampling.BICUBIC)) for i in rgb])
