"""An editor: a picture and an instruction in, the edited picture out; InstructPix2Pix, from a painter's weights.

The painter's U-Net gets the source's latents as further input channels, whose weights begin at zero, and reads the
instruction instead of a caption. In training either or both are left out now and then, so that at inference two
scales say how much each counts. What is saved is a stock `StableDiffusionInstructPix2PixPipeline`.

`distill.students.fast_editor` makes a small one of it that needs few steps and one pass a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from distill.editing import conditioning
from distill.editing.editing_student import EditingStudent, alphas_of
from distill.student import Batch, Item, Term
from limbeck.stage import ModelRole, settings

if TYPE_CHECKING:
    import torch
    from diffusers import DDIMScheduler
    from torch import nn

    from distill.editing.latents import LatentTeacher
    from distill.work import Work


@settings
class Editor(EditingStudent):
    """An editor of many steps, learnt from pairs of pictures with instructions.

    Source: Brooks et al. 2023, InstructPix2Pix (arXiv 2211.09800), section 3.2.
    """

    name: ClassVar = "editor"
    version: ClassVar = 1
    terms: ClassVar = {"denoise": Term("label")}
    phases: ClassVar = ("edit",)

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
    beta_end: Annotated[float, Gt(0), Lt(1)] | None = None
    """Last beta of the noise schedule, the painter's own by default. What an edit becomes is decided where noise is louder
    than the picture; an autoencoder whose scaled latents are louder than they should be (1) needs more noise for that."""
    shift: Annotated[float, Ge(1)] = 1.0
    """Training times lie nearer to noise: half of them in the last `1 / (1 + shift)` of the schedule. What is copied and
    what changes is learnt there; how pictures look is the painter's and known."""
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

    def check(self, work: Work) -> list[str]:
        """Settings and judges that don't go together."""
        found = []
        if self.new_words and not self.train_text:
            found.append("new_words need train_text = true: nothing else would teach the text encoder to read them")
        return found + self.shared_problems(work)

    def taught_by(self, work: Work) -> LatentTeacher:
        """Latents of both pictures, by the painter's autoencoder."""
        from distill.editing.latents import LatentTeacher

        return LatentTeacher(work.spec("painter"), work.recipe.folder, self.size)

    def build(self, work: Work) -> nn.Module:
        """The painter's U-Net with source channels, and its text encoder."""
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
            scheduler=self._scheduler(painter.scheduler.config),
            asked=Asked(self.steps, self.guidance_scale, self.image_guidance_scale),
            words=None if painter.words is None else frozenset(words.words_of(told)),
            unet=None,
        )
        work.memo["tokenizer"] = parts.tokenizer
        unet.requires_grad_(True)
        parts.text.requires_grad_(self.train_text)
        return network.EditingNetwork(unet, parts.text, parts, ["unet.conv_in"])

    def begin(self, model: nn.Module, phase: str, work: Work) -> None:
        """All of the U-Net is trained; the text encoder as the settings say."""
        from distill.editing.network import ready_for

        ready_for(work.device, model.unet)
        model.unet.requires_grad_(True)
        model.text.requires_grad_(self.train_text)

    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """`edited`, `noise`, `source` (B, C, h, w); `times` (B,); `input_ids` (B, S), of the empty text where left out."""
        import torch

        times = range(len(work.cache.facts["alphas_cumprod"]))
        drawn = self.drawn(items, work, self.dropout, times, self.shift)
        ids = self._token_ids(["", *(item.row["edit_prompt"] for item in items)], work)
        chosen = [0 if bare else 1 + i for i, bare in enumerate(drawn.without_text)]
        return {
            "edited": drawn.edited,
            "noise": drawn.noise,
            "source": drawn.source,
            "times": drawn.times,
            "input_ids": torch.from_numpy(ids[chosen]),
        }

    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Mean squared error of what the network predicts, summed over rows."""
        facts = work.cache.facts
        noisy, alpha, sigma = conditioning.noised(batch["edited"], batch["noise"], batch["times"], alphas_of(work))
        target = conditioning.target_of(facts["prediction"], batch["edited"], batch["noise"], alpha, sigma)
        said = model(noisy, batch["source"], batch["times"], input_ids=batch["input_ids"])["output"]
        return {"denoise": (said - target).square().mean((1, 2, 3)).sum()}

    def usage(self, work: Work) -> str:
        """Loading and editing with diffusers alone."""
        return (
            "from diffusers import StableDiffusionInstructPix2PixPipeline\n\n"
            'editor = StableDiffusionInstructPix2PixPipeline.from_pretrained("FOLDER", safety_checker=None)\n'
            f"edited = editor(INSTRUCTION, image=PICTURE, num_inference_steps={self.steps}, "
            f"guidance_scale={self.guidance_scale:g}, image_guidance_scale={self.image_guidance_scale:g}).images[0]"
        )

    def schedule(self, work: Work) -> Sequence[float]:
        """The painter's, or one with more noise."""
        if self.beta_end is None:
            return super().schedule(work)
        from diffusers import DDIMScheduler

        from limbeck import models

        spec = work.spec("painter")
        place = models.located(spec, work.recipe.folder)
        config = DDIMScheduler.load_config(place, subfolder="scheduler", revision=spec.revision)
        return [float(share) for share in self._scheduler(config).alphas_cumprod.double()]

    # --- what is shared by the methods above

    def _scheduler(self, config: Mapping[str, Any]) -> DDIMScheduler:
        """Of an edit: from noise alone to the picture itself."""
        from diffusers import DDIMScheduler

        more = {} if self.beta_end is None else {"beta_end": self.beta_end, "trained_betas": None}
        settings = {**config, "timestep_spacing": "trailing", "set_alpha_to_one": True, "clip_sample": False, **more}
        return DDIMScheduler.from_config(settings)

    def _instructions(self, work: Work) -> list[str]:
        """Of the training rows, whatever their label's budget: words alone are learnt from them here."""
        if "instructions" not in work.memo:
            train = work.dataset.splits.get("train", np.arange(len(work.dataset)))
            work.memo["instructions"] = [row["edit_prompt"] for row in work.dataset.walk(train, ("edit_prompt",))]
        return work.memo["instructions"]

    def _token_ids(self, texts: Sequence[str], work: Work) -> np.ndarray:
        """(N, S); each distinct text is cut once."""
        from distill.editing.parts import token_ids

        known = work.memo.setdefault("token_ids", {})
        if unknown := [t for t in dict.fromkeys(texts) if t not in known]:
            known.update(zip(unknown, token_ids(work.memo["tokenizer"], unknown), strict=True))
        return np.stack([known[t] for t in texts])
