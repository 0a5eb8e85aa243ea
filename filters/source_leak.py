"""Drops answers that speak of captions, boxes or annotations: of what the writer was told instead of what it would see."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

import pyarrow as pa

from limbeck.records import column, columns
from limbeck.stage import Decision, Filter, Reasons, Row, Run, settings
from limbeck.turns import text_of

ENGLISH = r"""
    \bcaptions?\b | \bannotat\w+ | \bmetadata\b | \bground[- ]truth\b | \bobject detect\w+ | \bdetect(ed|ion) (object|box)\w*
    | \b(as|according|based|given|judging)\b[^.?!]{0,30}\b(description|descriptions|text|context|information|list|labels?)\b
    | \b(is|are|was|were)\s+(not\s+|n['’]t\s+)?(mentioned|specified|described|stated|listed|provided|indicated)\b
    | \bno\s+(mention|information|indication|description)\b | \bdoes(\s+not|n['’]t)\s+(mention|specify|say|state|indicate)\b
    | \bthe\s+(provided|given|above|following)\s+(text|context|information|description|details|image\s+description)\b
    | \bcoordinates?\b | \bscene\s+graph\b | \bJSON\b | \bprompts?\b
    | \b(as|since)\s+(an?|i\s+am\s+an?)\s+(ai|language\s+model)\b | \bi\s+can(not|['’]t)\s+(see|view)\s+(the\s+)?(image|picture)
"""
BOXES = r"\b(bounding[- ]box\w*|box(es)?\s+(of|for|around)|in\s+the\s+box\s+\[?\d)"
KOREAN = r"""
    캡션 | 주석 | 메타데이터 | 정답\s*데이터 | 바운딩\s*박스 | 좌표 | 제공된\s*(텍스트|설명|정보|문맥) | 주어진\s*(텍스트|설명|정보|문맥)
    | 설명에\s*(따르면|의하면|는|나와) | (언급|명시|기재|서술)(되어|돼|된|하지|되지) | 에\s*대한\s*(정보|언급)[가이은는]?\s*없
    | 장면\s*그래프 | 프롬프트 | (인공지능|언어\s*모델)\S*(로서|이라|이기)
"""
_ENGLISH, _BOXES, _KOREAN = (re.compile(p, re.IGNORECASE | re.VERBOSE) for p in (ENGLISH, BOXES, KOREAN))


@settings
class SourceLeak(Filter):
    """Drops conversations in which a turn names its source: a caption, a box, an annotation, "not mentioned".

    LLaVA's prompt forbids it, and its data have it all the same; so do its successors'. Words for boxes are allowed
    in rows that ask for boxes.
    """

    name: ClassVar = "source_leak"
    version: ClassVar = 1
    reads: ClassVar = columns("messages", "question_type")
    writes: ClassVar = (column("leak", pa.string()),)  # the first piece of text that gives the source away
    reasons: ClassVar = ("source_leak",)

    allow: Annotated[tuple[str, ...], Decision()] = ()
    """Pieces that are meant: such as "caption" where the pictures are of newspapers."""

    def score(self, rows: list[Row], run: Run) -> list[Row]:
        """The first leak of each row."""
        return [{"leak": _first_leak(row)} for row in rows]

    def decide(self, row: Row) -> Reasons:
        """Reasons against one row."""
        leak = row["leak"]
        return () if leak is None or leak.lower() in {a.lower() for a in self.allow} else ("source_leak",)


def _first_leak(row: Row) -> str | None:
    patterns = [_ENGLISH, _KOREAN, *([] if row.get("question_type") in ("region", "point") else [_BOXES])]
    for message in row["messages"] or []:
        text = text_of(message)
        coordinates_meant = row.get("question_type") in ("region", "point")
        for pattern in patterns:
            for found in pattern.finditer(text):
                if not (coordinates_meant and "coordinate" in found[0].lower()):
                    return " ".join(found[0].split())[:60]
    return None
