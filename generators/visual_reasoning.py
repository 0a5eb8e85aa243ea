"""A chat model writes a question that takes thought, and its answer, for each picture: LLaVA's third type."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from limbeck.questions.written import VisualWriter, text_field
from limbeck.stage import settings


@settings
class VisualReasoning(VisualWriter):
    """Writes one question of reason, consequence or plan about each picture, with an answer that names its evidence."""

    name: ClassVar = "visual_reasoning"
    version: ClassVar = 2
    task: ClassVar = "reasoning"

    prompt: str = (Path(__file__).parent / "prompts" / "visual_reasoning.txt").read_text(encoding="utf-8")

    def turns_of(self, found: dict[str, Any], language: str, rng: Any) -> list[tuple[str, str]]:
        """The question and the answer."""
        question, answer = text_field(found, "question", "answer")
        return [(question, answer)]
