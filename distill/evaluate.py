"""Scores a student on held-out rows, by a judge that neither taught it nor filtered what it learnt from.

Models of one family make the same mistakes: a student taught by CLIP and judged by CLIP is judged by how well it
copies. So the judge has to be of another family than the teacher and than every model that filtered the dataset; a
report that breaks this is refused, not footnoted. `truth` judges by what the rows themselves say, such as the scene
of a storybook picture.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill.student import Answers, Predictor, Scores
from limbeck import models
from limbeck.errors import RequestError, WorkError
from limbeck.models.spec import ModelSpec

if TYPE_CHECKING:
    from distill.lineage import Lineage
    from distill.recipe import DistillRecipe
    from distill.work import Work

TRUTH = "truth"
_KIN = {"siglip": "siglip", "clip": "clip", "dinov": "dinov2"}
"""What a name has in it to its family: all of these are trained alike, so wrong alike."""


class NotFinite(WorkError):
    """A model answers with infinite numbers or with none."""


def score(predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None) -> Scores:
    """Asks a model about rows, and scores what it says.

    Raises:
        NotFinite: a number in its answers is infinite, or not one; comparisons would take that for an answer.
    """
    answers = work.student.answer(predictor, rows, work)
    for name, values in answers.items():
        if np.asarray(values).dtype.kind == "f" and (broken := int((~np.isfinite(values)).sum())):
            raise NotFinite(
                f"{broken:,} of {values.size:,} numbers of its {name!r} are infinite or not numbers",
                expected="finite answers to all rows",
                where=predictor.runtime,
            )
    return work.student.score(answers, rows, work, teacher)


def family(model: str, folder: Path | None = None, *, download: bool = True) -> str:
    """The family of a model by its id: the architecture and training that it shares its mistakes with.

    Args:
        model: `mini:NAME`, a folder or a Hub id.
        folder: what relative model folders are relative to.
        download: whether the Hub may be asked for its config; by its name else, where it isn't at hand.

    >>> family("mini:clip"), family("mini:reader"), family("truth")
    ('clip', 'attribute reader', 'truth')
    """
    if model == TRUTH:
        return TRUTH
    if model == "mini:reader":
        return "attribute reader"
    return _family(models.located(ModelSpec(id=model), folder), model, download)


@cache
def _family(place: str, model: str, download: bool) -> str:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=not download)
        return kin(config.model_type)
    except (OSError, ValueError, KeyError):
        return kin(model.rpartition("/")[2])  # not at hand: by its name


def kin(name: str) -> str:
    """The family that a `model_type` or a model's name speaks of: the same whichever of the two is known.

    >>> kin("siglip2-base-patch16-224"), kin("siglip_vision_model"), kin("CLIP-ViT-H-14"), kin("dinov3_vit")
    ('siglip', 'siglip', 'clip', 'dinov2')
    >>> kin("Qwen2.5-VL-7B-Instruct"), kin("qwen2_5_vl")
    ('qwen', 'qwen')
    """
    name = name.lower()
    first = re.split(r"[-_]", name)[0]
    return next((found for sign, found in _KIN.items() if sign in name), re.sub(r"[\d.]+$", "", first) or first)


def refuse_dependent_judge(recipe: DistillRecipe, lineage: Lineage) -> str:
    """Makes sure that the judge is of another family than the teacher and the dataset's filters.

    Returns:
        The judge's family.

    Raises:
        RequestError: it taught, or it filtered.
    """
    from limbeck.stage import models_of

    judge = recipe.evaluate.judge
    if judge in recipe.models:
        judge = recipe.models[judge].called
    own = family(judge, recipe.folder)
    if own == TRUTH:
        return own
    taught = [recipe.models[name].called for name, _ in models_of(recipe.student).values()]
    for model, deed, here in (
        *((m, "taught the student", True) for m in taught),
        *((m, "filtered the dataset", False) for m in lineage.filters),
    ):
        if family(model, recipe.folder, download=here) == own:
            raise RequestError(
                f"the judge {judge!r} is of the family {own!r}, and so is {model!r}, which {deed}",
                expected="a judge of another family",
                where="evaluate.judge",
                remedy="judge by `truth`, `mini:reader`, or a model of another kind; no report is written like this",
            )
    return own
