"""An editor: a picture and an instruction in, the edited picture out; InstructPix2Pix, from a painter's weights.

The painter's U-Net gets the source's latents as further input channels, whose weights begin at zero, and reads the
instruction instead of a caption. In training either or both are left out now and then, so that at inference two
scales say how much each counts. What is saved is a stock `StableDiffusionInstructPix2PixPipeline`.

`distill.students.fast_editor` makes a small one of it that needs few steps and one pass a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from distill.editing import conditioning, judging
from distill.student import Answers, Batch, Item, Metric, Predictor, Scores, Student, Term
from distill.views import View
from limbeck import seeds
from limbeck.records import columns
from limbeck.stage import ModelRole, settings

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from torch import nn

    from distill.teacher import Teacher
    from distill.work import Work

_GLANCE_BATCH = 64
_GLANCE_LAPS = 4
"""Draws of noise and time for each development row."""
_GLANCE_EDITS = 64


@settings
class Editor(Student):
    """An editor of many steps, learnt from pairs of pictures with instructions.

    Source: Brooks et al. 2023, InstructPix2Pix (arXiv 2211.09800), section 3.2.
    """

    name: ClassVar = "editor"
    version: ClassVar = 1
    terms: ClassVar = {"denoise": Term("label")}
    phases: ClassVar = ("edit",)
    reads_if_there: ClassVar = columns("edit_type", "source_id")

    painter: Annotated[str, ModelRole("image")] = "painter"
    """The text-to-image model whose weights it begins with, and whose autoencoder it keeps."""
    size: Annotated[int, Gt(0)] | None = None
    """Side of the pictures in pixels; the painter's own by default."""
    dropout: Annotated[float, Ge(0), Le(0.33)] = 0.05
    """p: the instruction alone, the picture alone and both are left out with this probability each, by one draw."""
    train_text: bool = True
    """Whether the text encoder learns along; a CLIP that has read the web needn't."""
    new_words: Annotated[int, Ge(0)] = 0
    """At most so many words of the instructions, the most frequent first, become tokens of their own where the painter's
    tokenizer cuts them into pieces; they can be learnt only with `train_text`."""
    balance: bool = False
    """Trains the source's weights in the units of scaled latents; for autoencoders whose scaling factor is far above 1."""
    steps: Annotated[int, Gt(0)] = 20
    """Denoising steps of an edit (DDIM)."""
    guidance_scale: Annotated[float, Ge(0)] = 7.5
    """s_T of an edit."""
    image_guidance_scale: Annotated[float, Ge(0)] = 1.5
    """s_I of an edit."""
    measure: Literal["attributes", "similarity"] = "attributes"
    """What the judge does: `attributes` of the storybook, read by `mini:reader`; `similarity`, for a judge that embeds."""
    curve_scales: tuple[float, ...] = ()
    """Values of s_I at which direction and preservation are measured."""
    curve_steps: tuple[int, ...] = ()
    """Numbers of steps in which the edits are made once more."""
    curve_rows: Annotated[int, Gt(0)] = 200
    """Test rows of each such point."""
    half: bool = True
    """Whether weights are saved in half precision."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What `measure` says, and what an edit costs."""
        return (*judging.METRICS[self.measure], *judging.COSTS)

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The pair and its instruction; captions too, by which it is judged."""
        return columns("original_image", "edit_prompt", "edited_image", "original_prompt", "edited_prompt")

    def check(self, work: Work) -> list[str]:
        """Settings and judges that don't go together."""
        found = []
        if self.new_words and not self.train_text:
            found.append("new_words need train_text = true: nothing else would teach the text encoder to read them")
        judge = work.recipe.evaluate.judge
        if judge == "truth" or (judge == "mini:reader") != (self.measure == "attributes"):
            fits = "mini:reader" if self.measure == "attributes" else "a model that embeds pictures and texts"
            found.append(f"measure = {self.measure!r} is judged by {fits}, not by {judge!r} (evaluate.judge)")
        return found

    def taught_by(self, work: Work) -> Teacher:
        """Latents of both pictures, by the painter's autoencoder."""
        from distill.editing.latents import LatentTeacher

        return LatentTeacher(work.spec("painter"), work.recipe.folder, self.size)

    def build(self, work: Work) -> nn.Module:
        """The painter's U-Net with source channels, and its text encoder."""
        from diffusers import DDIMScheduler

        from distill.editing import network, words
        from distill.editing.parts import load_parts
        from limbeck.models.edit_diffusers import Asked

        painter = load_parts(work.spec("painter"), work.recipe.folder)
        latents = painter.vae.config.latent_channels
        unet = network.widened(painter.unet, latents)
        if self.balance:
            network.balance(unet, latents, painter.vae.config.scaling_factor)
        told = self._instructions(work)
        if new := words.unknown_words(painter.tokenizer, told, self.new_words) if self.new_words else []:
            words.add_words(painter.tokenizer, painter.text, new)
        parts = painter.with_(
            scheduler=DDIMScheduler.from_config(
                painter.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=True, clip_sample=False
            ),
            asked=Asked(self.steps, self.guidance_scale, self.image_guidance_scale),
            words=None if painter.words is None else frozenset(words.words_of(told)),
            unet=None,
        )
        work.memo["tokenizer"] = parts.tokenizer
        unet.requires_grad_(True)
        parts.text.requires_grad_(self.train_text)
        return network.EditingNetwork(unet, parts.text, parts)

    def begin(self, model: nn.Module, phase: str, work: Work) -> None:
        """All of the U-Net is trained; the text encoder as the settings say."""
        model.unet.requires_grad_(True)
        model.text.requires_grad_(self.train_text)

    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """`edited`, `noise`, `source` (B, C, h, w); `times` (B,); `input_ids` (B, S), of the empty text where left out."""
        import torch

        drawn = self._drawn(items, work, self.dropout, range(len(work.cache.facts["alphas_cumprod"])))
        ids = self._token_ids(["", *(item.row["edit_prompt"] for item in items)], work)
        chosen = [0 if bare else 1 + i for i, bare in enumerate(drawn.without_text)]
        return {
            "edited": drawn.edited,
            "noise": drawn.noise,
            "source": drawn.source,
            "times": drawn.times,
            "input_ids": torch.from_numpy(ids[chosen]),
        }

    def counts(self, batch: Batch) -> dict[str, float]:
        """Rows."""
        return dict.fromkeys(self.terms, float(len(batch["times"])))

    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Mean squared error of what the network predicts, summed over rows."""
        facts = work.cache.facts
        noisy, alpha, sigma = conditioning.noised(batch["edited"], batch["noise"], batch["times"], _alphas(work))
        target = conditioning.target_of(facts["prediction"], batch["edited"], batch["noise"], alpha, sigma)
        said = model(noisy, batch["source"], batch["times"], input_ids=batch["input_ids"])["output"]
        return {"denoise": (said - target).square().mean((1, 2, 3)).sum()}

    def glance(
        self, model: nn.Module, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None
    ) -> dict[str, float]:
        """The loss on development rows, always under the same noise, and the judge's figures of a few edits."""
        terms = {name: 0.0 for name in work.terms}
        seen = dict.fromkeys(terms, 0.0)
        for lap in range(_GLANCE_LAPS):
            for start in range(0, len(rows), _GLANCE_BATCH):
                batch = self._glance_batch(rows[start : start + _GLANCE_BATCH], lap, work)
                batch = {name: value.to(work.device) for name, value in batch.items()}
                sums, counts = self.losses(model, batch, self._phase(model), work), self.counts(batch)
                for name in terms.keys() & sums.keys():
                    terms[name] += float(sums[name])
                    seen[name] += counts[name]
        found = {f"dev_{name}": terms[name] / seen[name] for name in terms if seen[name]}
        found["dev_loss"] = sum(work.terms[name.removeprefix("dev_")] * value for name, value in found.items())
        some = rows[:_GLANCE_EDITS]
        edited = judging.answers(self._editor(model), some, self._size(work))
        judged = judging.score(edited, some, work.judge(), self._size(work)).values
        return found | {name: judged[name] for name in judged.keys() & {m.name for m in judging.METRICS[self.measure]}}

    def glanced_by(self, phase: str) -> Metric:
        """The loss: no judge has a say in what is kept."""
        return Metric("dev_loss", "lower")

    def predictor(self, model: nn.Module, work: Work) -> Predictor:
        """The network itself; an edit is many passes."""

        def ask(inputs: Any) -> Answers:
            raise NotImplementedError("an edit is many forward passes; use `model`")

        return Predictor(ask, "torch", model)

    def answer(self, predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """Edited pictures, at the main setting and along both curves; seconds of single edits."""
        model, size = self._editor(predictor.model.to(work.device)), self._size(work)
        looks = judging.Looks(self.curve_scales, self.curve_steps, self.curve_rows, work.recipe.export.latency_runs)
        return judging.answers(model, rows, size, looks)

    def baselines(self, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, Answers]:
        """The dataset's own edits, and none at all."""
        return judging.dataset_answers(rows, self._size(work))

    def score(
        self, answers: Answers, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None
    ) -> Scores:
        """By the judge."""
        return judging.score(answers, rows, work.judge(), self._size(work))

    def save(self, model: nn.Module, folder: Path, work: Work) -> None:
        """A stock pipeline's folder."""
        from distill.editing import parts

        parts.save(model, folder, half=self.half)

    def load(self, folder: Path, work: Work) -> nn.Module:
        """By the pipeline's `from_pretrained`."""
        from distill.editing import parts

        return parts.load(folder)

    def usage(self, work: Work) -> str:
        """Loading and editing with diffusers alone."""
        return (
            "from diffusers import StableDiffusionInstructPix2PixPipeline\n\n"
            'editor = StableDiffusionInstructPix2PixPipeline.from_pretrained("FOLDER", safety_checker=None)\n'
            f"edited = editor(INSTRUCTION, image=PICTURE, num_inference_steps={self.steps}, "
            f"guidance_scale={self.guidance_scale:g}, image_guidance_scale={self.image_guidance_scale:g}).images[0]"
        )

    # --- what is shared by the methods above

    def _drawn(self, items: Sequence[Item], work: Work, dropout: float, times: Sequence[int]) -> conditioning.Drawn:
        """Latents come by row and view from the cache in every arm: they are the row's own pictures, no teacher's word."""
        latents = [work.cache.target(item.row["id"], item.view.index) for item in items]
        rngs = [item.rng for item in items]
        return conditioning.draw(latents, rngs, scaling=work.cache.facts["scaling"], dropout=dropout, times=times)

    def _instructions(self, work: Work) -> list[str]:
        """Of the training rows, whatever their label's budget: words alone are learnt from them here."""
        if "instructions" not in work.memo:
            train = work.dataset.splits.get("train", np.arange(len(work.dataset)))
            work.memo["instructions"] = [work.dataset.row(p)["edit_prompt"] for p in train]
        return work.memo["instructions"]

    def _token_ids(self, texts: Sequence[str], work: Work) -> np.ndarray:
        """(N, S); each distinct text is cut once."""
        from distill.editing.parts import token_ids

        known = work.memo.setdefault("token_ids", {})
        if unknown := [t for t in dict.fromkeys(texts) if t not in known]:
            known.update(zip(unknown, token_ids(work.memo["tokenizer"], unknown), strict=True))
        return np.stack([known[t] for t in texts])

    def _glance_batch(self, rows: Sequence[dict[str, Any]], lap: int, work: Work) -> Batch:
        items = [Item(row, None, View(), True, seeds.rng(0, "glance", str(row["id"]), lap)) for row in rows]
        return self.batch(items, self.phases[-1], work)

    def _phase(self, model: nn.Module) -> str:
        return self.phases[-1]

    def _editor(self, model: nn.Module) -> Any:
        from distill.editing.parts import editor

        return editor(model)

    def _size(self, work: Work) -> int:
        if "size" not in work.memo:
            work.memo["size"] = self.taught_by(work).size
        return work.memo["size"]


def _alphas(work: Work) -> torch.Tensor:
    """(T,) float32 cumulative signal shares of the schedule, on the device."""
    import torch

    if "alphas" not in work.memo:
        work.memo["alphas"] = (
            torch.tensor(work.cache.facts["alphas_cumprod"], dtype=torch.float64).float().to(work.device)
        )
    return work.memo["alphas"]
