"""A chat model describes each picture in detail from captions and boxes: LLaVA's second type."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from limbeck.questions.written import VisualWriter, text_field
from limbeck.stage import settings

REQUESTS = {
    "en": (
        "Describe this picture in detail.",
        "What does the picture show? Leave nothing out.",
        "Give a thorough account of what can be seen here.",
        "Please describe everything you see in this picture.",
        "Walk me through this scene.",
        "What is in this picture, and where?",
    ),
    "ko": (
        "이 그림을 자세히 설명해 주세요.",
        "그림에 무엇이 어디에 있는지 빠짐없이 말해 주세요.",
        "보이는 것을 모두 이야기해 주세요.",
        "이 장면이 어떤 모습인지 하나하나 알려 주세요.",
        "그림을 보지 못하는 사람에게 들려주듯 묘사해 주세요.",
    ),
}
"""How a description is asked for; drawn at random, as the writer writes the answer alone."""


@settings
class VisualDescriptions(VisualWriter):
    """Writes a detailed description of each picture; the request for it is drawn from a pool."""

    name: ClassVar = "visual_descriptions"
    version: ClassVar = 2
    task: ClassVar = "description"

    prompt: str = (Path(__file__).parent / "prompts" / "visual_descriptions.txt").read_text(encoding="utf-8")

    def turns_of(self, found: dict[str, Any], language: str, rng: Any) -> list[tuple[str, str]]:
        """The request and the description."""
        (description,) = text_field(found, "description")
        requests = REQUESTS[language]
        return [(requests[int(rng.integers(len(requests)))], description)]
