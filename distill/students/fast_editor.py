"""A small editor that needs few steps and one pass a step, distilled from one of many steps and three passes.

    prune    blocks are left out, the others keep their weights; the teacher's output and blocks are the targets
    guide    one pass learns what the teacher says with both guidance scales
    few      one step learns where the guided teacher's whole path ends (consistency)

Each phase goes on from the last; a recipe may leave any out. With fixed scales the result is a stock
`StableDiffusionInstructPix2PixPipeline`, called with guidance scale 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import orjson
from annotated_types import Ge, Gt, Le

from distill.dataset import contents
from distill.editing import conditioning, judging
from distill.editing.editing_student import EditingStudent, alphas_of
from distill.editing.pruning import Cut, problems
from distill.processes import one_at_a_time
from distill.student import Answers, Batch, Item, Term
from limbeck.errors import LimbeckError
from limbeck.stage import ModelRole, settings

if TYPE_CHECKING:
    import torch
    from torch import nn

    from distill.batches import Pools
    from distill.editing.consistency import Grid
    from distill.editing.editor_teacher import EditorTeacher
    from distill.editing.latents import LatentTeacher
    from distill.work import Work

Phase = Literal["prune", "guide", "few"]


@settings
class FastEditor(EditingStudent):
    """An editor of a fraction of its teacher's size, of few steps and one pass a step."""

    name: ClassVar = "fast_editor"
    version: ClassVar = 1

    teacher: Annotated[str, ModelRole("edit")] = "teacher"
    """The editor that teaches: one that `distill.students.editor` made, or `timbrooks/instruct-pix2pix`."""
    stages: tuple[Phase, ...] = ("prune", "guide", "few")
    """Which phases there are, in this order."""
    size: Annotated[int, Gt(0)] | None = None
    """Side of the pictures in pixels; the teacher's own by default."""
    keep_layers: tuple[int, ...] = ()
    """Layers of each level that stay, outermost first; all by default."""
    keep_middle: bool = True
    """Whether the middle block stays."""
    plain_down: tuple[int, ...] = ()
    """Levels that lose attention on the way down; 0 is the outermost."""
    plain_up: tuple[int, ...] = ()
    """Levels that lose attention on the way up."""
    teacher_steps: Annotated[int, Gt(0)] | None = None
    """Steps in which the teacher edits; its own by default."""
    guidance_scale: Annotated[float, Ge(0)] | None = None
    """s_T, of the teacher and so of the student; the teacher's own by default."""
    image_guidance_scale: Annotated[float, Ge(0)] | None = None
    """s_I, likewise."""
    scales: Literal["fixed", "embedded"] = "fixed"
    """`fixed` builds both scales into the weights; `embedded` makes them inputs, which needs limbeck's pipeline class."""
    text_range: tuple[float, float] = (1.0, 10.0)
    """Range of s_T that embedded scales are trained on."""
    image_range: tuple[float, float] = (1.0, 2.0)
    """Range of s_I, likewise."""
    embedding: Annotated[int, Gt(3)] = 256
    """Width of both embedded scales together."""
    dropout: Annotated[float, Ge(0), Le(0.33)] = 0.05
    """Conditioning dropout while pruning, as the teacher was trained."""
    shift: Annotated[float, Ge(1)] = 1.0
    """Training times of `prune` and `guide` lie nearer to noise, see `distill.students.editor`."""
    steps: Annotated[int, Gt(0)] = 4
    """Denoising steps of an edit."""
    grid: Annotated[int, Gt(0)] = 50
    """Times that consistency is trained at; inference takes its own from them."""
    huber: Annotated[float, Gt(0)] = 0.001
    """c of the pseudo-Huber loss between ends of paths."""
    measure: Literal["attributes", "similarity"] = "attributes"
    """What the judge does, see `distill.students.editor`."""
    curve_scales: tuple[float, ...] = ()
    """Values of s_I at which direction and preservation are measured: of the teacher, and with embedded scales."""
    curve_steps: tuple[int, ...] = ()
    """Numbers of steps in which the edits are made once more."""
    curve_rows: Annotated[int, Gt(0)] = 200
    """Test rows of each such point."""
    half: bool = True
    """Whether weights are saved in half precision."""

    terms: ClassVar = {
        "denoise": Term("label"),
        "output": Term("teacher"),
        "feature": Term("teacher"),
        "guide": Term("teacher"),
        "consistency": Term("teacher"),
    }

    @property
    def phases(self) -> tuple[str, ...]:
        """The stages."""
        return self.stages

    @property
    def cut(self) -> Cut:
        """What of the U-Net stays."""
        return Cut(self.keep_layers, self.keep_middle, self.plain_down, self.plain_up)

    def check(self, work: Work) -> list[str]:
        """Stages, cuts, scales and judges that don't go together."""
        found = self.shared_problems(work)
        if not self.stages or list(self.stages) != sorted({*self.stages}, key=("prune", "guide", "few").index):
            found.append(f"stages = {list(self.stages)}; expected some of prune, guide, few, in this order")
        if "prune" not in self.stages and self.cut != Cut():
            found.append("blocks are to be left out, and no stage `prune` teaches the rest to do without them")
        if self.scales == "embedded" and "guide" not in self.stages:
            found.append('scales = "embedded" are learnt in the stage `guide`, which isn\'t there')
        if "few" in self.stages and self.steps > self.grid:
            found.append(f"steps = {self.steps}, and consistency is trained at {self.grid} times (grid)")
        try:
            found += problems(self._unet_config(work), self.cut)
        except LimbeckError as error:
            found.append(str(error))
        return found

    def _unet_config(self, work: Work) -> dict[str, Any]:
        from distill.editing.latents import unet_config

        return unet_config(work.spec("teacher"), work.recipe.folder)

    def taught_by(self, work: Work) -> LatentTeacher:
        """Latents of both pictures and states of instructions; noisy latents are asked about while it trains."""
        from distill.editing.latents import LatentTeacher

        return LatentTeacher(work.spec("teacher"), work.recipe.folder, self.size, states=True)

    def texts(self, work: Work, dealt: Sequence[Pools]) -> Iterable[str]:
        """Every instruction, and the empty text."""
        yield ""
        yield from work.dataset.values("edit_prompt")

    def build(self, work: Work) -> nn.Module:
        """The teacher's U-Net, cut, with its weights."""
        from distill.editing.network import EditingNetwork
        from distill.editing.parts import load_parts
        from distill.editing.pruning import pruned

        parts = load_parts(work.spec("teacher"), work.recipe.folder)
        unet = pruned(parts.unet, self.cut, scales=self.embedding if self.scales == "embedded" else None)
        return EditingNetwork(unet, parts.text, parts.with_(unet=None, **self._asked(work, self.stages[-1])))

    def _asked(self, work: Work, phase: str) -> dict[str, Any]:
        """Scheduler and scales of an edit after a phase."""
        from dataclasses import replace

        from diffusers import DDIMScheduler, LCMScheduler

        config = self._teacher_parts(work).scheduler.config
        if phase == "few":
            scheduler = LCMScheduler.from_config(config, original_inference_steps=self.grid, clip_sample=False)
        else:
            scheduler = DDIMScheduler.from_config(
                config, timestep_spacing="trailing", set_alpha_to_one=True, clip_sample=False
            )
        asked = self.teacher_asked(work)
        if phase == "prune":
            return {"scheduler": scheduler, "asked": asked}
        one = asked if self.scales == "embedded" else replace(asked, guidance_scale=1.0, image_guidance_scale=1.0)
        return {"scheduler": scheduler, "asked": replace(one, steps=self.steps)}

    def teacher_asked(self, work: Work) -> Any:
        """Steps and scales of the teacher."""
        from dataclasses import replace

        given = {
            "steps": self.teacher_steps,
            "guidance_scale": self.guidance_scale,
            "image_guidance_scale": self.image_guidance_scale,
        }
        return replace(self._teacher_parts(work).asked, **{k: v for k, v in given.items() if v is not None})

    def begin(self, model: nn.Module, phase: str, work: Work) -> None:
        """The U-Net alone is trained; the teacher is at hand where this arm may hear it."""
        from distill.editing.network import ready_for

        ready_for(work.device, model.unet)
        model.text.requires_grad_(False)
        model.unet.requires_grad_(True)
        model.parts = model.parts.with_(**self._asked(work, phase))
        model.phase = phase
        if self._heard(work):
            self._teacher(work)

    def teacher_passes(self, phase: str) -> float:
        """One while pruning, then three branches of guidance."""
        return 1.0 if phase == "prune" else 3.0

    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """`edited`, `noise`, `source`, `teacher_source` (B, C, h, w); `states` (B, S, D); `times` (B,).

        `teacher_source` is the picture that the teacher looks at: another row's in the sham arm. In the phase `few`
        times are places in the grid. With embedded scales `text_scale` and `image_scale` (B,).
        """
        import torch

        few = phase == "few"
        times = range(self.grid) if few else range(len(work.cache.facts["alphas_cumprod"]))
        dropout = self.dropout if phase == "prune" else 0.0
        drawn = self.drawn(items, work, dropout, times, 1.0 if few else self.shift)
        told = ["" if bare else i.row["edit_prompt"] for i, bare in zip(items, drawn.without_text, strict=True)]
        looked_at = [i.target or work.cache.target(i.row["id"], i.view.index) for i in items]
        there = (drawn.source != 0).flatten(1).any(1)  # the teacher goes without where the student does
        theirs = torch.from_numpy(np.stack([t[conditioning.SOURCE] for t in looked_at]).astype(np.float32))
        batch = {
            "edited": drawn.edited,
            "noise": drawn.noise,
            "source": drawn.source,
            "teacher_source": theirs * there.view(-1, 1, 1, 1),
            "times": drawn.times,
            "states": torch.from_numpy(work.cache.states(told).astype(np.float32)),
        }
        if self.scales == "embedded":
            for name, (low, high) in (("text_scale", self.text_range), ("image_scale", self.image_range)):
                batch[name] = torch.tensor([i.rng.uniform(low, high) for i in items], dtype=torch.float32)
        return batch

    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Terms of the phase. An arm that hears no teacher learns to denoise in all of them."""
        if phase == "prune" or not self._heard(work):
            return self._pruning(model, batch, phase, work)
        return self._guiding(model, batch, work) if phase == "guide" else self._shortening(model, batch, work)

    def _pruning(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Denoising, and the teacher's output and blocks under the same conditions."""
        from distill.editing.editor_teacher import normalised_mse

        times = self.lattice(work).times[batch["times"]] if phase == "few" else batch["times"]
        noisy, alpha, sigma = conditioning.noised(batch["edited"], batch["noise"], times, alphas_of(work))
        heard = self._heard(work)
        taps = self._taps(work) if heard else ()
        said = model(
            noisy, batch["source"], times, states=batch["states"], embedded=self._embedded(batch, model), taps=taps
        )
        target = conditioning.target_of(work.cache.facts["prediction"], batch["edited"], batch["noise"], alpha, sigma)
        found = {"denoise": _mse(said["output"], target)}
        if heard:
            theirs = self._teacher(work).plain(noisy, batch["teacher_source"], times, batch["states"], taps)
            found["output"] = _mse(said["output"], theirs["output"])
            found["feature"] = sum(normalised_mse(said[tap], theirs[tap]).sum() for tap in taps) / len(taps)
        return found

    def _guiding(self, model: nn.Module, batch: Batch, work: Work) -> dict[str, torch.Tensor]:
        """One pass against the guided teacher."""
        noisy, _, _ = conditioning.noised(batch["edited"], batch["noise"], batch["times"], alphas_of(work))
        said = model(
            noisy, batch["source"], batch["times"], states=batch["states"], embedded=self._embedded(batch, model)
        )
        return {"guide": _mse(said["output"], self._guided(noisy, batch["times"], batch, work))}

    def _shortening(self, model: nn.Module, batch: Batch, work: Work) -> dict[str, torch.Tensor]:
        """The end of the path by the student, from a point and from the next one."""
        import torch

        from distill.editing.consistency import huber

        prediction, grid, at = work.cache.facts["prediction"], self.lattice(work), batch["times"]
        z = grid.noisy(batch["edited"], batch["noise"], at)
        embedded = self._embedded(batch, model)
        following = grid.step(prediction, self._guided(z, grid.times[at], batch, work), z, at)
        with torch.no_grad():
            # past the last time nothing is asked: f(z, 0) is z, and the network's answer has weight 0
            times = grid.times[(at + 1).clamp(max=len(grid.times) - 1)]
            said = model(following, batch["source"], times, states=batch["states"], embedded=embedded)["output"]
            target = grid.end(prediction, said, following, at + 1)
        said = model(z, batch["source"], grid.times[at], states=batch["states"], embedded=embedded)["output"]
        return {"consistency": huber(grid.end(prediction, said, z, at), target, self.huber).sum()}

    def _guided(self, noisy: torch.Tensor, times: torch.Tensor, batch: Batch, work: Work) -> torch.Tensor:
        teacher, asked = self._teacher(work), (noisy, batch["teacher_source"], times, batch["states"])
        if self.scales == "embedded":
            return teacher.guided_each(*asked, batch["text_scale"], batch["image_scale"])
        return teacher.guided(*asked, self.teacher_asked(work).scales)

    def _embedded(self, batch: Batch, model: nn.Module) -> torch.Tensor | None:
        if self.scales != "embedded":
            return None
        from limbeck.models.editing import scale_embedding

        return scale_embedding(batch["text_scale"], batch["image_scale"], self.embedding, batch["states"].dtype)

    def teacher_answers(self, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """The teacher's edits under the same noise; kept beside its other answers, by the rows' contents."""
        import hashlib

        from distill.editing import curves

        asked, dataset = self.teacher_asked(work), work.dataset
        seen = contents(dataset, [dataset.at(row["id"]) for row in rows])
        facts = [seen, vars(asked), work.cache.fingerprint]
        key = hashlib.blake2b(orjson.dumps(facts), digest_size=8).hexdigest()
        path = work.cache.folder / f"edits-{key}.npz"
        with one_at_a_time(work.cache.folder, "edits"):
            if not path.is_file():
                model = self.teaching_editor(work)
                found = {
                    judging.EDITED: curves.edited(model, rows, self.side(work), asked),
                    judging.EVALUATIONS: np.full(len(rows), float(model.evaluations(asked))),
                }
                aside = path.with_suffix(".tmp.npz")
                np.savez_compressed(aside, **found)
                aside.replace(path)
        with np.load(path) as known:
            return dict(known)

    def teaching_editor(self, work: Work) -> Any:
        """The teacher behind the role `edit`."""
        from distill.editing.network import EditingNetwork
        from distill.editing.parts import editor

        parts = self._teacher_parts(work).to(work.device)
        return editor(EditingNetwork(parts.unet, parts.text, parts.with_(asked=self.teacher_asked(work))))

    def baselines(self, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, Answers]:
        """The dataset's own edits, none at all, and what can be had without training: fewer passes, fewer blocks."""
        from distill.editing import curves
        from distill.editing.network import EditingNetwork
        from distill.editing.parts import editor
        from limbeck.models.edit_diffusers import Asked

        found, asked = super().baselines(rows, work), Asked(self.steps, 1.0, 1.0)
        parts = self._teacher_parts(work)
        ways = {f"teacher, {self.steps} steps of one pass": self.teaching_editor(work)}
        if self.cut != Cut():
            from distill.editing.pruning import pruned

            unet = pruned(parts.unet, self.cut).eval().to(work.device)
            ways["the same, cut and not trained"] = editor(EditingNetwork(unet, parts.text, parts))
        for name, model in ways.items():
            evaluations = np.full(len(rows), float(model.evaluations(asked)))
            edits = curves.edited(model, rows, self.side(work), asked)
            found[name] = {judging.EDITED: edits, judging.EVALUATIONS: evaluations}
        return found

    def compared(self, folder: Path, work: Work) -> dict[str, Any]:
        """Teacher and student."""
        return {"teacher": self.teaching_editor(work), **super().compared(folder, work)}

    def has_scales(self, name: str) -> bool:
        """A student with fixed scales can't."""
        return name == "teacher" or self.scales == "embedded" or self.stages[-1] == "prune"

    def usage(self, work: Work) -> str:
        """Loading and editing."""
        asked = self.teacher_asked(work)
        one, two = (asked.guidance_scale, asked.image_guidance_scale) if self.scales == "embedded" else (1, 1)
        steps = asked.steps if self.stages[-1] == "prune" else self.steps
        if self.stages[-1] == "prune":
            one, two = asked.guidance_scale, asked.image_guidance_scale
        where, name = (
            ("limbeck.models.embedded_guidance", "EmbeddedGuidancePix2PixPipeline")
            if self.scales == "embedded"
            else ("diffusers", "StableDiffusionInstructPix2PixPipeline")
        )
        return (
            f"from {where} import {name}\n\n"
            f'editor = {name}.from_pretrained("FOLDER", safety_checker=None)\n'
            f"edited = editor(INSTRUCTION, image=PICTURE, num_inference_steps={steps}, "
            f"guidance_scale={one:g}, image_guidance_scale={two:g}).images[0]"
        )

    # --- what is shared by the methods above

    def lattice(self, work: Work) -> Grid:
        """Times of consistency, on the device."""
        from distill.editing.consistency import Grid

        if "grid" not in work.memo:
            work.memo["grid"] = Grid.of(self.grid, alphas_of(work).cpu()).to(work.device)
        return work.memo["grid"]

    def _heard(self, work: Work) -> bool:
        """Whether this arm hears the teacher."""
        return any(self.terms[name].signal == "teacher" for name in work.terms)

    def _taps(self, work: Work) -> tuple[str, ...]:
        """Blocks that student and teacher both have."""
        config = self._teacher_parts(work).unet.config
        n = len(config["block_out_channels"])
        middle = ["mid_block"] if self.keep_middle and config["mid_block_type"] else []
        return (*(f"down_blocks.{i}" for i in range(n)), *middle, *(f"up_blocks.{i}" for i in range(n)))

    def _teacher_parts(self, work: Work) -> Any:
        from distill.editing.parts import load_parts

        if "teacher parts" not in work.memo:
            work.memo["teacher parts"] = load_parts(work.spec("teacher"), work.recipe.folder)
        return work.memo["teacher parts"]

    def _teacher(self, work: Work) -> EditorTeacher:
        import torch

        from distill.editing.editor_teacher import EditorTeacher
        from distill.editing.network import EditingNetwork, ready_for

        if "teacher" not in work.memo:
            parts = self._teacher_parts(work)
            network = EditingNetwork(parts.unet, None, parts)
            ready_for(work.device, parts.unet)
            empty = torch.from_numpy(work.cache.states([""]).astype(np.float32))
            work.memo["teacher"] = EditorTeacher(network, empty).to(work.device)
        return work.memo["teacher"]


def _mse(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean over elements, sum over rows."""
    return (a - b).square().mean((1, 2, 3)).sum()
