"""Labelled answers, and the extractor's claims in the labels' own words, so that both can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from limbeck.questions.claims import ANYTHING, Claim, extract


@dataclass(frozen=True)
class Labelled:
    """An answer with the claims that a reader finds; `tuned` where the extractor was mended on it."""

    language: str
    text: str
    claims: frozenset[str]
    tuned: bool


def labelled() -> list[Labelled]:
    lines = (Path(__file__).parent / "labelled_answers.txt").read_text(encoding="utf-8").splitlines()
    out = []
    for number, line in enumerate(line for line in lines if not line.startswith("#")):
        language, text, claims = (part.strip() for part in line.split("|"))
        out.append(
            Labelled(
                language, text, frozenset(_ordered(c.strip()) for c in claims.split(";") if c.strip()), number % 2 == 0
            )
        )
    return out


def _ordered(claim: str) -> str:
    words = claim.split()
    if len(words) == 3 and words[1] == ">":
        return f"{words[2]} < {words[0]}"
    if len(words) == 4 and words[1] == "between":
        return " ".join([*words[:2], *sorted(words[2:])])
    return claim


def found(text: str, language: str) -> set[str]:
    """The claims that the extractor finds and that the text stands by."""
    return {atom for claim in extract(text, language) if not claim.hedged for atom in _atoms(claim)}


def _atoms(claim: Claim) -> list[str]:
    kind, values, no = claim.kind, list(claim.having.values()), "!" if claim.negated else ""
    match claim.about:
        case "there" if claim.negated:
            return [f"no {' '.join([*values, *([] if kind == ANYTHING else [kind])])}"]
        case "there":
            return [*([] if kind == ANYTHING else [f"there {kind}"]), *(f"{kind} {value}" for value in values)]
        case "is":
            return [f"{kind} {no}{value}" for value in values]
        case "beside":
            return [_ordered(f"{kind} {'<' if claim.value == 'left' else '>'} {claim.other}")] if not no else []
        case "between":
            return [_ordered(f"{kind} between {claim.other} {claim.third}")]
        case "taller":
            return [f"{kind} taller {claim.other}"]
        case "count":
            return [
                f"count {' '.join([*values, *([] if kind == ANYTHING and values else [kind or ANYTHING])])} {claim.value}"
            ]
        case "more":
            return [f"more {claim.value} {claim.other}"]
        case "setting":
            return [f"{no}{field} {value}" for field, value in claim.having.items()]
    raise AssertionError(claim.about)


@dataclass(frozen=True)
class Reading:
    """How much of what a reader finds the extractor finds, and how much it finds that isn't there.

    Attributes:
        labelled, found: claims that readers found, and those of them that the extractor found too.
        made, wrong: claims that it found, and those of them that no reader did; that a thing is there at all, which
            every mention presupposes, counts as neither.
    """

    labelled: int
    found: int
    made: int
    wrong: int

    @property
    def recall(self) -> float:
        return self.found / self.labelled

    @property
    def precision(self) -> float:
        return 1 - self.wrong / self.made


def reading(answers: list[Labelled]) -> Reading:
    pairs = [(answer.claims, found(answer.text, answer.language)) for answer in answers]
    made = [[claim for claim in got if not claim.startswith("there ")] for _, got in pairs]
    return Reading(
        sum(len(claims) for claims, _ in pairs), sum(len(claims & got) for claims, got in pairs), sum(map(len, made)),
        sum(claim not in claims for (claims, _), got in zip(pairs, made, strict=True) for claim in got),
    )  # fmt: skip
