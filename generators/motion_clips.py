"""Makes clips with motion too small to see, and everything that is true of them.

Every frame and every magnified frame is rendered from one continuous scene; see `limbeck.motion`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import pyarrow as pa
from annotated_types import Ge
from pydantic import Field

from limbeck.errors import SettingError
from limbeck.motion.curriculum import SUBSETS, AtLeastOne, ClipSettings, Subset
from limbeck.records import MOTION_ARRAYS, MOTION_LABELS, columns
from limbeck.stage import Drop, Generator, Row, Run, settings

Sweepable = Literal["amplitude_px", "gain", "shot", "read", "pulse_amplitude", "shake_px", "flicker"]
"""Ranges of `ClipSettings` that a sweep can hold at levels."""


@settings
class MotionClips(Generator):
    """Renders clips for each source row, by turns from the subsets of a curriculum.

    What a row brings is used: `background = "image"` puts its picture behind the objects, `"scene"` its storybook
    scene. Otherwise rows only number the clips, and textures are those of `clip.textures`.

    Source: Oh et al. 2018, Learning-based Video Motion Magnification (arXiv 1804.02684), section 4.
    Differs: sub-pixel exact; clips in time; several gains; dense truth; no clipping of gains at the bound.
    """

    name: ClassVar = "motion_clips"
    version: ClassVar = 3
    reasons: ClassVar = ("picture_unusable", "motion_unusable")

    clips: Annotated[int, Ge(1)] = 1
    """Clips for each source row."""
    subsets: Annotated[tuple[Subset, ...], AtLeastOne] = tuple(SUBSETS)
    """Subsets of the curriculum; each clip draws one. Repeat one to weigh it."""
    clip: ClipSettings = ClipSettings()
    """Size, frames, motion, gains and sensor: the ranges that clips are drawn from."""
    sweep: dict[Sweepable, Annotated[tuple[float, ...], AtLeastOne]] = Field(default_factory=dict)
    """Levels in the place of ranges: clip n of a row takes entry n (modulo their number) of every list."""
    background: Literal["drawn", "image", "scene"] = "drawn"
    """What lies behind the objects: drawn, the row's picture, or the row's storybook scene."""
    cutouts: str | None = None
    """Folder of cut-outs (PNG or WebP with alpha) for the objects, relative ones as seen from the recipe; name a new
    folder when its files change."""
    specs_only: bool = False
    """Store specifications and labels alone; `limbeck.motion.stream.ClipStream` renders them on the fly."""
    tracks: Annotated[int, Ge(0)] = 64
    """Points to follow through each clip."""
    flow_dtype: Literal["float32", "float16"] = "float32"
    """float16 halves the space and is spaced 7.6e-6 px at 0.01 px, 0.001 px at 1 px, 0.016 px at 16 px."""

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The row's picture or scene, where it is the background."""
        return () if self.background == "drawn" else columns(self.background)

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        """Labels, and what was rendered unless `specs_only`."""
        return columns(*MOTION_LABELS, *(() if self.specs_only else MOTION_ARRAYS), "seed")

    def __post_init__(self) -> None:
        """Refuses a sweep whose lists differ in length, or whose levels can't be drawn from."""
        lengths = {name: len(levels) for name, levels in self.sweep.items()}
        if len(set(lengths.values())) > 1:
            raise SettingError(f"lists of {lengths}", expected="one length", where="sweep")
        for draw in range(max(lengths.values(), default=0)):
            self._clip_settings(draw)

    def _clip_settings(self, draw: int) -> ClipSettings:
        """The ranges of a row's n-th clip."""
        levels = {name: (values[draw % len(values)],) * 2 for name, values in self.sweep.items()}
        return ClipSettings(**{**self.clip.model_dump(), **levels}) if levels else self.clip

    def generate(self, rows: list[Row], run: Run) -> Iterable[Row | Drop]:
        """Renders a part; a clip depends on recipe seed, stage, row and draw alone."""
        import torch

        from limbeck.motion.clip import make_clip
        from limbeck.motion.cutouts import extent, load_folder, load_picture
        from limbeck.motion.gain import check_gains
        from limbeck.motion.layer_draws import Material
        from limbeck.motion.row import arrays, labels
        from limbeck.motion.sampling import draw_clip

        cutouts = {} if self.cutouts is None else load_folder(run.path(self.cutouts))
        extents = {name: extent(pixels) for name, pixels in cutouts.items()}
        for row in rows:
            pictures, material = dict(cutouts), Material(cutouts=extents)
            if self.background == "image":
                name, pixels = load_picture(row["image"])
                pictures[name] = pixels[:3]
                material = Material(background=name, cutouts=extents)
            elif self.background == "scene":
                material = Material(page=row["scene"], cutouts=extents)
            for draw in range(self.clips):
                subset = str(run.rng(row["id"], draw).choice(self.subsets))
                spec = draw_clip(self._clip_settings(draw), subset, run.seed(row["id"], draw), material)
                child = {"id": f"{row['id']}/{draw}"}
                try:
                    check_gains(spec)  # not left to the rendering, which `specs_only` puts off
                except SettingError as error:
                    yield Drop(child["id"], "motion_unusable", str(error))
                    continue
                child |= labels(spec)
                if not self.specs_only:
                    try:
                        with torch.inference_mode():
                            child |= arrays(make_clip(spec, pictures, self.tracks), self.flow_dtype)
                    except SettingError as error:
                        yield Drop(child["id"], "picture_unusable", str(error))
                        continue
                run.count("clips")
                yield child
