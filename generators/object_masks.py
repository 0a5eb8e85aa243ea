"""Finds the things in any picture: boxes by a detector, and their pixels by a segmenter."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field, model_validator

from limbeck.errors import SettingError
from limbeck.models.roles import DetectModel, Found, SegmentModel
from limbeck.pictures import Fault, decode
from limbeck.questions.program import overlap
from limbeck.records import columns
from limbeck.stage import Drop, Generator, ModelRole, Row, Run, settings

MOST = 250
"""Things in one picture: `mask_image` numbers them in 8 bits."""


@settings
class ObjectMasks(Generator):
    """Finds things by their names, and the pixels of each: what marks and written conversations need of a picture.

    Boxes come from the detector, or without one from the rows (COCO's). A box that overlaps a surer one of
    the same name is the same thing. `mask_image` numbers the things from 1 in the order of `boxes`; where two share
    pixels, the smaller one is in front. A thing that isn't found isn't absent: ask nothing about what isn't there.

    Source: Yang et al. 2023, Set-of-Mark Prompting (arXiv 2310.11441), which takes masks from SEEM, SAM and others.
    """

    name: ClassVar = "object_masks"
    version: ClassVar = 1
    writes: ClassVar = columns("boxes", "mask_image")
    reasons: ClassVar = ("no_picture", "nothing_found")

    detector: Annotated[str | None, ModelRole("detect")] = None
    """The model that finds boxes by names; without one the rows' own boxes are taken."""
    segmenter: Annotated[str, ModelRole("segment")] = "segmenter"
    """The model that finds the pixels in a box."""
    names: tuple[str, ...] = ()
    """What the detector looks for: "dog", "traffic light"."""
    min_score: Annotated[float, Field(ge=0, le=1)] = 0.35
    """Least score of a box; 0.35 is what Grounding DINO's authors use."""
    max_overlap: Annotated[float, Field(ge=0, le=1)] = 0.7
    """Greatest intersection over union of two things of one name."""
    min_area: Annotated[float, Field(ge=0, le=1)] = 0.002
    """Least share of the picture that a thing's pixels make up."""
    most: Annotated[int, Field(ge=1, le=MOST)] = 20
    """Most things in a picture, the surest."""

    @model_validator(mode="after")
    def _check_names(self) -> ObjectMasks:
        if self.detector is not None and not (self.names and all(name.strip(" .") for name in self.names)):
            raise SettingError(f"names {list(self.names)}", expected="names of things for the detector to look for")
        return self

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The picture, and its boxes where no detector finds them."""
        return columns("image") if self.detector is not None else columns("image", "boxes")

    def generate(self, rows: list[Row], run: Run) -> Iterator[Row | Drop]:
        """One row for each picture in which something is found."""
        for row in rows:
            picture = decode(row["image"])
            if isinstance(picture, Fault):
                yield Drop(row["id"], "no_picture", f"{picture.reason}: {picture.detail}")
                continue
            found = self._found(row, picture, run)
            segmenter: SegmentModel = run.model(self.segmenter)
            masks = segmenter.segment(picture, [thing.box for thing in found])
            large = [i for i, mask in enumerate(masks) if mask.mean() >= self.min_area and mask.any()]
            if not large:
                yield Drop(row["id"], "nothing_found", f"{len(found)} boxes")
                continue
            boxes = [{"image": 0, "name": found[i].name, "box": [round(v, 4) for v in found[i].box]} for i in large]
            yield {"id": f"{row['id']}/0", "boxes": boxes, "mask_image": numbered(masks[large])}

    def _found(self, row: Row, picture: Image.Image, run: Run) -> list[Found]:
        if self.detector is None:
            things = [Found(box["name"], tuple(box["box"]), 1.0) for box in row["boxes"] or ()]
        else:
            detector: DetectModel = run.model(self.detector)
            things = detector.detect(picture, self.names, min_score=self.min_score)
        kept: list[Found] = []
        for thing in things:
            if all(thing.name != other.name or overlap(thing.box, other.box) <= self.max_overlap for other in kept):
                kept.append(thing)
        return kept[: self.most]


def numbered(masks: np.ndarray) -> bytes:
    """Masks as one PNG: 0 where nothing is, else 1 + the index of the smallest mask there.

    Args:
        masks: (N, H, W) bool, N at most `MOST`.
    """
    out = np.zeros(masks.shape[1:], np.uint8)
    for index in np.argsort(-masks.sum((1, 2)), kind="stable"):
        out[masks[index]] = index + 1
    png = BytesIO()
    Image.fromarray(out).save(png, "PNG")
    return png.getvalue()
