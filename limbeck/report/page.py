"""Turns `ReportData` into one HTML file that needs nothing else: no server, no network, no second file.

Text from outside is escaped by the template engine; a content security policy forbids, besides, whatever isn't this
page's own script, so that even a mistake in the template couldn't run somebody's caption or reach a network.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from io import BytesIO
from pathlib import Path

import jinja2
from PIL import Image

from limbeck.pictures import Fault, decode
from limbeck.report import figures
from limbeck.report.data import Pair, ReportData

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
PLAYED_BYTES = 1_000_000
"""Largest animation that is put into the page."""
SMALL_PX = 128
"""Pictures up to this side are embedded as they are, and shown enlarged."""
THUMBNAIL_PX = 320
"""Larger ones are embedded at most this large."""

SHORT = {
    "clip_sim_source": "before",
    "clip_sim_target": "after",
    "clip_sim_dir": "direction",
    "clip_sim_image": "image",
    "dinov2_sim": "DINOv2",
    "ssim": "SSIM",
}
"""Scores in a word, beside a pair."""
LONG = {
    "clip_sim_source": "Before picture and its caption",
    "clip_sim_target": "After picture and its caption",
    "clip_sim_dir": "Direction: change of picture against change of caption",
    "clip_sim_image": "Before picture and after picture",
}
"""Scores in a line, above a histogram."""


def html(data: ReportData) -> str:
    """The report as one page.

    >>> from limbeck.summary import Summary
    >>> summary = Summary("x", "<b>", "EditPair", "cc0-1.0", 0, "", (), 0, 0, 0, 0, 0)
    >>> "<title>&lt;b&gt;" in html(ReportData(summary))
    True
    """
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            d=data,
            s=data.summary,
            css=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
            script=script,
            digest=digest,
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "count": lambda n: f"{n:,}",
        "percent": percent,
        "number": number,
        "score": score,
        "clock": clock,
        "megabytes": megabytes,
    }
    environment.globals |= {
        "histogram": figures.histogram,
        "curve": figures.curve,
        "word_diff": word_diff,
        "kinds": kinds,
        "reasons_of": reasons_of,
        "talks_in": talks_in,
        "cuts_of": cuts_of,
        "data_url": data_url,
        "short": lambda name: SHORT.get(name, name.rpartition(".")[2].replace("_", " ")),
        "long": lambda name: LONG.get(name, name.replace("_", " ")),
    }
    return environment


def data_url(data: bytes | None) -> str:
    """A picture as a data URL: small ones as they are, larger ones as thumbnails; empty where none can be shown.

    An animated WebP, such as a clip's preview, stays as it is and plays.
    """
    if data and data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"ANIM" in data[:64] and len(data) <= PLAYED_BYTES:
        return "data:image/webp;base64," + base64.b64encode(data).decode()
    picture = decode(data)
    if isinstance(picture, Fault):
        return ""
    if max(picture.size) <= SMALL_PX and data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) <= 4 * SMALL_PX**2:
        return "data:image/png;base64," + base64.b64encode(data).decode()
    small = max(picture.size) <= SMALL_PX
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    out = BytesIO()
    picture.save(out, "WEBP", lossless=small, quality=82)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def word_diff(before: str, after: str) -> list[tuple[str, str]]:
    """What changed between two captions, word by word, as (`same` | `gone` | `new`, words).

    >>> word_diff("a red ball on grass", "a blue ball on grass")
    [('same', ' a'), ('gone', 'red'), ('new', 'blue'), ('same', ' ball on grass')]
    """
    a, b = (re.findall(r"\s*(?:\w+|[^\w\s]+)", f" {text}")[:400] for text in (before, after))
    found = []
    matcher = difflib.SequenceMatcher(None, [w.strip() for w in a], [w.strip() for w in b], autojunk=False)
    for op, i, j, k, m in matcher.get_opcodes():
        if op == "equal":
            found.append(("same", "".join(b[k:m])))
            continue
        found += [(kind, "".join(words)) for kind, words in (("gone", a[i:j]), ("new", b[k:m])) if words]
    return [(kind, words if kind == "same" else words.strip()) for kind, words in found]


def kinds(pairs: Iterable[Pair]) -> dict[str, int]:
    """How many pairs there are of each kind of edit, most frequent first."""
    found = Counter(pair.edit_type or "unknown" for pair in pairs)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def talks_in(pairs: Iterable[Pair]) -> dict[str, int]:
    """How many conversations there are in each language, where there are several."""
    found = Counter(pair.talk.language for pair in pairs if pair.talk and pair.talk.language)
    return dict(sorted(found.items())) if len(found) > 1 else {}


def reasons_of(pairs: Iterable[Pair]) -> dict[str, int]:
    """How many pairs were dropped for each reason, most frequent first."""
    found = Counter(reason for pair in pairs for reason in pair.reasons)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def cuts_of(data: ReportData, score: str) -> list[float]:
    """The least values of a score that hold for all rows."""
    return [
        bound.value
        for h in data.histograms
        if h.score == score
        for bound in h.bounds
        if bound.side == "min" and bound.only is None
    ]


def score(value: float) -> str:
    """A score beside a row: two digits after the point, or as many as show how small it is.

    >>> score(0.2), score(-0.456), score(2.957), score(0.0149), score(1.2e-7), score(0), score(285392.5)
    ('0.20', '-0.46', '2.96', '0.015', '1.2e-07', '0.00', '285,392')
    """
    if value and abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.2f}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share as a person reads it.

    >>> percent(0.5), percent(0.0123), percent(0.9999), percent(None)
    ('50%', '1.2%', '99.99%', '–')
    """
    if share is None:
        return "–"
    digits = 0 if 0.095 <= share <= 0.99 or share in (0, 1) else 1
    return f"{100 * share:.{digits if share <= 0.99 else 2 if share < 1 else 0}f}%"


def number(value: object) -> str:
    """A setting or score in few characters.

    >>> number(0.30000001), number(True), number(None), number("x"), number(12345)
    ('0.3', 'yes', '–', 'x', '12345')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def clock(seconds: float | None) -> str:
    """A duration in words.

    >>> clock(3.21), clock(200), clock(7300), clock(None)
    ('3.2 s', '3 min 20 s', '2 h 1 min', '–')
    """
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def megabytes(size: int) -> str:
    """A size on disk.

    >>> megabytes(900), megabytes(2_500_000), megabytes(7_100_000_000)
    ('0.9 kB', '2.5 MB', '7.1 GB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"
