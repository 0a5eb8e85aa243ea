"""Templates: text with `{slot}` and `{slot:mark}`, where the mark says how the language inflects the slot's word.

English marks: `a` (indefinite article), `A` (capital), `a_A` (both). Korean marks: a pair of particles such as `이/가`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_SLOT = re.compile(r"\{(\w+)(?::([^{}]+))?\}")


@dataclass(frozen=True)
class Wording:
    """How a question is put and answered.

    Attributes:
        questions: ways to ask.
        yes, no: sentences for a yes-or-no question; `no` says what there is instead.
        says: sentences around any other value, `{answer}`.
        nothing: sentences that set a false premise right.
        answer: category of the value: colour, kind, size, number, place, ground, time, weather, box, point, which,
            changed; empty for yes or no.
    """

    questions: tuple[str, ...]
    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    nothing: tuple[str, ...] = ()
    answer: str = ""


@lru_cache(maxsize=4096)
def pieces(template: str) -> tuple[tuple[str, str, str], ...]:
    """A template taken apart: (text before, slot, mark), the last with no slot.

    >>> pieces("Is the {kind} {colour:a}?")
    (('Is the ', 'kind', ''), (' ', 'colour', 'a'), ('?', '', ''))
    """
    out, end = [], 0
    for match in _SLOT.finditer(template):
        out.append((template[end : match.start()], match[1], match[2] or ""))
        end = match.end()
    return (*out, (template[end:], "", ""))
