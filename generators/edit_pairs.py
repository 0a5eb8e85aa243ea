"""Renders before and after pictures of an edit: InstructPix2Pix's method, many pairs in one batch.

Every sample of a prompt has its own hashed seed, shared fraction and guidance scale, so it is the same picture in
whatever batch, order or run it is rendered.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from operator import itemgetter
from typing import Annotated, Any, ClassVar, Literal

import pyarrow as pa
from annotated_types import Ge, Gt
from PIL import Image
from pydantic import model_validator
from pydantic_core import ArgsKwargs

from limbeck.errors import SettingError
from limbeck.models.roles import ImageModel, PairRequest, ScoreModel
from limbeck.records import columns
from limbeck.scores import SIMILARITIES, pair_similarities
from limbeck.stage import Drop, Generator, ModelRole, Row, Run, settings
from limbeck.stopping import StopRule

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"samples": 100, "steps": 100, "shared_fraction": (0.1, 0.9), "guidance_scale": (7.5, 15.0)},
    "script": {"samples": 100, "steps": 100, "shared_fraction": (0.1, 0.9), "guidance_scale": (7.5, 15.0)},
}
"""What the paper states and what the published script defaults to. They agree on rendering and part at the filter:
the paper's image similarity has to reach 0.75, the script's 0.7."""
_SAMPLE = ("seed", "shared_fraction", "guidance_scale")


@settings
class EditPairs(Generator):
    """Renders N pairs of pictures for each edit, which differ in seed, shared fraction and guidance scale.

    Both pictures of a pair start from one latent and get the same noise at every step; the after picture attends
    where the before picture attends for the first `shared_fraction` of the steps. With `score`, each pair gets
    InstructPix2Pix's four similarities while it is at hand.

    Source: Brooks et al. 2023, InstructPix2Pix (arXiv 2211.09800), section 3.1.2.
    """

    name: ClassVar = "edit_pairs"
    version: ClassVar = 1
    reads: ClassVar = columns("original_prompt", "edited_prompt")
    reasons: ClassVar = ("outside_model",)

    image: Annotated[str, ModelRole("image")] = "painter"
    """The model that renders."""
    score: Annotated[str | None, ModelRole("score")] = None
    """The model that scores, or none."""
    preset: Literal["paper", "script"] | None = None
    """Fills the settings of `PRESETS` that the recipe leaves out."""
    samples: Annotated[int, Ge(1)] = 16
    """Pairs to render for each edit; at most, with `adaptive`."""
    steps: Annotated[int, Ge(1)] = 25
    """Denoising steps."""
    shared_fraction: tuple[float, float] = (0.1, 0.9)
    """Range of the p of the paper, drawn uniformly: share of the steps with shared self-attention."""
    guidance_scale: tuple[float, float] = (7.5, 15.0)
    """Range of the classifier-free guidance scale, drawn uniformly; 1 or less renders without guidance."""
    batch_size: Annotated[int, Gt(0)] = 8
    """Pairs rendered together; the U-Net sees four rows for each."""
    adaptive: StopRule | None = None
    """Stops sampling an edit early; needs `score`."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        values = (given.kwargs or {}) if isinstance(given, ArgsKwargs) else given
        return {**PRESETS.get(values.get("preset"), {}), **values}

    def __post_init__(self) -> None:
        """Refuses ranges that can't be drawn from."""
        for setting, limits in (("shared_fraction", (0.0, 1.0)), ("guidance_scale", (0.0, 100.0))):
            low, high = getattr(self, setting)
            if not limits[0] <= low <= high <= limits[1]:
                raise SettingError(
                    f"{setting} = {[low, high]}", expected=f"[low, high] within {list(limits)}, low not above high"
                )
        if self.adaptive and self.score is None:
            raise SettingError("adaptive without score", expected="the name of a score model in `score`")

    @property
    def writes(self) -> tuple[pa.Field, ...]:
        """Pictures and how they were made; similarities where there is a score model."""
        made = columns("original_image", "edited_image", *_SAMPLE, "steps", "image_model")
        if self.score is None:
            return made
        return (*made, *columns(*SIMILARITIES, model="score"), *columns("score_model"))

    def generate(self, rows: list[Row], run: Run) -> Iterable[Row | Drop]:
        """Renders a part; children come in the order of their parents and ordinals."""
        painter: ImageModel = run.model(self.image)
        scorer: ScoreModel | None = None if self.score is None else run.model(self.score)
        edits, drops = [], []
        for row in rows:
            captions = [row[name] or "" for name in ("original_prompt", "edited_prompt")]
            if why := next(filter(None, map(painter.check_prompt, captions)), None):
                drops.append(Drop(row["id"], "outside_model", why))
            else:
                edits.append(_Edit(row))
        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as encoders:
            for samples in self._rounds(edits, run):
                for start in range(0, len(samples), self.batch_size):
                    self._render(samples[start : start + self.batch_size], painter, scorer, encoders, run)
        yield from drops
        made_by = {"steps": self.steps, "image_model": run.fingerprint(self.image)}
        if self.score is not None:
            made_by["score_model"] = run.fingerprint(self.score)
        for edit in edits:
            for _, (child, before, after) in sorted(edit.children.items(), key=itemgetter(0)):
                yield child | made_by | {"original_image": before.result(), "edited_image": after.result()}

    def _rounds(self, edits: list[_Edit], run: Run) -> Iterator[list[_Sample]]:
        """The samples to render next, longest sharing first so that a batch leaves the shared steps together."""
        active = edits
        while active:
            samples = [s for edit in active for s in self._next_samples(edit, run)]
            yield sorted(samples, key=lambda s: -s.request.shared_fraction)
            active = [edit for edit in active if self._goes_on(edit, run)]

    def _next_samples(self, edit: _Edit, run: Run) -> list[_Sample]:
        """An edit's samples up to the next look at its survivors."""
        tried = len(edit.children)
        stop = min(self.samples, tried + self.adaptive.look_every) if self.adaptive else self.samples
        return [_Sample(edit, draw, self._request(edit.row, draw, run)) for draw in range(tried, stop)]

    def _request(self, row: Row, draw: int, run: Run) -> PairRequest:
        """One sample's seed, shared fraction and guidance scale: functions of row and draw alone."""
        rng = run.rng(row["id"], draw)
        # Rounded to float32, as they are stored: a pair can be rendered again from its row.
        fraction, guidance = (float(pa.scalar(rng.uniform(*r), pa.float32()).as_py())
                              for r in (self.shared_fraction, self.guidance_scale))  # fmt: skip
        return PairRequest(row["original_prompt"], row["edited_prompt"], run.seed(row["id"], draw), fraction, guidance)

    def _goes_on(self, edit: _Edit, run: Run) -> bool:
        """Whether an edit gets more samples."""
        tried = len(edit.children)
        if tried >= self.samples:
            return False
        verdict = self.adaptive.verdict(edit.survivors, tried, self.samples - tried)
        if verdict:
            run.count(f"edits_{verdict}")
        return verdict is None

    def _render(
        self,
        batch: list[_Sample],
        painter: ImageModel,
        scorer: ScoreModel | None,
        encoders: ThreadPoolExecutor,
        run: Run,
    ) -> None:
        """Renders, scores and encodes a batch into its edits' children."""
        pairs = painter.render_pairs([sample.request for sample in batch], steps=self.steps)
        run.count("pairs_rendered", len(pairs))
        scores = [{}] * len(batch) if scorer is None else _similarities(scorer, batch, pairs)
        for sample, pair, similarities in zip(batch, pairs, scores, strict=True):
            request = sample.request
            child = {"id": f"{sample.edit.row['id']}/{sample.draw}", **{k: getattr(request, k) for k in _SAMPLE}}
            sample.edit.children[sample.draw] = (
                child | similarities,
                *(encoders.submit(_png, picture) for picture in pair),
            )
            if self.adaptive and self.adaptive.survives(similarities):
                sample.edit.survivors += 1


