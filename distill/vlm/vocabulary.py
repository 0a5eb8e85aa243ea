"""Whether a teacher's tokens are the student's, found from both tokenizers before anything is computed.

Rows of an embedding matrix are no tokens: Qwen2.5's models have 151,936 or 152,064 rows for the same 151,665 tokens.
What counts is that equal ids stand for equal texts, as far as both go on alike, and that everything an answer can be
made of lies in that common part. Control tokens behind it may differ; each side's end token is taken for the other's.
Soft tokens of prompt tuning are never part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from distill.vlm.words import soft_ids
from limbeck.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEQUENCE_LEVEL = (
    "let it write the answers instead (the stages visual_conversations, visual_descriptions, visual_reasoning), and take"
    " them as labels: that needs no common vocabulary"
)


@dataclass(frozen=True)
class Shared:
    """The common part of two vocabularies.

    Attributes:
        size: ids below it stand for the same tokens on both sides.
        end: the student's end token.
        teacher_end: the teacher's.
    """

    size: int
    end: int
    teacher_end: int


class VocabulariesDiffer(RequestError):
    """A teacher's tokens aren't the student's.

    Attributes:
        at: the first id that stands for something else.
    """

    def __init__(self, at: int, found: str) -> None:
        self.at = at
        super().__init__(found, expected="one vocabulary", where="student.teacher", remedy=SEQUENCE_LEVEL)


def shared(student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase, names: tuple[str, str]) -> Shared:
    """The common part of two tokenizers' vocabularies.

    Args:
        student: with the picture's token already added.
        teacher: its.
        names: of both, for messages.

    Raises:
        VocabulariesDiffer: an answer's tokens aren't all in the common part.
    """
    own, theirs = _by_id(student), _by_id(teacher)
    size = common_part(own, theirs)
    for tokens, tokenizer in ((own, student), (theirs, teacher)):
        added = {*tokenizer.get_added_vocab().values()}
        words = [i for i in tokens if i >= size and i not in added]
        if words:
            said = [repr(t[size]) if size in t else "nothing" for t in (own, theirs)]
            raise VocabulariesDiffer(
                size,
                f"token {size} is {said[0]} to {names[0]} and {said[1]} to {names[1]}; they have {len(own):,} and"
                f" {len(theirs):,} tokens",
            )
    if student.eos_token_id is None or teacher.eos_token_id is None or student.eos_token_id >= size:
        raise VocabulariesDiffer(size, f"the end token {student.eos_token!r} of {names[0]} isn't in the common part")
    return Shared(size, student.eos_token_id, teacher.eos_token_id)


def common_part(own: Mapping[int, str], theirs: Mapping[int, str]) -> int:
    """The first id that stands for something else, or for nothing on either side.

    >>> common_part({0: "a", 1: "b", 2: "<image>"}, {0: "a", 1: "b", 2: "<pad>", 3: "<image>"})
    2
    """
    size = 0
    while size in own and own[size] == theirs.get(size):
        size += 1
    return size


def _by_id(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    soft = {*soft_ids(tokenizer)}
    return {number: token for token, number in tokenizer.get_vocab().items() if number not in soft}
