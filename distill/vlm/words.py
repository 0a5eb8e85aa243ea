"""Conversations to token ids, with a mark on every id that the student is to learn.

Answers and their end tokens are learnt; system texts, questions, the template's own words and pictures are not. Which
ids those are is found by rendering the conversation up to each answer with the language model's own chat template, so
it is right for any template in which a longer conversation begins like a shorter one, and refused for others.

A picture is `<image>` in the text, and as many `<image>` tokens as the vision tower gives features. With prompt tuning
every conversation begins with soft tokens, behind a begin-of-text token where the template writes one. They are tokens
like others, so every place, mask and cache counts them, and the chat template of a saved student writes them by itself.
Nobody says them: outputs of those rows are left out like rows of padding.

Source: Lester et al. 2021, The Power of Scale for Parameter-Efficient Prompt Tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from limbeck.errors import ModelNotFound, RequestError
from limbeck.turns import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IMAGE = "<image>"
FLATTENED = (
    "{%- set ns = namespace(said=[], text='') -%}"
    "{%- for m in messages -%}"
    "{%- if m['content'] is string -%}{%- set ns.text = m['content'] -%}"
    "{%- else -%}{%- set ns.text = '' -%}"
    "{%- for part in m['content'] -%}"
    "{%- set ns.text = ns.text ~ ('' if loop.first else '\\n') ~ ('<image>' if part['type'] == 'image' else part['text']) -%}"
    "{%- endfor -%}{%- endif -%}"
    "{%- set ns.said = ns.said + [{'role': m['role'], 'content': ns.text}] -%}"
    "{%- endfor -%}"
    "{%- set messages = ns.said -%}"
)
"""Goes before a language model's own chat template: typed blocks become one text, one part a line."""
PLAIN = (
    "{% for m in messages %}{{ m['role'] | upper + ': ' + m['content'] }}"
    "{{ eos_token if m['role'] == 'assistant' else '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}"
)
"""The chat template of a language model that has none."""
SOFT = "<|soft-{}|>"
"""Names of soft tokens, counted from 0."""


def soft_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of a tokenizer's soft tokens, in order; none without prompt tuning."""
    added = tokenizer.get_added_vocab()
    return [added[name] for name in map(SOFT.format, range(len(added))) if name in added]


