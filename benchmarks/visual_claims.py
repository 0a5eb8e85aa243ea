"""Recall and precision of the claim extractor on 200 answers labelled by reading them (tests/labelled_answers.txt).

    python benchmarks/visual_claims.py

Labels were written before the extractor was run on them. It was mended on every other answer first ("first half"); what
it found in the others, unseen till then, is in docs/LOG.md. Since then it was mended on those too: these figures say that
nothing got worse, not how it reads what nobody has labelled.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from claims_read import labelled, reading

if __name__ == "__main__":
    print(f"{'':22}{'answers':>8}{'claims':>8}{'recall':>8}{'precision':>11}")
    for name, tuned in (("first half", (True,)), ("second half", (False,)), ("all", (True, False))):
        for languages in (("en",), ("ko",), ("en", "ko")):
            chosen = [a for a in labelled() if a.language in languages and a.tuned in tuned]
            found = reading(chosen)
            where = f"{name}, {' and '.join(languages)}"
            print(f"{where:22}{len(chosen):8}{found.labelled:8}{found.recall:8.1%}{found.precision:11.1%}")
