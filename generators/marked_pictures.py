"""Draws numbered marks into pictures (Set-of-Mark) and asks questions that use the numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import Field, field_validator

from limbeck.marks import draw as draw_marks
from limbeck.marks import place
from limbeck.pictures import Fault, decode, png
from limbeck.questions.ask import Ask
from limbeck.questions.numbered import DRAWERS, OF_PHOTOS
from limbeck.questions.photo import PhotoView, masks_of
from limbeck.questions.program import Ambiguous, answer
from limbeck.questions.rows import check_shares, draw, question_row
from limbeck.questions.view import View
from limbeck.questions.wording import LANGUAGES, Form
from limbeck.records import columns
from limbeck.stage import Drop, Generator, Row, Run, settings
from limbeck.storybook import Scene

_TRIES = 6


@settings
class MarkedPictures(Generator):
    """Asks about the numbers drawn into each picture; the clean copy goes along in `clean_images`.

    A mark lies wholly on the thing it numbers, marks never touch, and numbers are dealt at random. A thing without
    room for a legible number has none and is never asked about. Of storybook scenes the masks are exact; of other pictures
    they come from `mask_image` (COCO's polygons, or the stage `object_masks`), and questions are about names and places
    alone. A name that two things of a picture have is never taken for one of them; what isn't annotated isn't asked
    about.

    Source: SoM-LLaVA (arXiv 2404.16375) trains on marked copies beside clean pictures, and is tested on clean ones.

    Attributes:
        of: `scenes` draws pictures of storybook scenes; `masks` marks the rows' own pictures by boxes and masks.
        per_scene: questions for each picture, at most.
        languages: share of each language; by default both of scenes, English of other pictures.
        forms: share of short answers, sentences and multiple choices.
        size_px: side of the pictures drawn; below 160 px small things have no room for a mark.
        vocabulary: of other pictures, names that a wrong option or a negative may use besides the picture's own; in
            Korean those that `korean_names` has.
        korean_names: of other pictures, each name in Korean; pictures with a name that isn't there are asked about in
            English, or not at all where English has no share.
    """

    name: ClassVar = "marked_pictures"
    version: ClassVar = 3
    writes: ClassVar = columns(
        "clean_images", "messages", "images", "question_type", "template", "language", "answer_type", "answer_value",
        "program", "options", "scenes", "boxes", "marks", "pair_id", "image_hashes",
    )  # fmt: skip
    reasons: ClassVar = ("not_a_scene", "no_picture", "no_masks", "no_words", "no_room", "nothing_to_ask")

    of: Literal["scenes", "masks"] = "scenes"
    per_scene: Annotated[int, Field(ge=1, le=16)] = 3
    languages: dict[str, float] = Field(default_factory=dict)
    forms: dict[Form, float] = Field(default_factory=lambda: {"word": 0.5, "sentence": 0.3, "choice": 0.2})
    size_px: Annotated[int, Field(ge=64, le=1024)] = 224
    vocabulary: tuple[str, ...] = ()
    korean_names: dict[str, str] = Field(default_factory=dict)

    @field_validator("languages", "forms")
    @classmethod
    def _check_shares(cls, value: dict[str, float], info: Any) -> dict[str, float]:
        known = {"languages": tuple(LANGUAGES), "forms": ("word", "sentence", "choice")}
        name = info.field_name
        return check_shares(name, value, known[name], may_be_empty=name == "languages")

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The scene; or the picture with its boxes and masks."""
        return columns("scene") if self.of == "scenes" else columns("image", "boxes", "mask_image")

    def generate(self, rows: list[Row], run: Run) -> Iterator[Row | Drop]:
        """Questions about each marked picture."""
        for row in rows:
            rng = random.Random(run.seed(row["id"]))
            subject = self._of_scene(row) if self.of == "scenes" else self._of_photo(row)
            if isinstance(subject, Drop):
                yield subject
                continue
            marks = place(subject.masks, rng)
            if not marks:
                height, width = subject.picture.shape[:2]
                yield Drop(row["id"], "no_room", f"no thing has room for a mark at {width} x {height} px")
                continue
            for view in subject.views.values():
                view.marks = {mark.number: mark.index for mark in marks}
            marked = png(draw_marks(subject.picture, marks))
            more = {
                "clean_images": [subject.clean],
                "marks": [{"image": 0, "number": m.number, "name": subject.names[m.index], "x": m.x, "y": m.y} for m in marks],
                "pair_id": None,
            }  # fmt: skip
            ordinal = -1
            for ordinal, (ask, value, language) in enumerate(self._asks(subject, rng)):
                view = subject.views[language]
                question = question_row(ask, value, [view], [marked], language, draw(rng, self.forms), rng)
                boxes = {} if subject.boxes is None else {"boxes": subject.boxes}
                yield {"id": f"{row['id']}/{ordinal}", **question, **more, **boxes}
            if ordinal < 0:
                yield Drop(row["id"], "nothing_to_ask", f"{len(marks)} marks")

    def _asks(self, subject: _Subject, rng: random.Random) -> list[tuple[Ask, Any, str]]:
        """Asks with their values and languages; none twice."""
        shares = {name: share for name, share in self._languages.items() if name in subject.views}
        found: dict[str, tuple[Ask, Any, str]] = {}
        for _ in range(self.per_scene * _TRIES):
            language = draw(rng, shares)
            ask = DRAWERS[draw(rng, dict.fromkeys(subject.templates, 1.0))](subject.views[language], rng)
            if ask is None or len(found) == self.per_scene:
                continue
            try:
                value = answer(ask.program, [subject.views[language]])
            except Ambiguous:  # two dogs: neither is the dog
                continue
            found.setdefault(f"{ask.template}{ask.slots}", (ask, value, language))
        return list(found.values())

    @property
    def _languages(self) -> dict[str, float]:
        return self.languages or ({"en": 0.5, "ko": 0.5} if self.of == "scenes" else {"en": 1.0})

    def _of_scene(self, row: Row) -> _Subject | Drop:
        try:
            view = View(Scene.from_json(row["scene"]), self.size_px)
        except (TypeError, ValueError, KeyError) as error:
            return Drop(row["id"], "not_a_scene", f"{type(error).__name__}: {error}")
        names = [thing.kind for thing in view.scene.things]
        views = dict.fromkeys(self._languages, view)
        return _Subject(view.picture.image, view.png, view.picture.masks, names, views, tuple(DRAWERS))

    def _of_photo(self, row: Row) -> _Subject | Drop:
        picture, masks = decode(row["image"]), decode_masks(row["mask_image"])
        if isinstance(picture, Fault):
            return Drop(row["id"], "no_picture", f"{picture.reason}: {picture.detail}")
        boxes = row["boxes"] or []
        if masks is None or not boxes or masks.shape != (picture.height, picture.width) or not masks.any():
            found = "none" if masks is None or not masks.any() else f"{masks.shape[1]} x {masks.shape[0]} px"
            return Drop(row["id"], "no_masks", f"{len(boxes)} boxes; masks: {found}")
        names = [box["name"] for box in boxes]
        views = {}
        if self._languages.get("en"):
            views["en"] = PhotoView(boxes, self.vocabulary)
        if self._languages.get("ko") and set(names) <= self.korean_names.keys():
            known = [name for name in self.vocabulary if name in self.korean_names]
            views["ko"] = PhotoView(boxes, known, self.korean_names)
        if not views:
            return Drop(row["id"], "no_words", f"no Korean for {sorted(set(names) - self.korean_names.keys())[0]!r}")
        return _Subject(np.asarray(picture), row["image"], masks_of(masks, len(boxes)), names, views, OF_PHOTOS, boxes)


@dataclass(frozen=True)
class _Subject:
    """A picture to mark.

    Attributes:
        picture: (H, W, 3) uint8.
        clean: the same, encoded.
        masks: (N, H, W) bool.
        names: of the things.
        views: by language.
        templates: what may be asked.
        boxes: of a photo.
    """

    picture: np.ndarray
    clean: bytes
    masks: np.ndarray
    names: list[str]
    views: dict[str, Any]
    templates: tuple[str, ...]
    boxes: list[dict[str, Any]] | None = None


def decode_masks(data: bytes | None) -> np.ndarray | None:
    """(H, W) numbers of a `mask_image`, or None where it can't be read."""
    try:
        with Image.open(BytesIO(data or b"")) as image:
            return np.asarray(image) if image.mode in ("L", "P") else None
    except (OSError, ValueError):
        return None
