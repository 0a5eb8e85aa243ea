"""Tables of a VLM's card, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HIDDEN = ("blind", "grey", "shuffled")
"""`distill.vlm.asking.HIDDEN`, without torch."""


def sections(values: Mapping[str, float], more: Mapping[str, Any], baselines: Mapping[str, Any]) -> str:
    """By question type; POPE; descriptions; pictures that were hidden.

    Args:
        values: of the student.
        more: what else its scores hold.
        baselines: of a guesser, by name.
    """
    guesser = next(iter(baselines.values()), {"values": {}, "more": {}})
    guessed = guesser["more"].get("by_type", {})
    out = [
        "### By question type",
        "",
        "| type | rows | right | commonest answer | blind | grey picture | another's picture |",
        "|---|---|---|---|---|---|---|",
    ]
    hidden = more.get("hidden_by_type", {})

    def cell(share: float | None) -> str:
        return "" if share is None else f"{share:.1%}"

    for name, each in more["by_type"].items():
        found = [guessed.get(name, {}).get("right"), *(hidden.get(how, {}).get(name) for how in HIDDEN)]
        out.append(f"| {name} | {each['rows']:,} | {each['right']:.1%} | " + " | ".join(map(cell, found)) + " |")
    overall = [guesser["values"].get("closed"), *(values.get(how) for how in HIDDEN)]
    out.append(f"| all | {more['closed_rows']:,} | {values['closed']:.1%} | " + " | ".join(map(cell, overall)) + " |")
    if more.get("pope"):
        out += [
            "",
            "### Existence, as POPE measures it",
            "",
            "| absent things | rows | accuracy | precision | recall | F1 | yes share | unparsed |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, p in more["pope"].items():
            shares = " | ".join(f"{p[k]:.1%}" for k in ("accuracy", "precision", "recall", "f1", "yes", "unparsed"))
            out.append(f"| {name} | {p['rows']:,} | {shares} |")
    if more.get("descriptions"):
        out += [
            "",
            f"Of {more['descriptions']:,} descriptions: {values['chair_i']:.1%} of the things they mention aren't there"
            f" (CHAIR_i), {values['chair_s']:.1%} mention such a thing (CHAIR_s); they mention"
            f" {values['coverage']:.1%} of what is there, in {values['description_words']:.0f} words; {values['claims_true']:.1%}"
            " of the claims that can be checked are true.",
        ]
    return "\n".join(out)
