"""The chat role in process, through transformers: any causal language model, or a model that sees.

    complete ──> waiting ──(a few ms)──> sorted by length, cut into batches ──> generate, in a thread ──> ChatAnswer

Requests that arrive together are answered together. Each row samples with numbers drawn from its own seed, so its
answer doesn't depend on the rows beside it, up to rounding of the logits. Miniatures run in float64 on the CPU,
where that rounding is too small to matter: asked again in other company, they give the same text.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    LogitsProcessorList,
)
from transformers.utils import cached_file

from limbeck.errors import ModelError, ModelNotFound, one_line
from limbeck.models.quiet import quiet
from limbeck.models.roles import ChatAnswer, Usage
from limbeck.models.seeded_tokens import SeededSampling
from limbeck.models.weights import require_all_weights, require_safetensors, weights_name

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.models.spec import ModelSpec

_GATHER_S = 0.005
"""How long the first request waits for company, in seconds; rows of one part arrive well within it."""


@dataclass
class _Request:
    messages: list[dict[str, Any]]
    length: int
    temperature: float
    max_tokens: int
    seed: int
    answer: asyncio.Future[ChatAnswer]


class TransformersChat:
    """A language model loaded from a folder or a Hub id, with its own chat template.

    Attributes:
        fingerprint: weights and dtype.
        sees: whether it takes pictures.
        world: what a miniature knows (`world.json` of its folder), else empty.
        prompt_style: `short` for a miniature, else `full`.
    """

    def __init__(
        self,
        folder_or_id: str | Path,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        sees: bool = False,
        max_batch: int | None = None,
    ) -> None:
        """Loads weights and tokenizer.

        Args:
            folder_or_id: a local folder, or a Hub id.
            revision: branch, tag or commit of a Hub id.
            dtype: a torch dtype's name; `auto` is float64 for a miniature on the CPU, else what the weights have.
            device: a torch device; `auto` is the first GPU, else the CPU.
            sees: loads an image-text-to-text model and its processor; a miniature's `world.json` says it too.
            max_batch: most rows generated together, by default 128 of a miniature, else 32; halved by itself when
                memory runs out.

        Raises:
            ModelNotFound: no such model, or not one of this kind, or one without a chat template.
            UnsafeWeights: there are only pickled weights.
        """
        require_safetensors(folder_or_id, revision)
        self.name, world = str(folder_or_id), Path(folder_or_id) / "world.json"
        self.world: dict[str, Any] = json.loads(world.read_text(encoding="utf-8")) if world.is_file() else {}
        self.sees = sees = sees or self.world.get("sees", False)
        self.prompt_style = self.world.get("prompt_style", "short") if self.world else "full"
        self.max_batch = max_batch or (128 if self.world else 32)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if dtype == "auto" and self.world and device == "cpu":
            dtype = "float64"
        hub = {"revision": revision, "trust_remote_code": False}
        wanted = "an image-text-to-text model" if sees else "a causal language model"
        try:
            with quiet():
                AutoConfig.from_pretrained(self.name, **hub)  # says whether transformers knows such a model at all
                reader = (AutoProcessor if sees else AutoTokenizer).from_pretrained(self.name, **hub)
                self._model, loaded = (AutoModelForImageTextToText if sees else AutoModelForCausalLM).from_pretrained(
                    self.name, dtype=dtype, use_safetensors=True, output_loading_info=True, **hub
                )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            no_tokenizer = "instantiate the backend tokenizer" in str(error)
            found = "has no tokenizer that loads" if no_tokenizer else f"doesn't load: {one_line(error)}"
            raise ModelNotFound(found, expected=wanted, where=f"model {self.name!r}") from error
        require_all_weights(loaded, f"model {self.name!r}", wanted)
        if not reader.chat_template:
            raise ModelNotFound(
                "has no chat template", expected="an instruction-tuned (chat) model", where=f"model {self.name!r}"
            )
        self._processor, self._tokenizer = (reader, reader.tokenizer) if sees else (None, reader)
        self._model.to(device).eval().requires_grad_(False)
        snapshot = Path(cached_file(self.name, "config.json", revision=revision)).parent
        self.fingerprint = f"chat:{weights_name(folder_or_id, snapshot)}:{self._model.dtype}"
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._waiting: list[_Request] = []
        self._worker: asyncio.Task[None] | None = None

    @classmethod
    def from_spec(cls, spec: ModelSpec) -> TransformersChat:
        """The backend of a recipe's folder, Hub id or `mini:` name."""
        return cls(
            spec.id,
            revision=spec.revision,
            dtype=spec.dtype,
            device=spec.device,
            sees=spec.sees,
            max_batch=spec.batch_size,
        )

    def check_prompt(self, text: str) -> str | None:
        """Why this text can't be put to the model, or None: control tokens, words outside a miniature's world.

        >>> chat.check_prompt("a zebra by the sea")  # doctest: +SKIP
        "'zebra' is not a word of this miniature's world"
        """
        if control := next((token for token in self._tokenizer.all_special_tokens if token in text), None):
            return f"it holds {control!r}, a control token of the model"
        if not self.world:
            return None
        limit = self.world.get("max_caption_chars")
        if limit is not None and len(text) > limit:
            return f"{len(text)} characters; this miniature reads at most {limit}"
        if known := self._words:
            said = text.lower().replace(",", " ").replace(".", " ").split()
            unknown = next((word for word in said if word not in known), None)
            return None if unknown is None else f"{unknown[:40]!r} is not a word of this miniature's world"
        unk = self._tokenizer.unk_token_id
        if unk is not None and unk in self._tokenizer(text, add_special_tokens=False)["input_ids"]:
            return "it has words that this miniature never saw"
        return None

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(self.world.get("words", ()))

    async def complete(
        self,
        messages: list[dict[str, Any]],
        *,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.7,
        max_tokens: int = 256,
        seed: int | None = None,
    ) -> ChatAnswer:
        """Answers one conversation (see `ChatModel.complete`); `schema` is left to the caller's validation.

        Raises:
            ModelError: the conversation and `max_tokens` together exceed the model's context, or it holds a picture
                for a model that doesn't see.
        """
        length = 0 if self.sees else self._count(messages)
        limit = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and length + max_tokens > limit:
            raise ModelError(
                f"{length} tokens of conversation and {max_tokens} for the answer",
                expected=f"at most {limit} together",
                where=f"model {self.name!r}",
                remedy="lower `max_tokens` or shorten the prompt",
            )
        loop = asyncio.get_running_loop()
        request = _Request(messages, length, temperature, max_tokens, seed or 0, loop.create_future())
        self._waiting.append(request)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return await request.answer

    def _count(self, messages: list[dict[str, Any]]) -> int:
        """Tokens of a conversation."""
        if any(not isinstance(message["content"], str) for message in messages):
            raise ModelError(
                "a picture", expected="text alone", where=f"model {self.name!r}", remedy="set `sees = true` if it sees"
            )
        return len(self._tokenizer(self._render(messages), add_special_tokens=False)["input_ids"])

    def _render(self, messages: list[dict[str, Any]]) -> str:
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    async def _work(self) -> None:
        """Answers whatever waits, until nothing does."""
        while self._waiting:
            await asyncio.sleep(_GATHER_S)
            todo, self._waiting = sorted(self._waiting, key=lambda request: request.length), []
            while todo:
                batch, todo = todo[: self.max_batch], todo[self.max_batch :]
                try:
                    answers = await asyncio.to_thread(self._generate, batch)
                except torch.OutOfMemoryError:
                    if self.max_batch > 1 and len(batch) > 1:
                        torch.cuda.empty_cache()
                        self.max_batch = max(1, len(batch) // 2)
                        todo = batch + todo
                        continue
                    answers = [ModelError(f"model {self.name!r}: out of memory with one row")] * len(batch)
                except Exception as error:  # whatever it is, it belongs to those who wait for an answer
                    answers = [error] * len(batch)
                for request, answer in zip(batch, answers, strict=True):
                    if request.answer.done():  # its row was given up meanwhile
                        continue
                    if isinstance(answer, Exception):
                        request.answer.set_exception(answer)
                    else:
                        request.answer.set_result(answer)

    @torch.inference_mode()
    def _generate(self, batch: list[_Request]) -> list[ChatAnswer]:
        inputs = self._encode([request.messages for request in batch]).to(self._model.device)
        steps = max(request.max_tokens for request in batch)
        start = inputs["input_ids"].shape[1]
        sampler = SeededSampling(
            temperatures=[request.temperature for request in batch],
            seeds=[request.seed for request in batch],
            steps=steps,
        )
        tokens = self._model.generate(
            **inputs,
            do_sample=False,  # the sampler leaves one token to choose
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=steps,
            logits_processor=LogitsProcessorList([sampler]),
            pad_token_id=self._tokenizer.pad_token_id,
        )[:, start:].tolist()
        prompts = inputs["attention_mask"].sum(dim=1).tolist()
        return [self._answer(row[: r.max_tokens], n) for row, r, n in zip(tokens, batch, prompts, strict=True)]

    @cached_property
    def _ends(self) -> frozenset[int]:
        ends = self._model.generation_config.eos_token_id
        return frozenset(ends if isinstance(ends, list) else [ends])

    def _answer(self, tokens: list[int], prompt_tokens: int) -> ChatAnswer:
        end = next((i for i, token in enumerate(tokens) if token in self._ends), None)
        text = self._tokenizer.decode(tokens[:end], skip_special_tokens=True)
        written = len(tokens) if end is None else end + 1
        return ChatAnswer(text, "length" if end is None else "stop", Usage(prompt_tokens, written, 0.0), self.name)

    def _encode(self, conversations: list[list[dict[str, Any]]]) -> Any:
        """Token ids and attention mask (B, T), padded on the left; and what the vision tower needs."""
        if not self.sees:
            texts = [self._render(messages) for messages in conversations]
            return self._tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        return self._processor.apply_chat_template(
            [[_with_pictures(message) for message in messages] for messages in conversations],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )


def _with_pictures(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its `image_url` data URLs decoded, in the form that processors read."""
    if isinstance(message["content"], str):
        return message | {"content": [{"type": "text", "text": message["content"]}]}
    blocks = [
        {"type": "image", "image": _decode(block["image_url"]["url"])} if block["type"] == "image_url" else block
        for block in message["content"]
    ]
    return message | {"content": blocks}


def _decode(url: str) -> Image.Image:
    from PIL import Image

    head, _, data = url.partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        raise ModelError(f"image_url {url[:40]!r}", expected="data:image/...;base64,...")
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
