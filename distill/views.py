"""Augmentation that teacher and student share: drawn once, stored beside the teacher's answers, replayed, never guessed.

A cached answer belongs to one crop and one flip of a picture; under another the teacher would say something else
(cosine 0.87 instead of 1 for a mirrored picture, see the note on distillation). So parameters are drawn when the
teacher is asked, and the student gets them from the cache.

Convention: a crop is (left, top, right, bottom) as shares of width and height, from the top left; a flip is
left-right and comes after the crop. View 0 is the whole picture, as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le
from PIL import Image
from pydantic import BaseModel, ConfigDict

from limbeck import seeds

WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class View:
    """One look at a picture: `crop` and `flip` as above; `index` is its number among a row's views."""

    crop: tuple[float, float, float, float] = WHOLE
    flip: bool = False
    index: int = 0

    def apply(self, image: Image.Image) -> Image.Image:
        """The crop, resized back to the picture's own size, then flipped; the whole picture comes back as it is."""
        if self.crop != WHOLE:
            w, h = image.size
            left, top, right, bottom = self.crop
            box = (left * w, top * h, right * w, bottom * h)
            image = image.resize((w, h), Image.Resampling.BICUBIC, box=box)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip else image


class ViewsTable(BaseModel):
    """`[views]`: how many looks at each training picture are cached, and how far they differ.

    Attributes:
        count: views of a row, the whole picture among them; 1 is the whole picture alone.
        min_area: least share of the picture that a crop shows.
        max_stretch: most that width and height of a crop differ, as a ratio.
        flip: whether half of the further views are mirrored; wrong where left and right mean something.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    count: Annotated[int, Ge(1), Le(10_000)] = 1
    min_area: Annotated[float, Gt(0), Le(1)] = 0.6
    max_stretch: Annotated[float, Ge(1)] = 1.2
    flip: bool = False

    def of(self, row_id: str, seed: int) -> list[View]:
        """The views of a row: a function of its id and the recipe's seed."""
        return [View(), *(self._draw(seeds.rng(seed, "view", row_id, n), n) for n in range(1, self.count))]

    def _draw(self, rng: np.random.Generator, index: int) -> View:
        area = rng.uniform(self.min_area, 1.0)
        stretch = np.exp(rng.uniform(-1, 1) * np.log(self.max_stretch))
        width, height = min(1.0, np.sqrt(area * stretch)), min(1.0, np.sqrt(area / stretch))
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        # float32, as it is stored: what is replayed is then what was drawn
        crop = tuple(float(np.float32(v)) for v in (left, top, left + width, top + height))
        return View(tuple(min(1.0, v) for v in crop), bool(self.flip and rng.random() < 0.5), index)
