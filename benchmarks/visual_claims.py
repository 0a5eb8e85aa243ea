"""Recall and precision of the claim extractor on 200 answers labelled by reading them (tests/labelled_answers.txt).

    python benchmarks/visual_claims.py

Labels were written before the extractor was run on them. It was then mended on every other answer; the rest, untouched,
give its figures.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from claims_read import labelled, reading

if __name__ == "__main__":
    print(f"{'':22}{'answers':>8}{'claims':>8}{'recall':>8}{'precision':>11}")
    for name, tuned in (("untouched", (False,)), ("mended on", (True,)), ("all", (True, False))):
        for languages in (("en",), ("ko",), ("en", "ko")):
            chosen = [a for a in labelled() if a.language in languages and a.tuned in tuned]
            found = reading(chosen)
            where = f"{name}, {' and '.join(languages)}"
            print(f"{where:22}{len(chosen):8}{found.labelled:8}{found.recall:8.1%}{found.precision:11.1%}")
