"""A chat model writes a conversation about each picture from captions and boxes: LLaVA's first type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from limbeck.questions.written import Rejected, VisualWriter, text_field
from limbeck.stage import settings


@settings
class VisualConversations(VisualWriter):
    """Writes conversations of several turns about each picture.

    What LLaVA calls the conversation type, with boxes in the context, so that counts and places are tied to geometry.
    """

    name: ClassVar = "visual_conversations"
    version: ClassVar = 2
    task: ClassVar = "conversation"

    prompt: str = (Path(__file__).parent / "prompts" / "visual_conversations.txt").read_text(encoding="utf-8")
    min_turns: Annotated[int, Field(ge=1)] = 2
    """Fewer questions than this are too few."""
    max_turns: Annotated[int, Field(ge=1)] = 8
    """Turns beyond are cut off."""

    def turns_of(self, found: dict[str, Any], language: str, rng: Any) -> list[tuple[str, str]]:
        """The turns."""
        turns = found.get("turns")
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            raise Rejected("malformed", 'expected an object with "turns", a list of questions and answers')
        pairs = [tuple(text_field(turn, "question", "answer")) for turn in turns]
        if len({question for question, _ in pairs}) < self.min_turns:
            raise Rejected(
                "too_few_turns", f"{len(pairs)} turns where at least {self.min_turns} different ones are wanted"
            )
        return pairs[: self.max_turns]  # type: ignore[return-value]