@dataclass(eq=False)
class _Edit:
    """One row under way."""

    row: Row
    children: dict[int, tuple[Row, Future[bytes], Future[bytes]]] = field(default_factory=dict)
    """Draw to (columns, before as PNG, after as PNG)."""
    survivors: int = 0


@dataclass(frozen=True)
class _Sample:
    """One pair to render."""

    edit: _Edit
    draw: int
    request: PairRequest


def _similarities(
    scorer: ScoreModel, batch: list[_Sample], pairs: list[tuple[Image.Image, Image.Image]]
) -> list[dict[str, float]]:
    """The four similarities of each pair; a caption is embedded once for all its samples in the batch."""
    captions = [p for s in batch for p in (s.request.source_prompt, s.request.target_prompt)]
    distinct = list(dict.fromkeys(captions))
    texts = scorer.embed_texts(distinct)[[distinct.index(caption) for caption in captions]]  # (2N, D)
    images = scorer.embed_images([picture for pair in pairs for picture in pair])  # (2N, D)
    found = pair_similarities(images[::2], images[1::2], texts[::2], texts[1::2])
    return [{name: float(values[i]) for name, values in found.items()} for i in range(len(batch))]


def _png(picture: Image.Image) -> bytes:
    """The picture as PNG: lossless, so scores of the stored file are scores of the rendered one."""
    buffer = BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
