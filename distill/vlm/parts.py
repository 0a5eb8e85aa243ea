"""What a student's two models bring along, each opened when it is first asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from transformers import AutoConfig

from distill.vlm.joined import Sight, pixels_of, words_of

if TYPE_CHECKING:
    from distill.vlm.words import Words
    from limbeck.models.preprocess import Preprocess

Place = tuple[str, str | None]
"""Folder or Hub id, and its revision."""


class Parts:
    """How a student sees and what words it has.

    Attributes:
        sight: of its vision tower.
    """

    def __init__(
        self, vision: Place, language: Place, seen: tuple[tuple[int, ...], bool], soft: int, most_tokens: int
    ) -> None:
        """Opens nothing yet.

        Args:
            vision: of the tower.
            language: of the language model.
            seen: layers of the tower, and whether its class token is seen.
            soft: tokens of the prompt that a phase tunes; every phase sees them.
            most_tokens: of a row, where the language model takes as many.
        """
        self.sight = Sight(*vision, *seen)
        self._language, self._soft, self._most = language, soft, most_tokens

    @cached_property
    def words(self) -> Words:
        """The language model's tokenizer, told of pictures.

        Raises:
            ModelNotFound: it can't be loaded.
        """
        place, revision = self._language
        return words_of(place, self.sight, revision, self._soft)

    @cached_property
    def pixels(self) -> Preprocess:
        """The tower's preprocessing."""
        return pixels_of(self.sight)

    @cached_property
    def most_tokens(self) -> int:
        """Of a row; longer ones aren't trained on."""
        place, revision = self._language
        config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
        return min(self._most, getattr(config, "max_position_embeddings", None) or self._most)
