"""A teacher that sees: what it would answer, and its likeliest tokens at every place of the answer.

For each row, once:

    answer_ids     (n,)    the answer, in the student's ids, with its end token
    top_ids        (n, k)  the k likeliest tokens at each of its places, distinct
    top_logprobs   (n, k)  their log-probabilities at T = 1, over the whole common vocabulary
    tail           (n,)    log of the mass of all other tokens

`of = "own"`: the answer is the teacher's own, greedy; the row's answer isn't looked at, so a row need have none.
`of = "rows"`: the answers are the row's, turn by turn, and the teacher is asked how likely each token was.

Any image-text-to-text model of transformers can teach, through its own processor and chat template; its tokens have to
be the student's (`distill.vlm.vocabulary`). Rows of its output past the common vocabulary are padding, or control
tokens that no answer holds: they are left out before anything is normalised.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from distill.teacher import Teacher, fingerprint, model_name, ragged
from distill.views import View
from distill.vlm import asking
from distill.vlm.vocabulary import Shared
from distill.vlm.words import Words, sayable
from limbeck import models
from limbeck.errors import ModelNotFound
from limbeck.models.spec import ModelSpec
from limbeck.turns import in_order

if TYPE_CHECKING:
    import torch

ANSWER, TOP, LOGPROBS, TAIL = "answer_ids", "top_ids", "top_logprobs", "tail"
Of = Literal["own", "rows"]
_BATCH = 32
_SHORT = 2**15


class TopTokens(Teacher):
    """Gives the four columns above.

    Facts: `parameters`, and `vocabulary`, the size of the common part.
    """

    def __init__(
        self, spec: ModelSpec, folder: Path, words: Words, common: Shared, *, k: int, of: Of, longest: int
    ) -> None:
        """Knows the model; doesn't load it.

        Args:
            spec: the model.
            folder: what relative model folders are relative to.
            words: of the student.
            common: of both vocabularies.
            k: how many of the likeliest tokens are kept.
            of: whose answers.
            longest: most tokens of an answer of its own.
        """
        known = fingerprint(spec, folder)
        self.name = f"{model_name(spec, folder, known['weights'])}-{of}"
        self.fingerprint = known | {"asking": f"{of} {longest} {common}"}
        ids = "int16" if common.size <= _SHORT else "int32"
        k = min(k, common.size - 1)
        self.columns = (ragged(ANSWER, (), ids), ragged(TOP, (k,), ids), ragged(LOGPROBS, (k,)), ragged(TAIL))
        self.reads = ("messages", "images")
        self._spec, self._folder, self._words, self._common = spec, folder, words, common
        self._k, self._of, self._longest = k, of, longest
        self._model: Any = None

    def load(self) -> None:
        """Loads model and processor.

        Raises:
            ModelNotFound: it can't be loaded, or has no chat template.
        """
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from limbeck.models.weights import require_safetensors

        place, revision = models.located(self._spec, self._folder), self._spec.revision
        require_safetensors(place, revision)
        device = self._spec.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "float32" if self._spec.dtype == "auto" else self._spec.dtype
        try:
            self._processor = AutoProcessor.from_pretrained(place, revision=revision, trust_remote_code=False)
            model = AutoModelForImageTextToText.from_pretrained(
                place, revision=revision, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ModelNotFound(
                f"doesn't load: {error}", expected="an image-text-to-text model", where=f"model {place}"
            ) from error
        if not self._processor.chat_template:
            raise ModelNotFound("has no chat template", where=f"model {place}")
        self._processor.tokenizer.padding_side = "left"
        self._model = model.to(device).eval().requires_grad_(False)

    def unload(self) -> None:
        """Frees its memory, on the device too."""
        self._model = self._processor = None
        gc.collect()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def facts(self) -> dict[str, Any]:
        """Sizes."""
        return {"parameters": sum(p.numel() for p in self._model.parameters()), "vocabulary": self._common.size}

    def targets(self, rows: Sequence[dict[str, Any]], views: Sequence[View]) -> dict[str, Any]:
        """Answers and likeliest tokens; views are of whole pictures."""
        found: dict[str, list[Any]] = {f.name: [None] * len(rows) for f in self.columns}
        size = self._spec.batch_size or _BATCH
        order = sorted(range(len(rows)), key=lambda n: len(str(rows[n]["messages"])))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            told = (self._own if self._of == "own" else self._of_rows)([rows[n] for n in chosen])
            for n, columns in zip(chosen, told, strict=True):
                for name, value in columns.items():
                    found[name][n] = value
        return found

    def _own(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Its own answers, read again token by token."""
        import torch

        questions = [asking.question(row) for row in rows]
        inputs = self._inputs([q.messages for q in questions], [q.images for q in questions])
        with torch.inference_mode():
            said = self._model.generate(
                **inputs,
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=self._longest,
                pad_token_id=self._pad,
                suppress_tokens=asking.rows_of_padding(self._model, sayable(self._processor.tokenizer)),
            )[:, inputs["input_ids"].shape[1] :].tolist()
        answers = [self._cut(tokens) for tokens in said]
        return self._read(inputs, answers)

    def _cut(self, tokens: list[int]) -> list[int]:
        """An answer up to its end token, in the teacher's ids; what isn't in the common vocabulary ends it too."""
        for n, token in enumerate(tokens):
            if token == self._common.teacher_end:
                return tokens[: n + 1]
            if token >= self._common.size:
                return tokens[:n]
        return tokens

    def _of_rows(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows' own answers: one reading for each turn, put behind each other."""
        jobs: list[tuple[int, list[Any], list[bytes], list[int]]] = []
        for n, row in enumerate(rows):
            messages, images = in_order(row["messages"], row["images"])
            for i, message in enumerate(messages):
                if message["role"] == "assistant":
                    shown = sum(p["type"] == "image" for m in messages[:i] for p in m["content"])
                    text = " ".join(p["text"] for p in message["content"] if p["type"] == "text")
                    ids = [*self._words.ids(text), self._common.teacher_end]
                    jobs.append((n, messages[:i], images[:shown], ids))
        told: list[list[dict[str, Any]]] = [[] for _ in rows]
        size = self._spec.batch_size or _BATCH
        for start in range(0, len(jobs), size):
            part = jobs[start : start + size]
            inputs = self._inputs([job[1] for job in part], [job[2] for job in part])
            for (n, *_), columns in zip(part, self._read(inputs, [job[3] for job in part]), strict=True):
                told[n].append(columns)
        return [{name: np.concatenate([turn[name] for turn in turns]) for name in turns[0]} for turns in told]

    def _inputs(self, conversations: Sequence[Any], pictures: Sequence[Sequence[bytes]]) -> dict[str, torch.Tensor]:
        """Prompts padded on the left, and what the vision tower needs."""
        texts = [
            self._processor.apply_chat_template(
                [
                    {
                        "role": m["role"],
                        "content": [
                            {"type": "image"} if p["type"] == "image" else {"type": "text", "text": p["text"] or ""}
                            for p in m["content"]
                        ],
                    }
                    for m in messages
                ],
                add_generation_prompt=True,
                tokenize=False,
            )
            for messages in conversations
        ]
        shown = [[asking.picture(data, "") for data in images] for images in pictures]
        found = self._processor(
            text=texts,
            images=[images for images in shown if images] or None,
            padding=True,
            add_special_tokens=False,
            return_tensors="pt",
        )
        device, dtype = self._model.device, self._model.dtype
        return {k: v.to(device, dtype) if v.is_floating_point() else v.to(device) for k, v in found.items()}

    @property
    def _pad(self) -> int:
        tokenizer = self._processor.tokenizer
        return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    def _read(self, inputs: dict[str, torch.Tensor], answers: Sequence[list[int]]) -> list[dict[str, Any]]:
        """The likeliest tokens at every place of these answers, one forward pass."""
        import torch

        prompts, width = inputs["input_ids"], max(1, max(map(len, answers)))
        behind = torch.full((len(answers), width), self._pad, device=prompts.device)
        there = torch.zeros_like(behind)
        for n, ids in enumerate(answers):
            behind[n, : len(ids)] = torch.tensor(ids, device=prompts.device)
            there[n, : len(ids)] = 1
        longer = dict(inputs)
        for name, value in inputs.items():  # token types and the like grow with the ids
            if value.shape[:2] == prompts.shape:
                longer[name] = torch.cat([value, torch.zeros_like(behind).to(value.dtype)], 1)
        longer["input_ids"] = torch.cat([prompts, behind], 1)
        longer["attention_mask"] = torch.cat([inputs["attention_mask"], there.to(inputs["attention_mask"].dtype)], 1)
        with torch.inference_mode():
            logits = self._model(**longer, logits_to_keep=width + 1).logits[:, :-1]
            told = top_tokens(logits, self._k, self._common)
        return [
            {
                ANSWER: np.array([self._common.end if i == self._common.teacher_end else i for i in ids], np.int64),
                TOP: told[0][n, : len(ids)].cpu().numpy(),
                LOGPROBS: told[1][n, : len(ids)].float().cpu().numpy(),
                TAIL: told[2][n, : len(ids)].float().cpu().numpy(),
            }
            for n, ids in enumerate(answers)
        ]


def top_tokens(logits: torch.Tensor, k: int, common: Shared) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The likeliest tokens over the common vocabulary, with the mass of all others.

    Args:
        logits: (..., V) of the teacher; rows past the common vocabulary are left out.
        k: how many.
        common: of both vocabularies; where the end tokens differ, the mass of the teacher's goes to the student's.

    Returns:
        ids (..., k), log-probabilities (..., k) and the log of the rest (...,), float32.
    """
    import torch

    logits = logits.float()
    known = logits[..., : common.size].clone()
    if common.teacher_end != common.end:
        known[..., common.end] = torch.logaddexp(known[..., common.end], logits[..., common.teacher_end])
        if common.teacher_end < common.size:
            known[..., common.teacher_end] = -torch.inf
    logprobs = known - known.logsumexp(-1, keepdim=True)
    top, ids = logprobs.topk(k, -1)
    tail = logprobs.scatter(-1, ids, -torch.inf).logsumexp(-1)
    return ids, top, tail
