"""Zero-shot questions about a picture: which of these texts is it, with the answer known.

Of a storybook scene, the candidates are its own caption and those that differ from it in one attribute: the hardest
negatives there are, and exactly true. Of other rows, they are the names of classes in templates, or captions of others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.measures import Floats, log_softmax
from limbeck import seeds
from limbeck.errors import RequestError
from limbeck.storybook.grammar import caption
from limbeck.storybook.scene import Scene
from limbeck.storybook.world import COLOURS, GROUNDS, KINDS, SIZES, STYLES, TIMES, WEATHERS

if TYPE_CHECKING:
    from distill.dataset import Dataset

ASKED = {
    "kind": KINDS, "colour": COLOURS, "size": SIZES, "ground": GROUNDS, "time": TIMES, "weather": WEATHERS, "style": STYLES,
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """Texts to choose from; the first is right.

    Attributes:
        texts: candidates; each may be an ensemble of templates, whose embeddings are averaged.
        about: what is asked, such as `colour`.
    """

    texts: tuple[tuple[str, ...], ...]
    about: str


def class_names(dataset: Dataset, column: str) -> list[str]:
    """Classes of a dataset, in order.

    Raises:
        RequestError: a row has none.
    """
    names = Counter(dataset.values(column))
    if nameless := names.pop(None, 0) + names.pop("", 0):
        raise RequestError(
            f"{nameless:,} of {len(dataset):,} rows have no class in the column {column!r}",
            expected="a name in each",
            where="student.class_column",
            remedy="name another column, or leave those rows out of the source",
        )
    return sorted(names)


def storybook_question(row: Mapping[str, Any], attribute: str | None = None) -> Question:
    """A question about a scene's picture; which attribute it is about depends on the row alone, unless it is given.

    Things are asked about one at a time: their first, second or third, again by the row.

    Args:
        row: with `id` and `scene`.
        attribute: one of `ASKED`.
    """
    scene = Scene.from_json(row["scene"])
    rng = seeds.rng(0, "zero shot", str(row["id"]))
    about = attribute or list(ASKED)[int(rng.integers(len(ASKED)))]
    others = []
    if about in ("kind", "colour", "size"):
        n = int(rng.integers(len(scene.things)))
        thing = scene.things[n]
        taken = {t.kind for t in scene.things} if about == "kind" else {getattr(thing, about)}
        for value in ASKED[about]:
            if value not in taken:
                things = (*scene.things[:n], replace(thing, **{about: value}), *scene.things[n + 1 :])
                others.append(replace(scene, things=things))
    else:
        others = [replace(scene, **{about: value}) for value in ASKED[about] if value != getattr(scene, about)]
    return Question(tuple((caption(s),) for s in (scene, *others)), about)


def class_question(row: Mapping[str, Any], column: str, classes: Sequence[str], templates: Sequence[str]) -> Question:
    """Which of these classes is in the picture?

    Args:
        row: with the class's name in `column`.
        column: such as `label`.
        classes: all names.
        templates: such as `a photo of a {}`.
    """
    names = [row[column], *(name for name in classes if name != row[column])]
    return Question(tuple(tuple(t.format(name) for t in templates) for name in names), column)


def caption_question(row: Mapping[str, Any], captions: Sequence[str], choices: int) -> Question:
    """Which of these captions is the picture's own? The others are drawn by the row alone.

    Args:
        row: with `id` and `caption`.
        captions: to draw from; those that read like the row's own are no others.
        choices: how many texts there are in all, or as many as there can be.
    """
    others = list(dict.fromkeys(text for text in captions if text != row["caption"]))
    drawn = seeds.rng(0, "captions", str(row["id"])).permutation(len(others))[: choices - 1]
    return Question(((row["caption"],), *((others[n],) for n in drawn)), "caption")


@dataclass(frozen=True)
class Answered:
    """Answers to questions.

    Attributes:
        right: (N,) of 0 and 1; the right text has to be above every other, so that a tie is wrong.
        nll: (N,) negative log-likelihood of the right text.
        confidence: (N,) of the text that was chosen.
        chosen: (N,) index of that text.
    """

    right: Floats
    nll: Floats
    confidence: Floats
    chosen: NDArray[np.int64]


def answered(images: NDArray, texts: Sequence[NDArray], scale: float) -> Answered:
    """Answers each question by similarity.

    Args:
        images: (N, D), rows of unit length.
        texts: for each question (C, D), rows of unit length, the right one first.
        scale: what similarities are multiplied with before the softmax.
    """
    found = [
        log_softmax(scale * (np.asarray(t, np.float64) @ np.asarray(i, np.float64)))
        for i, t in zip(images, texts, strict=True)
    ]
    chosen = np.array([int(p.argmax()) for p in found])
    return Answered(
        np.array([float((p[0] > p[1:]).all()) for p in found]),
        np.array([-p[0] for p in found]),
        np.array([float(np.exp(p.max())) for p in found]),
        chosen,
    )
