"""The roles a model can play, as protocols: what a stage may ask for, whichever backend answers.

A stage names a model (`run.model(self.painter)`) and talks to one of these protocols. Backends live beside
this file, one a file; they import their heavy libraries only when they are built. `limbeck.models.load` turns
a `ModelSpec` of the recipe into a backend.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from PIL import Image

Role = Literal["chat", "image", "edit", "score", "detect", "segment"]


@dataclass(frozen=True)
class Usage:
    """What one chat answer cost. `cost` is None where the recipe gives no price; it is never guessed."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


@dataclass(frozen=True)
class ChatAnswer:
    """One answer of a chat model: its text, why it ended (`stop`, `length`, ...) and what it cost."""

    text: str
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    model: str = ""


@runtime_checkable
class ChatModel(Protocol):
    """Writes text from messages of the form `{"role": ..., "content": str | list of typed blocks}`."""

    fingerprint: str
    """Changes when other weights, endpoint or decoding would answer: it enters the key of every part."""
    sees: bool
    """Whether `image_url` blocks (data URLs) may appear in messages."""

    async def complete(
        self,
        messages: list[dict[str, Any]],
        *,
        schema: dict[str, Any] | None = None,
        temperature: float = 0.7,
        max_tokens: int = 256,
        seed: int | None = None,
    ) -> ChatAnswer:
        """Answers one conversation; many may be awaited at once, the backend batches or bounds them itself.

        Args:
            messages: the conversation.
            schema: JSON schema of the answer; sent where the server has structured output, never relied on.
            temperature: 0 means greedy.
            max_tokens: upper bound of the answer's length, in tokens.
            seed: makes a sampled answer repeatable where the backend can.

        Raises:
            limbeck.errors.ModelError: the endpoint or model failed after its own inline retries.
        """
        ...


@dataclass(frozen=True)
class PairRequest:
    """One before/after pair to render.

    Attributes:
        source_prompt: caption of the before picture.
        target_prompt: caption of the after picture.
        seed: 64-bit; all noise of the pair comes from it, whatever batch it is in.
        shared_fraction: the p of InstructPix2Pix, share of the steps with shared self-attention, in [0, 1].
        guidance_scale: classifier-free guidance scale; 1 or less means without.
    """

    source_prompt: str
    target_prompt: str
    seed: int
    shared_fraction: float
    guidance_scale: float


@runtime_checkable
class ImageModel(Protocol):
    """Renders pictures from text, one by one or as pairs that share noise and self-attention."""

    fingerprint: str
    size: int
    """Side of the square pictures it renders by default, in pixels."""

    def check_prompt(self, prompt: str) -> str | None:
        """Why this prompt is outside what the model can do (too long, outside its world), or None."""
        ...

    def render(self, prompts: list[str], seeds: list[int], *, guidance_scale: float, steps: int) -> list[Image.Image]:
        """Renders each prompt to one RGB picture of `size` x `size`."""
        ...

    def render_pairs(self, requests: list[PairRequest], *, steps: int) -> list[tuple[Image.Image, Image.Image]]:
        """Renders each request to (before, after), RGB; a pair's pixels don't depend on its batch (within 1/255)."""
        ...


@dataclass(frozen=True)
class EditRequest:
    """One picture to edit.

    Attributes:
        image: RGB, of any size.
        instruction: what to change.
        seed: 64-bit; all noise of the edit comes from it, whatever batch it is in.
    """

    image: Image.Image
    instruction: str
    seed: int


@runtime_checkable
class EditModel(Protocol):
    """Edits pictures as instructions say."""

    fingerprint: str
    size: int
    """Side of a square picture as it edits it, in pixels; other shapes keep their proportions."""

    def check_instruction(self, instruction: str) -> str | None:
        """Why this instruction is outside what the model can do (too long, outside its world), or None."""
        ...

    def edit(
        self,
        requests: Sequence[EditRequest],
        *,
        steps: int | None = None,
        guidance_scale: float | None = None,
        image_guidance_scale: float | None = None,
    ) -> list[Image.Image]:
        """Edits each picture; steps and scales are the model's own where they aren't given."""
        ...


@runtime_checkable
class ScoreModel(Protocol):
    """Embeds pictures and texts into one space."""

    fingerprint: str

    def embed_images(self, images: list[Image.Image]) -> np.ndarray:
        """(N, D) float32, rows of unit length."""
        ...

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """(N, D) float32, rows of unit length; text past the model's token limit is cut."""
        ...

    def truncated(self, texts: list[str]) -> list[bool]:
        """Which texts are longer than the model reads."""
        ...


@dataclass(frozen=True)
class Found:
    """A thing that a detector found.

    Attributes:
        name: one of those that were asked for.
        box: (x0, y0, x1, y1) as shares of width and height, from the top left.
        score: in [0, 1].
    """

    name: str
    box: tuple[float, float, float, float]
    score: float


@runtime_checkable
class DetectModel(Protocol):
    """Finds things by their names."""

    fingerprint: str

    def detect(self, image: Image.Image, names: Sequence[str], *, min_score: float) -> list[Found]:
        """Things of these names in an RGB picture, the surest first; each box has the name that fits it best."""
        ...


@runtime_checkable
class SegmentModel(Protocol):
    """Finds the pixels of what is in a box."""

    fingerprint: str

    def segment(self, image: Image.Image, boxes: Sequence[Sequence[float]]) -> np.ndarray:
        """(N, H, W) bool, the pixels of the thing in each box of an RGB picture; boxes as `Found` has them."""
        ...