def sayable(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens can be said: all but the soft ones, which come last."""
    return len(tokenizer) - len(soft_ids(tokenizer))


def begun(template: str, text: str) -> str:
    """A chat template that writes a text first, behind a begin-of-text token where it begins with one.

    >>> from jinja2 import Template
    >>> template = Template(begun("{{ bos_token }}is it", "so "))
    >>> template.render(bos_token="<s>"), template.render()
    ('<s>so is it', 'so is it')
    """
    return (
        "{% set said -%}" + template.removesuffix("\n") + "{% endset %}"
        "{% set first = bos_token if bos_token and said.startswith(bos_token) else '' %}"
        "{{ first + '" + text + "' + said[first | length:] }}"
    )


@dataclass(frozen=True)
class Encoded:
    """A conversation in ids.

    Attributes:
        ids: of the whole conversation.
        learnt: for each id, whether it belongs to an answer or ends one.
    """

    ids: list[int]
    learnt: list[bool]

    def __len__(self) -> int:
        return len(self.ids)


class Words:
    """A language model's tokenizer, told of pictures.

    Attributes:
        tokenizer: with `<image>` among its special tokens, padding on the left, and a template for typed blocks.
        per_picture: tokens of a picture.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, per_picture: int, name: str = "the language model", soft: int = 0
    ) -> None:
        """Takes a language model's tokenizer over, or that of a student that was saved.

        Args:
            tokenizer: is changed.
            per_picture: tokens of a picture.
            name: of the model, for messages.
            soft: tokens that every conversation begins with.

        Raises:
            ModelNotFound: it has no end token.
        """
        self.tokenizer, self.per_picture, self.name = tokenizer, per_picture, name
        if tokenizer.eos_token_id is None:
            raise ModelNotFound("has no end token", expected="a tokenizer with `eos_token`", where=f"model {name}")
        if IMAGE not in tokenizer.get_added_vocab():
            tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]}, replace_extra_special_tokens=False)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        template = tokenizer.chat_template or PLAIN
        if not isinstance(template, str):  # several by name
            template = template.get("default", PLAIN)
        if not template.startswith(FLATTENED):
            soft_text = [SOFT.format(n) for n in range(soft)]
            if soft:
                tokenizer.add_special_tokens(
                    {"additional_special_tokens": soft_text}, replace_extra_special_tokens=False
                )
            template = FLATTENED + (begun(template, "".join(soft_text)) if soft else template)
        tokenizer.chat_template = template
        tokenizer.padding_side = "left"

    @cached_property
    def image_id(self) -> int:
        """Id of `<image>`."""
        return self.tokenizer.convert_tokens_to_ids(IMAGE)

    @cached_property
    def soft_ids(self) -> list[int]:
        """Ids of the soft tokens; no other token has a higher one."""
        return soft_ids(self.tokenizer)

    @property
    def end_id(self) -> int:
        """Id of the token that ends an answer."""
        return self.tokenizer.eos_token_id

    @property
    def pad_id(self) -> int:
        """Id of padding."""
        return self.tokenizer.pad_token_id

    def __len__(self) -> int:
        """Tokens that can be said; a model may have more rows than that, of soft tokens and of padding."""
        return sayable(self.tokenizer)

    def encode(self, messages: Sequence[Message]) -> Encoded:
        """A whole conversation that ends with an answer.

        Args:
            messages: canonical turns, see `limbeck.turns`.

        Raises:
            RequestError: a text holds a control token.
            ModelNotFound: the chat template can't be trained with.
        """
        ids: list[int] = []
        learnt: list[bool] = []
        done = ""
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            asked, whole = self.render(messages[:i], ask=True), self.render(messages[: i + 1])
            end = whole.find(self.tokenizer.eos_token, len(asked))
            if not asked.startswith(done) or not whole.startswith(asked) or end < 0:
                raise self._unfit(asked, whole)
            prompt = self.ids(asked[len(done) :])
            done = whole[: end + len(self.tokenizer.eos_token)]
            answer = self.ids(done[len(asked) :])
            ids += prompt + answer
            learnt += [False] * len(prompt) + [True] * len(answer)
        return Encoded(ids, learnt)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """A conversation that waits for an answer."""
        return self.ids(self.render(messages, ask=True))

    def answer(self, text: str) -> list[int]:
        """An answer and its end token, as `encode` has them."""
        return [*self.ids(text), self.end_id]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without control tokens."""
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def ids(self, text: str) -> list[int]:
        """Ids of a text, each `<image>` as often as a picture has tokens."""
        return self.tokenizer(text.replace(IMAGE, IMAGE * self.per_picture), add_special_tokens=False)["input_ids"]

    def render(self, messages: Sequence[Message], ask: bool = False) -> str:
        """A conversation as one text.

        Args:
            messages: canonical turns.
            ask: ends it where an answer has to begin.

        Raises:
            RequestError: a text holds a control token.
        """
        typed = [{"role": m["role"], "content": [self._part(p) for p in m["content"]]} for m in messages]
        return self.tokenizer.apply_chat_template(typed, tokenize=False, add_generation_prompt=ask)

    def _part(self, part: dict[str, Any]) -> dict[str, str]:
        if part["type"] == "image":
            return {"type": "image"}
        text = part["text"] or ""
        if "<" in text and (held := next((t for t in self._control if t in text), None)):
            raise RequestError(
                f"a text holds {held!r}, a control token of {self.name}: {text[:60]!r}",
                remedy="leave such rows out of the dataset",
            )
        return {"type": "text", "text": text}

    @cached_property
    def _control(self) -> tuple[str, ...]:
        return tuple(self.tokenizer.all_special_tokens)

    def _unfit(self, asked: str, whole: str) -> ModelNotFound:
        return ModelNotFound(
            f"its chat template makes {whole[-80:]!r} of a conversation, and {asked[-80:]!r} of its beginning",
            expected=f"that the one begins like the other, and that an answer ends with {self.tokenizer.eos_token!r}",
            where=f"model {self.name}",
            remedy="take an instruction-tuned model whose template keeps earlier turns as they are",
        )
