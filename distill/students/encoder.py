"""A small image encoder that answers in the space of a large one: CLIP's or SigLIP's texts keep working with it.

The teacher's text tower stays what it is: its states of texts are cached, and the student learns to put pictures where
the teacher puts them (feature term), to think of the same texts (bank term), and, where a row's caption may be seen,
to find it among the others (contrast term).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from distill import zero_shot
from distill.batches import held_out, pools
from distill.embedding_teacher import EMBEDDING
from distill.measures import calibration_error, retrieved
from distill.picture_student import PictureStudent
from distill.pixels import picture_of, pixels
from distill.student import Answers, Batch, Item, Metric, Predictor, Scores, Term
from limbeck.errors import RequestError
from limbeck.records import columns
from limbeck.scores import unit_rows
from limbeck.stage import ModelRole, settings

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from torch import nn

    from distill.batches import Pools
    from distill.work import Work


@settings
class Encoder(PictureStudent):
    """An image encoder of a fraction of its teacher's size: a CLIP vision tower with projection."""

    name: ClassVar = "encoder"
    version: ClassVar = 1
    architecture: ClassVar = "CLIPVisionModelWithProjection"
    processor: ClassVar = "CLIPImageProcessor"
    output: ClassVar = "image_embeds"
    metrics: ClassVar = (
        Metric("zero_shot", about="the right one of texts that differ in one attribute, or of all classes"),
        Metric("image_to_text", about="a picture's own caption is the nearest of all held-out captions"),
        Metric("text_to_image", about="a caption's own picture is the nearest of all held-out pictures"),
        Metric("nll", "lower", about="negative log-likelihood of the right text"),
        Metric("ece", "lower", about="expected calibration error of the zero-shot answers, 15 bins"),
        Metric("agreement", about="zero-shot answers that are the teacher's, right or wrong", to_teacher=True),
        Metric("cosine", about="mean cosine with the teacher's embedding", to_teacher=True),
    )

    teacher: Annotated[str, ModelRole("score")] = "teacher"
    """Whose space it learns."""
    hidden_size: Annotated[int, Gt(0)] = 64
    """Width."""
    layers: Annotated[int, Gt(0)] = 2
    """Transformer layers."""
    heads: Annotated[int, Gt(0)] = 4
    """Attention heads."""
    intermediate_size: Annotated[int, Gt(0)] = 256
    """Width of the feed-forward part."""
    image_size: Annotated[int, Gt(0)] = 64
    """Side of its pictures in pixels."""
    patch_size: Annotated[int, Gt(0)] = 8
    """Side of a patch in pixels."""
    feature: Literal["cosine", "mse"] = "cosine"
    """How embeddings are compared; both at unit length."""
    bank: Annotated[int, Ge(2)] = 1024
    """Most texts of the bank: captions of labelled rows."""
    questions: Literal["scenes", "classes", "captions"] = "scenes"
    """What zero-shot questions are about: attributes of storybook scenes, classes, or whose caption it is."""
    choices: Annotated[int, Ge(2)] = 32
    """Captions to choose from in a question about captions."""
    class_column: str = "label"
    """Column with a class's name, for questions about classes."""
    templates: tuple[str, ...] = ("a photo of a {}.",)
    """Texts of a class, with {} for its name; their embeddings are averaged."""

    @property
    def terms(self) -> dict[str, Term]:
        """Feature and bank are the teacher's, contrast is the label's."""
        return {"feature": Term("teacher", 4.0), "bank": Term("teacher"), "contrast": Term("label")}

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """Picture and caption, and the truth that questions are made of."""
        import pyarrow as pa

        truth = {"scenes": columns("scene"), "classes": (pa.field(self.class_column, pa.string()),), "captions": ()}
        return (*columns("image", "caption"), *truth[self.questions])

    def check(self, work: Work) -> list[str]:
        """Sizes that don't divide, rows without a class, a teacher without texts."""
        if self.questions == "classes":
            self._classes(work)
        return self.shared_problems(work)

    def texts(self, work: Work, dealt: Sequence[Pools]) -> Iterable[str]:
        """Captions of labelled and held-out rows, and candidates of the questions."""
        for found in dealt:
            yield from (_caption(work.dataset.row(p)) for p in found.labelled)
        for p in (*dealt[0].dev, *dealt[0].test):
            row = work.dataset.row(p)
            yield _caption(row)
            yield from (text for texts in self._question(row, work).texts for text in texts)

    def build(self, work: Work) -> nn.Module:
        """A fresh `CLIPVisionModelWithProjection`."""
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        return CLIPVisionModelWithProjection(
            CLIPVisionConfig(**self.shape(), projection_dim=work.cache.facts["dim"], hidden_act="gelu")
        )

    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """`pixel_values` (B, 3, S, S); `teacher` (B, D); `text` (B, D), the caption's state; zeros where not allowed.

        `labelled` (B,) bool; `in_bank` (B,) int64, the caption's place in the bank, -1 where it isn't there.
        """
        import torch

        at, nothing = self._bank_at(work), np.zeros(work.cache.facts["dim"])
        targets = [nothing if i.target is None else i.target[EMBEDDING] for i in items]
        texts = [work.cache.states([_caption(i.row)])[0] if i.labelled else nothing for i in items]
        return {
            "pixel_values": pixels([i.view.apply(picture_of(i.row)) for i in items], self.image_size),
            "teacher": torch.from_numpy(np.stack(targets).astype(np.float32)),
            "text": torch.from_numpy(np.stack(texts).astype(np.float32)),
            "labelled": torch.tensor([i.labelled for i in items]),
            "in_bank": torch.tensor([at.get(_caption(i.row), -1) if i.labelled else -1 for i in items]),
        }

    def counts(self, batch: Batch) -> dict[str, float]:
        """All rows, and those with a label."""
        n = float(len(batch["labelled"]))
        return {"feature": n, "bank": n, "contrast": float(batch["labelled"].sum())}

    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Sums of each term."""
        from distill import losses

        facts, found = work.cache.facts, {}
        student = model(pixel_values=batch["pixel_values"]).image_embeds.float()
        bank = self._bank(work).to(student.device)
        if "feature" in work.terms:
            compare = losses.feature_cosine if self.feature == "cosine" else losses.feature_mse
            found["feature"] = compare(student, batch["teacher"]).sum()
        if "bank" in work.terms:
            if facts["kind"] == "sigmoid":
                each = losses.bank_sigmoid(student, batch["teacher"], bank, facts["scale"], facts["bias"])
            else:
                each = losses.bank_cross_entropy(student, batch["teacher"], bank, facts["scale"])
            found["bank"] = each.sum()
        if "contrast" in work.terms:
            found["contrast"] = _contrast(student, batch, bank, facts).sum()
        return found

    def answer(self, predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """`embedding` (N, D), rows of unit length."""
        return {"embedding": unit_rows(self.outputs(predictor, rows))}

    def teacher_answers(self, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """The cached embeddings of the whole pictures."""
        return {"embedding": unit_rows(work.cache.targets(EMBEDDING, [row["id"] for row in rows]))}

    def score(
        self, answers: Answers, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None
    ) -> Scores:
        """Zero-shot, retrieval, calibration, and agreement with the teacher."""
        images, scale = answers["embedding"], work.cache.facts["scale"]
        captions = [_caption(row) for row in rows]
        texts = unit_rows(work.cache.states(captions))
        questions = [self._question(row, work) for row in rows]
        candidates = [self._candidates(question, work) for question in questions]
        said = zero_shot.answered(images, candidates, scale)
        items = {
            "zero_shot": said.right,
            "image_to_text": retrieved(images, texts, captions),
            "text_to_image": retrieved(texts, images, captions),
            "nll": said.nll,
        }
        if teacher is not None:
            theirs = zero_shot.answered(teacher["embedding"], candidates, scale)
            items["agreement"] = (said.chosen == theirs.chosen).astype(np.float64)
            items["cosine"] = (images * teacher["embedding"]).sum(1)
        values = {name: float(each.mean()) for name, each in items.items()}
        values["ece"] = calibration_error(said.confidence, said.right)
        for about in dict.fromkeys(q.about for q in questions):
            values[f"zero_shot_{about}"] = float(said.right[[q.about == about for q in questions]].mean())
        return Scores(values, items)

    def usage(self, work: Work) -> str:
        """Loading and embedding."""
        return (
            "from transformers import AutoImageProcessor, CLIPVisionModelWithProjection\n\n"
            'model = CLIPVisionModelWithProjection.from_pretrained("FOLDER")\n'
            'processor = AutoImageProcessor.from_pretrained("FOLDER")\n'
            'embedding = model(**processor(images=picture, return_tensors="pt")).image_embeds  '
            f"# compare with texts embedded by {work.spec('teacher').id}"
        )

    # --- what is shared by the methods above

    def _question(self, row: dict[str, Any], work: Work) -> zero_shot.Question:
        if self.questions == "scenes":
            return zero_shot.storybook_question(row)
        if self.questions == "classes":
            return zero_shot.class_question(row, self.class_column, self._classes(work), self.templates)
        if "held-out captions" not in work.memo:
            _, dev, test = held_out(work.dataset, work.recipe)
            work.memo["held-out captions"] = [_caption(work.dataset.row(p)) for p in (*dev, *test)]
        return zero_shot.caption_question(
            {**row, "caption": _caption(row)}, work.memo["held-out captions"], self.choices
        )

    def _classes(self, work: Work) -> list[str]:
        if "classes" not in work.memo:
            work.memo["classes"] = zero_shot.class_names(work.dataset, self.class_column)
        return work.memo["classes"]

    def _candidates(self, question: zero_shot.Question, work: Work) -> NDArray[np.float64]:
        if all(len(texts) == 1 for texts in question.texts):
            return unit_rows(work.cache.states([texts[0] for texts in question.texts]))
        return unit_rows(np.stack([unit_rows(work.cache.states(texts)).mean(0) for texts in question.texts]))

    def _bank_texts(self, work: Work, found: Pools) -> list[str]:
        captions = [_caption(work.dataset.row(p)) for p in found.labelled[: self.bank]]
        return list(dict.fromkeys(captions))

    def _bank_at(self, work: Work) -> dict[str, int]:
        """Captions of this seed's bank to their places."""
        key = ("bank", work.seed)
        if key not in work.memo:
            texts = self._bank_texts(work, pools(work.dataset, work.recipe, work.seed))
            if len(texts) < 2:
                raise RequestError(f"{len(texts)} distinct caption in the bank", expected="2 or more", where="budget")
            work.memo[key] = {text: n for n, text in enumerate(texts)}
        return work.memo[key]

    def _bank(self, work: Work) -> torch.Tensor:
        """(K, D) float32, rows of unit length, on the device."""
        import torch

        key = ("bank states", work.seed)
        if key not in work.memo:
            states = unit_rows(work.cache.states(list(self._bank_at(work))))
            work.memo[key] = torch.from_numpy(states.astype(np.float32)).to(work.device)
        return work.memo[key]


