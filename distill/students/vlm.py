"""A small model that answers questions about pictures: LLaVA's trainings of a vision tower and a language model.

    align      the projector alone learns to show the language model what the tower sees
    describe   where wanted, all that is tuned learns from the same rows: every token of a description says where to look
    drill      where wanted, all that is tuned learns to answer, from rows of some question types above all
    tune       projector and language model learn to answer, and the vision tower where `tune_vision` says so

It learns from the rows' answers, whoever wrote them (programs, people, a model behind an endpoint: sequence-level
distillation), and, where a teacher that sees is named, from the likeliest tokens that the teacher thinks of at each
place of an answer. Questions carry no loss; end tokens do; the loss is a mean over the answers' tokens of the whole
batch, whatever is padded and however it is cut. `loss_reduction` says what tokens of long answers weigh in it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le
from pydantic import Field

from distill import losses
from distill.student import Answers, Batch, Item, Metric, Predictor, Scores, Student, Term
from limbeck.errors import ModelNotFound, RequestError
from limbeck.records import columns
from limbeck.stage import ModelRole, settings
from limbeck.turns import pictures_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    from distill.tables import AdapterTable
    from distill.teacher import Teacher
    from distill.vlm.collating import Conversation
    from distill.vlm.parts import Parts
    from distill.work import Work

_FIRST = ("align", "describe")  # phases that learn from `align_on` alone, before any question is answered


@settings
class VLM(Student):
    """A small vision-language model in Llava's format: a vision tower, a projector, a language model."""

    name: ClassVar = "vlm"
    version: ClassVar = 1
    adapters: ClassVar = ("lora", "prompt")
    reads: ClassVar = columns("messages", "images", "question_type", "language")
    reads_if_there: ClassVar = columns(
        "template", "answer_type", "answer_value", "options", "scenes", "boxes", "pair_id"
    )
    dealt_by: ClassVar = ("images", "question_type", "answer_type")
    vision: Annotated[str, ModelRole("score")] = "vision"
    """CLIP or SigLIP, whose vision tower sees."""
    language: Annotated[str, ModelRole("chat")] = "language"
    """Causal language model that answers."""
    teacher: Annotated[str | None, ModelRole("chat")] = None
    """A model that sees and has the language model's tokens; none learns from the rows' answers alone."""
    align: bool = True
    """Whether the projector is trained alone first."""
    align_on: tuple[str, ...] = ("description",)
    """Question types that it is aligned on; none given is all."""
    describe: bool = False
    """Whether projector, language model and, with `tune_vision`, tower learn from those rows alone before they are tuned."""
    repeat: dict[str, Annotated[int, Ge(0)]] = Field(default_factory=dict)
    """How often rows of a question type come in each walk through the rows while tuning; once where it isn't said."""
    repeat_answers: dict[str, Annotated[int, Ge(0)]] | None = None
    """The same by answer type (`choice`, `yes_no`, ...); where both are said, their product."""
    drill: dict[str, Annotated[int, Ge(0)]] | None = None
    """How often rows of a question type come in a phase of its own before tuning, once where it isn't said; None has no such
    phase. For a skill that the others hide: whether a thing is there is learnt in minutes alone, and late among all."""
    vision_layers: tuple[Annotated[int, Ge(-64)], ...] = (-2,)
    """Layers of the tower that are seen, from its end."""
    class_token: bool = False
    """Whether a tower's class token is seen beside its patches."""
    tune_vision: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share of the learning rate at which the vision tower learns along; at 0 it is frozen, as in LLaVA 1.5."""
    share_pictures: Annotated[int, Ge(1)] = 1
    """Most rows of one picture that come in one step, behind one copy of it: the same loss for less work, and fewer
    different pictures a step. Pays where there are several questions a picture, asked after it; 1 shares none."""
    loss_reduction: Literal["token", "square", "sample"] = "token"
    """What a token weighs in the mean: the same everywhere, one over the square root of its answer's length, or one over
    that length, so that a yes counts for as much as a description. `square` is what InternVL 2.5 learnt with."""
    language_layers: Annotated[int, Gt(0)] | None = None
    """How many of the language model's layers are kept, evenly spaced; None is all."""
    max_pictures: Annotated[int, Gt(0)] = 4
    """Rows that show more aren't trained on, and count as unanswered."""
    max_tokens: Annotated[int, Gt(0)] = 2048
    """Rows that are longer aren't trained on: cutting one could cut a picture."""
    answer_tokens: Annotated[int, Gt(0)] = 128
    """Most tokens of an answer."""
    closed_tokens: Annotated[int, Gt(0)] = 64
    """Most tokens of an answer to a closed question."""
    top: Annotated[int, Ge(2)] = 48
    """Likeliest tokens of the teacher that are kept at each place of an answer."""
    teacher_on: Literal["own", "rows"] = "own"
    """Whose answers the teacher speaks of: those that it gives itself, or the rows'."""
    judged_by: Literal["closed", "nll"] = "closed"
    """The main metric: exact answers, or, for rows without closed questions, how likely their answers are."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Exact answers with the picture and with it hidden; the report holds POPE, CHAIR and types besides."""
        nll = Metric("nll", "lower", about="negative log-likelihood of a token of the rows' own answers")
        if self.judged_by == "nll":
            return (nll,)
        agreement = Metric(
            "agreement", about="closed questions answered as the teacher answers them, right or wrong", to_teacher=True
        )
        return (
            Metric("closed", about="closed questions answered exactly"),
            nll,
            Metric("unparsed", "lower", about="closed questions whose answer says nothing that can be read"),
            Metric("blind", "lower", about="closed questions answered exactly without a picture"),
            Metric("grey", "lower", about="the same with a grey picture"),
            Metric("shuffled", "lower", about="the same with the picture of another row"),
            *((agreement,) if self.teacher is not None and self.teacher_on == "own" else ()),
        )

    @property
    def terms(self) -> dict[str, Term]:
        """The rows' answers are the label's; the likeliest tokens are the teacher's."""
        own = {"answers": Term("label")}
        return own if self.teacher is None else own | {"tokens": Term("teacher")}

    @property
    def phases(self) -> tuple[str, ...]:
        """Alignment, description and a drill, where they are wanted, and tuning."""
        wanted = {"align": self.align, "describe": self.describe, "drill": self.drill is not None, "tune": True}
        return tuple(phase for phase, is_wanted in wanted.items() if is_wanted)

    def check(self, work: Work) -> list[str]:
        """Pictures that are missing, or shared by rows to learn from and rows to be judged by; vocabularies."""
        from distill.batches import held_out
        from distill.vlm.fit_rows import unfit, unknown

        _, dev, test = held_out(work.dataset, work.recipe)
        asked = {"development rows": dev, "test rows": test} if self.judged_by == "closed" else {}
        found = unfit(work.dataset, work.recipe.evaluate.test_split, asked)
        found += unknown(work.dataset, "question_type", repeat=self.repeat, drill=self.drill)
        found += unknown(work.dataset, "answer_type", repeat_answers=self.repeat_answers)
        if self.teacher is not None and self.teacher_on == "rows" and work.recipe.budget.labelled is not None:
            found.append('teacher_on = "rows" shows the answers of rows whose labels budget.labelled hides; set "own"')
        if work.recipe.views.count != 1:
            found.append("views.count has to be 1: answers speak of places, and a crop moves them")
        prompts = self._prompts(work)
        if len({table.tokens for table in prompts.values()}) > 1:
            told = ", ".join(f"{phase} of {table.tokens}" for phase, table in prompts.items())
            found.append(f"prompts of one length are expected, and train.phases tunes {told} tokens")
        if not self.align and {*prompts} == {*self.phases}:
            found.append("where prompts alone are tuned the projector learns nothing; set student.align = true")
        try:
            _ = self.parts(work).words
            if self.teacher is not None:
                if work.spec("teacher").is_endpoint:
                    from distill.vlm.vocabulary import SEQUENCE_LEVEL

                    found.append(f"an endpoint doesn't tell how likely every token is; {SEQUENCE_LEVEL}")
                else:
                    self._common(work)
        except (ModelNotFound, RequestError) as error:
            found.append(str(error))
        return found

    def taught_by(self, work: Work) -> Teacher | None:
        """The teacher's answers and its likeliest tokens."""
        if self.teacher is None:
            return None
        from distill.vlm.top_tokens import TopTokens

        return TopTokens(
            work.spec("teacher"),
            work.recipe.folder,
            self.parts(work).words,
            self._common(work),
            k=self.top,
            of=self.teacher_on,
            longest=self.answer_tokens,
        )

    def build(self, work: Work) -> nn.Module:
        """A `LlavaForConditionalGeneration` of both towers, with a fresh projector."""
        from distill.vlm import joined

        parts, (place, revision) = self.parts(work), self._place("language", work)
        return joined.joined(parts.sight, place, parts.words, revision=revision, layers=self.language_layers)

    def begin(self, model: nn.Module, phase: str, work: Work) -> None:
        """The projector learns in every phase; the rest of what is tuned after alignment."""
        from distill.vlm import joined

        model.phase = phase
        tuned = ("projector", "language", *(("vision",) if self.tune_vision else ()))
        joined.trained(model, ("projector",) if phase == "align" else tuned)
        if work.device == "cpu" and work.precision(phase) == "bf16":
            model.set_attn_implementation("eager")  # the fused kernel's backward pass takes longer there than all else

    def paces(self, phase: str) -> dict[str, float]:
        """The tower's."""
        return {"model.vision_tower.": self.tune_vision} if self.tune_vision else {}

    def takes(self, row: dict[str, Any], phase: str) -> int:
        """Rows with few enough pictures, as often as the settings say; before tuning, those of `align_on` that have one."""
        shown = len(row["images"] or ())
        if phase in _FIRST:
            return 0 < shown <= self.max_pictures and (not self.align_on or row["question_type"] in self.align_on)
        if shown > self.max_pictures:
            return 0
        if phase == "drill":
            return self.drill.get(row["question_type"], 1)
        return self.repeat.get(row["question_type"], 1) * (self.repeat_answers or {}).get(row.get("answer_type"), 1)

    def exchangeable(self, row: dict[str, Any]) -> Hashable:
        """Rows whose answers are of one form: another's answer is then wrong, but not out of place."""
        return row["language"], row["question_type"], row.get("answer_type")

    @property
    def gathers(self) -> int:
        """As many as share a picture."""
        return self.share_pictures

    def together(self, row: dict[str, Any]) -> Hashable:
        """Its pictures."""
        return tuple(row["images"] or ()) or None

    def length(self, row: dict[str, Any]) -> float:
        """About that of its conversation: a picture is as long as three hundred letters."""
        return 300 * len(row["images"] or ()) + sum(len(p["text"] or "") for m in row["messages"] for p in m["content"])

    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """Conversations as ids, with the places of what is learnt; see `distill.vlm.collating.collated`.

        `answer_weights` (L,) is what each learnt token weighs in the mean.

        Raises:
            RequestError: a row is damaged, and which.
        """
        from distill.vlm.collating import collated, token_weights

        conversations = [c for item in items for c in self._conversations(item, work)]
        batch = collated(conversations, self.parts(work).words, self.parts(work).pixels, self.share_pictures > 1)
        return batch | {"answer_weights": token_weights(batch["answer_of"], self.loss_reduction)}

    def counts(self, batch: Batch) -> dict[str, float]:
        """Weights of the answers' tokens, and places at which the teacher says something."""
        return {"answers": float(batch["answer_weights"].sum()), "tokens": float(len(batch["tail"]))}

    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Cross-entropy of answers, and KL to the teacher's likeliest tokens and the mass of all others."""
        from distill.vlm.collating import cross_entropy, logits_of

        logits, found = logits_of(model, batch), {}
        if len(batch["answer_ids"]):
            each = cross_entropy(logits, batch, len(self.parts(work).words))
            found["answers"] = (batch["answer_weights"] * each).sum()
        if len(batch["tail"]):
            found["tokens"] = losses.topk_tail_kl(
                logits[batch["taught_at"]],
                batch["top_ids"],
                batch["top_logprobs"],
                batch["tail"],
                vocabulary=work.cache.facts["vocabulary"],
            ).sum()
        return found

    def predictor(self, model: nn.Module, work: Work) -> Predictor:
        """The model itself: an answer is many forward passes."""

        def refuse(inputs: Any) -> Answers:
            raise NotImplementedError("a VLM answers by generating; use `Predictor.model`")

        return Predictor(refuse, "torch", model.to(work.device).eval())

    def answer(self, predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """What it says to each row's first question, and to closed ones with the picture hidden.

        Returns:
            `seen`, `blind`, `grey`, `shuffled`, each (N,) of str; `nll` and `tokens` (N,), of the rows' own answers.
        """
        from distill.vlm.asking import HIDDEN, is_closed

        found = {"seen": self._said(predictor.model, rows, "seen", work)}
        closed = [n for n, row in enumerate(rows) if is_closed(row)]
        for how in HIDDEN:
            found[how] = np.full(len(rows), "", object)
            found[how][closed] = self._said(predictor.model, [rows[n] for n in closed], how, work)
        found["nll"], found["tokens"] = self._nll(predictor.model, rows, work)
        return found

    def glance(self, model: nn.Module, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, float]:
        """`nll` of the answers' tokens in rows that the phase takes; from tuning on, closed questions too."""
        from distill.vlm.asking import is_closed
        from distill.vlm.verdicts import read

        phase = getattr(model, "phase", "tune")
        wanted = [row for row in rows if self.takes(row, phase)] or rows
        nll, tokens = self._nll(model, wanted, work)
        found = {"nll": float(nll.sum() / max(1, tokens.sum()))}
        if phase not in _FIRST and (closed := [row for row in rows if is_closed(row)]):
            said = self._said(model, closed, "seen", work)
            found["closed"] = float(np.mean([read(row, text).right for row, text in zip(closed, said, strict=True)]))
        return found

    def glanced_by(self, phase: str) -> Metric:
        """Right answers from tuning on, likelihood before."""
        return Metric("nll", "lower") if phase in _FIRST or self.judged_by == "nll" else Metric("closed")

    def teacher_answers(self, rows: Sequence[dict[str, Any]], work: Work) -> Answers | None:
        """The teacher's own answers, where those are what was cached."""
        if work.cache is None or self.teacher_on != "own":
            return None
        from distill.vlm.top_tokens import ANSWER

        words = self.parts(work).words
        said = [words.decode(work.cache.target(row["id"])[ANSWER].tolist()) for row in rows]
        return {"seen": np.array(said, object)}

    def baselines(self, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, Answers]:
        """What somebody would say who sees nothing, and knows how often each answer was right in the training rows."""
        from distill.batches import held_out
        from distill.vlm.asking import is_closed
        from distill.vlm.verdicts import guesses

        train = held_out(work.dataset, work.recipe)[0]
        known = (work.dataset.row(p) for p in train)
        closed = [n for n, row in enumerate(rows) if is_closed(row)]
        said = np.full(len(rows), "", object)
        said[closed] = guesses(known, [rows[n] for n in closed])
        return {"commonest answer": {"seen": said}}

    def score(
        self, answers: Answers, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None
    ) -> Scores:
        """Exact answers by type, POPE, CHAIR, hidden pictures, agreement with the teacher."""
        from distill.vlm.verdicts import scored

        return scored(answers, rows, teacher)

    def save(self, model: nn.Module, folder: Path, work: Work) -> None:
        """Model and processor."""
        from distill.vlm import joined

        joined.save(model, self.parts(work).words, self.parts(work).sight, folder)

    def load(self, folder: Path, work: Work) -> nn.Module:
        """By `LlavaForConditionalGeneration.from_pretrained`."""
        from distill.vlm import joined

        return joined.load(folder)

    def card_sections(self, report: dict[str, Any], folder: Path, work: Work) -> str:
        """Figures by question type, of POPE, and what it answers without seeing."""
        from distill.vlm.tables import sections

        chosen = next(t for t in report["trainings"] if t["arm"] == work.recipe.arm and t["seed"] == 0)
        return sections(chosen["values"], chosen["more"], report["baselines"])

    def usage(self, work: Work) -> str:
        """Loading and asking."""
        return (
            "from transformers import AutoProcessor, LlavaForConditionalGeneration\n\n"
            'model = LlavaForConditionalGeneration.from_pretrained("FOLDER")\n'
            'processor = AutoProcessor.from_pretrained("FOLDER")\n'
            'asked = [{"role": "user", "content": [{"type": "image", "image": picture}, '
            '{"type": "text", "text": "What is in this picture, and where?"}]}]\n'
            "inputs = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=True, return_dict=True, "
            'return_tensors="pt")\n'
            "print(processor.decode(model.generate(**inputs, max_new_tokens=128)[0], skip_special_tokens=True))"
        )

    # --- what is shared by the methods above

    def parts(self, work: Work) -> Parts:
        """Its two models' ways with pictures and words, opened once."""
        from distill.vlm.parts import Parts

        if "parts" not in work.memo:
            soft = max((table.tokens for table in self._prompts(work).values()), default=0)
            seen = (self.vision_layers, self.class_token)
            work.memo["parts"] = Parts(
                self._place("vision", work), self._place("language", work), seen, soft, self.max_tokens
            )
        return work.memo["parts"]

    def _place(self, setting: str, work: Work) -> tuple[str, str | None]:
        from limbeck import models

        spec = work.spec(setting)
        return models.located(spec, work.recipe.folder), spec.revision

    def _prompts(self, work: Work) -> dict[str, AdapterTable]:
        """Phases that tune a prompt."""
        found = {phase: work.recipe.train.phase(phase).adapter for phase in self.phases}
        return {phase: table for phase, table in found.items() if table is not None and table.kind == "prompt"}

    def _common(self, work: Work) -> Any:
        from distill.vlm.joined import tokenizer_of
        from distill.vlm.vocabulary import shared

        if "common" not in work.memo:
            names = tuple(work.spec(s).id for s in ("language", "teacher"))
            theirs = tokenizer_of(*self._place("teacher", work))
            work.memo["common"] = shared(self.parts(work).words.tokenizer, theirs, names)
        return work.memo["common"]

    def _conversations(self, item: Item, work: Work) -> list[Conversation]:
        """Of a row: one for the label, one for the teacher's answer; one for both, where they are the same."""
        from distill.vlm.conversations import conversations

        learnt = item.labelled and "answers" in work.terms, "tokens" in work.terms
        return conversations(item, self.parts(work), *learnt, own=self.teacher_on == "own")

    def _said(
        self,
        model: nn.Module,
        rows: Sequence[dict[str, Any]],
        how: Literal["seen", "blind", "grey", "shuffled"],
        work: Work,
    ) -> np.ndarray:
        """(N,) of str; empty where a row shows too many pictures."""
        from distill.vlm import asking

        chosen = [n for n, row in enumerate(rows) if len(pictures_of(row["messages"])) <= self.max_pictures]
        own, said = [rows[n] for n in chosen], np.full(len(rows), "", object)
        longest = [self.closed_tokens if asking.is_closed(row) else self.answer_tokens for row in own]
        questions = asking.asked(own, how)
        said[chosen] = asking.answers(model, self.parts(work).words, self.parts(work).pixels, questions, longest)
        return said

    def _nll(self, model: nn.Module, rows: Sequence[dict[str, Any]], work: Work) -> tuple[np.ndarray, np.ndarray]:
        """(N,) negative log-likelihood of each row's own answers, and (N,) how many tokens those have."""
        from distill.views import View
        from distill.vlm.collating import likelihood

        labels, rng = work.with_(terms={"answers": 1.0}), np.random.default_rng(0)
        found = [
            (n, c)
            for n, row in enumerate(rows)
            for c in self._conversations(Item(row, None, View(), True, rng), labels)
        ]
        nll, tokens = np.zeros(len(rows)), np.zeros(len(rows))
        at = [n for n, _ in found]
        nll[at], tokens[at] = likelihood(model, self.parts(work).words, self.parts(work).pixels, [c for _, c in found])
        return nll, tokens
