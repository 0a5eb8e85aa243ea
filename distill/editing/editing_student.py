"""What both editor students share: which rows they read, how they are looked at, asked, judged, saved and loaded."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from distill.editing import conditioning, judging
from distill.editing.latents import INSTRUCTION, SOURCE_PICTURE
from distill.student import Answers, Batch, Exported, Item, Metric, Predictor, Scores, Student
from distill.views import View
from limbeck import seeds
from limbeck.records import columns

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from torch import nn

    from distill.editing.latents import LatentShape, LatentTeacher
    from distill.work import Work

_GLANCE_BATCH = 64
_GLANCE_LAPS = 4
"""Draws of noise and time for each development row."""
_GLANCE_EDITS = 64
_EDITS = 32
"""Rows edited together."""


class EditingStudent(Student):
    """An editor. Subclasses have the settings `measure`, `curve_scales`, `curve_steps`, `curve_rows` and `half`."""

    reads_if_there: ClassVar = columns("edit_type", "source_id")
    shown: ClassVar = ("curve_scales", "curve_steps", "curve_rows")
    library: ClassVar = "diffusers"
    task: ClassVar = "image-to-image"
    judge_role: ClassVar = "score"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What `measure` says, and what an edit costs."""
        return (*judging.METRICS[self.measure], judging.COST)

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The pair and its instruction; captions too, by which it is judged."""
        return columns("original_image", "edit_prompt", "edited_image", "original_prompt", "edited_prompt")

    @abstractmethod
    def taught_by(self, work: Work) -> LatentTeacher:
        """Latents of both pictures."""

    def schedule(self, work: Work) -> Sequence[float]:
        """Cumulative signal shares at each training time; the teacher's own."""
        return work.cache.facts["alphas_cumprod"]

    def shared_problems(self, work: Work) -> list[str]:
        """A judge who can't do what `measure` says.

        Raises:
            RequestError: a size that doesn't fit the pipeline.
            ModelNotFound: a pipeline whose configs can't be read.
        """
        self.shape(work)
        judge = work.recipe.evaluate.judge
        if judge == "truth" or (judge == "mini:reader") != (self.measure == "attributes"):
            fits = "mini:reader" if self.measure == "attributes" else "a model that embeds pictures and texts"
            return [f"measure = {self.measure!r} is judged by {fits}, not by {judge!r} (evaluate.judge)"]
        return []

    def counts(self, batch: Batch) -> dict[str, float]:
        """Rows, for every term."""
        return dict.fromkeys(self.terms, float(len(batch["times"])))

    def current_phase(self, model: nn.Module) -> str:
        """The phase that a network is in."""
        return getattr(model, "phase", self.phases[-1])

    def glance(self, model: nn.Module, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, float]:
        """The loss on development rows, always under the same noise, and the judge's figures of a few edits."""
        phase, sums = self.current_phase(model), dict.fromkeys(work.terms, 0.0)
        seen = dict.fromkeys(sums, 0.0)
        for lap in range(_GLANCE_LAPS):
            for start in range(0, len(rows), _GLANCE_BATCH):
                some = rows[start : start + _GLANCE_BATCH]
                items = [Item(row, None, View(), True, seeds.rng(0, "glance", str(row["id"]), lap)) for row in some]
                batch = {name: value.to(work.device) for name, value in self.batch(items, phase, work).items()}
                found, counts = self.losses(model, batch, phase, work), self.counts(batch)
                for name in sums.keys() & found.keys():
                    sums[name] += float(found[name])
                    seen[name] += counts[name]
        figures = {f"dev_{name}": sums[name] / seen[name] for name in sums if seen[name]}
        loss = sum(work.terms[name.removeprefix("dev_")] * value for name, value in figures.items())
        some = rows[:_GLANCE_EDITS]
        judged = self.score(self.answer(self.predictor(model, work), some, work), some, work).values
        wanted = {metric.name for metric in judging.METRICS[self.measure]}
        return figures | {"dev_loss": loss} | {name: judged[name] for name in judged.keys() & wanted}

    def glanced_by(self, phase: str) -> Metric:
        """The loss: no judge has a say in what is kept."""
        return Metric("dev_loss", "lower")

    def exported(self, model: nn.Module, work: Work) -> Exported:
        """A whole edit, all steps of it."""
        import torch

        from distill.editing.whole_edit import INPUTS, WholeEdit

        model.parts.to(model.unet.device)
        whole, shape = WholeEdit(model), self.shape(work)
        work.memo["whole edit"] = whole  # what an exported file needs to be asked is known of its model alone
        pixels = torch.rand(2, 3, shape.size, shape.size, generator=torch.Generator().manual_seed(0)) * 2 - 1
        noise = torch.from_numpy(whole.noise([1, 2], shape.side))
        inputs = (pixels, torch.from_numpy(whole.tokens(["", ""])), noise)
        return Exported(whole, dict(zip(INPUTS, inputs, strict=True)), (judging.EDITED,))

    def answer(self, predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """Edited pictures, (N, S, S, 3) uint8, and how many rows the U-Net saw for each."""
        import torch

        from distill.editing.whole_edit import INPUTS, WholeEdit
        from limbeck.models.editing import as_input, as_pixels

        shape, found = self.shape(work), []
        whole = work.memo["whole edit"] if predictor.model is None else WholeEdit(predictor.model)
        for start in range(0, len(rows), _EDITS):
            some = rows[start : start + _EDITS]
            pixels = as_input(judging.pixels_of(some, SOURCE_PICTURE, shape.size)).numpy()
            noise = whole.noise([judging.seed_of(row) for row in some], shape.side)
            inputs = (pixels, whole.tokens([row[INSTRUCTION] for row in some]), noise)
            said = predictor.ask(dict(zip(INPUTS, inputs, strict=True)))[judging.EDITED]
            found.append(as_pixels(torch.from_numpy(said)))
        evaluations = np.full(len(rows), float(whole.evaluations))
        return {judging.EDITED: np.concatenate(found), judging.EVALUATIONS: evaluations}

    def baselines(self, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, Answers]:
        """The dataset's own edits, and none at all."""
        return judging.dataset_answers(rows, self.side(work))

    def score(
        self, answers: Answers, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None
    ) -> Scores:
        """By the judge."""
        return judging.score(answers, rows, work.judge(), self.side(work))

    def save(self, model: nn.Module, folder: Path, work: Work) -> None:
        """A stock pipeline's folder."""
        from distill.editing import parts

        parts.save(model, folder, half=self.half)

    def load(self, folder: Path, work: Work) -> nn.Module:
        """By the pipeline's `from_pretrained`."""
        from distill.editing import parts

        return parts.load(folder)

    def card_sections(self, report: dict[str, Any], folder: Path, work: Work) -> str:
        """Both curves and a contact sheet, of the very files that are given out."""
        from distill.editing import curve_sections

        return curve_sections.sections(self, folder, work)

    def compared(self, folder: Path, work: Work) -> dict[str, Any]:
        """Editors that the card's curves and pictures show: name to a model of the role `edit`."""
        from distill.editing.parts import editor

        return {"student": editor(self.load(folder, work).to(work.device))}

    def has_scales(self, name: str) -> bool:
        """Whether one of `compared` can be asked at another s_I."""
        return True

    def drawn(
        self, items: Sequence[Item], work: Work, dropout: float, times: Sequence[int], shift: float = 1.0
    ) -> conditioning.Drawn:
        """Latents come by row and view from the cache in every arm: they are the row's own pictures, no teacher's word."""
        latents = [work.cache.target(item.row["id"], item.view.index) for item in items]
        rngs = [item.rng for item in items]
        scaling = work.cache.facts["scaling"]
        return conditioning.draw(latents, rngs, scaling=scaling, dropout=dropout, times=times, shift=shift)

    def shape(self, work: Work) -> LatentShape:
        """Sizes of pictures, latents and texts."""
        if "latent shape" not in work.memo:
            work.memo["latent shape"] = self.taught_by(work).shape
        return work.memo["latent shape"]

    def side(self, work: Work) -> int:
        """Of the pictures, in pixels."""
        return self.shape(work).size


def alphas_of(work: Work) -> torch.Tensor:
    """(T,) float32 cumulative signal shares of the schedule, on the device."""
    import torch

    if "alphas" not in work.memo:
        shares = torch.tensor(work.student.schedule(work), dtype=torch.float64)
        work.memo["alphas"] = shares.float().to(work.device)
    return work.memo["alphas"]