def _caption(row: dict[str, Any]) -> str:
    """A row's caption; of several (COCO has five, one a line) the first."""
    return row["caption"].partition("\n")[0]


def _contrast(student: torch.Tensor, batch: Batch, bank: torch.Tensor, facts: dict[str, Any]) -> torch.Tensor:
    """Of labelled rows, (n,): the row's own caption against the texts of the bank.

    A fixed bank in place of the batch's other captions: no row's loss depends on another row.
    """
    import torch
    import torch.nn.functional as F

    known = batch["labelled"]
    images, at = F.normalize(student[known], dim=-1), batch["in_bank"][known]
    own = (images * F.normalize(batch["text"][known], dim=-1)).sum(-1, keepdim=True)
    logits = torch.cat([own, images @ bank.T], -1) * facts["scale"] + facts["bias"]
    itself = torch.zeros_like(logits, dtype=torch.bool)  # the caption in the bank is no negative of its own picture
    itself[:, 1:].scatter_(1, at.clamp(min=0)[:, None], (at >= 0)[:, None])
    right = torch.zeros(len(images), dtype=torch.long, device=logits.device)
    if facts["kind"] == "sigmoid":
        wanted = F.one_hot(right, logits.shape[-1]).float()
        each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return each.masked_fill(itself, 0.0).sum(-1)
    return F.cross_entropy(logits.masked_fill(itself, -torch.inf), right, reduction="none")
