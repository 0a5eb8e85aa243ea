"""The report, held to an HTML parser, to arithmetic on a build's rows, and to what a browser may run of it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from small_build import small_build
from test_limbeck_card import SUMMARY

import limbeck
from limbeck.report import write_report
from limbeck.report.collect import DROPPED, KEPT, collect
from limbeck.report.data import Bound, Failure, Pair, ReportData, ScoreHistogram
from limbeck.report.page import data_url, html
from limbeck.report.truth import read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><b>{{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements, attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def picture(size=16, value=10, kind="PNG"):
    out = BytesIO()
    Image.new("RGB", (size, size), (value, 20, 30)).save(out, kind)
    return out.getvalue()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return small_build(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def data(built):
    return collect(built)


def hostile_page():
    """Every text that comes from outside is hostile."""
    pair = Pair(
        HOSTILE,
        "dropped",
        HOSTILE,
        HOSTILE,
        HOSTILE + " x",
        HOSTILE,
        picture(),
        b"<svg onload=alert(1)>",
        {HOSTILE: 0.5},
        (HOSTILE,),
        {HOSTILE: HOSTILE},
        HOSTILE,
    )
    bound = Bound(HOSTILE, "min", 0.5, ("edit_type", HOSTILE), (pair,), (pair,))
    bars = ScoreHistogram(
        HOSTILE,
        (0.0, 0.5, 1.0),
        (1, 2),
        (3, 0),
        (bound,),
        None,
        (ScoreHistogram(HOSTILE, (0.0, 1.0), (1,), (0,), (bound,), ("edit_type", HOSTILE)),),
    )
    summary = replace(
        SUMMARY,
        title=HOSTILE,
        description=HOSTILE,
        recipe=HOSTILE,
        name=HOSTILE,
        license=HOSTILE,
        licenses={HOSTILE: 1},
    )
    return html(ReportData(summary, (pair,), (pair,), (bars,), (Failure(HOSTILE, HOSTILE, HOSTILE),)))


def test_nothing_from_outside_becomes_markup():
    page = Page(hostile_page())
    assert len(page.all("script")) == 1
    assert not [attrs for attrs in page.all("img") if not attrs["src"].startswith("data:image/")]
    assert not page.all("b") or all("class" in a or not a for a in page.all("b"))
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert "49" not in "".join(page.words).split("alert(1)")[1][:40]  # the template engine doesn't run it either
    assert "".join(page.words).count("alert(1)") > 10


def test_the_page_needs_and_reaches_nothing(built):
    """Offline from file://: no address in any attribute, and a policy under which only its own script runs."""
    text = (built.path / "report" / "index.html").read_text(encoding="utf-8")
    page = Page(text)
    for _, attrs in page.elements:
        for name in ("src", "href", "action", "srcset", "poster"):
            assert (attrs.get(name) or "#").startswith(("data:image/", "#"))
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "url(" not in text.split("</style>")[0]


def test_the_figures_are_those_of_the_rows(built, data):
    """Oracle: counted anew from every row that was made."""
    rows = list(built.rows(verdict="all", columns=["clip_sim_dir", "edit_type"]))
    kept = [row for row in rows if row["verdict"] == "kept"]
    assert (data.summary.judged, data.summary.kept, data.summary.failed) == (len(rows), len(kept), 1) == (44, 28, 1)
    found = next(h for h in data.histograms if h.score == "clip_sim_dir")
    assert (sum(found.kept), sum(found.dropped), found.missing) == (28, 16, 0)
    part = found.parts[0]
    assert part.only == ("edit_type", "add")
    assert (sum(part.kept), sum(part.dropped)) == (18, 6)
    assert [(bound.side, bound.value, bound.only) for bound in found.bounds] == [
        ("min", 0.2, None),
        ("min", 0.1, ("edit_type", "add")),
    ]
    inside = sum(kept for low, kept in zip(found.edges, found.kept, strict=False) if low >= 0.2 - 1e-9)
    assert inside == sum(row["clip_sim_dir"] >= np.float32(0.2) for row in kept)
    yields = {y.name: (y.rows, y.kept) for y in data.summary.by_type}
    assert yields == {"add": (24, 18), "recolour": (20, 10)}


def test_pairs_stand_on_the_right_side_of_their_threshold(data):
    """Oracle: `recolour` is cut at 0.2 and `add` at 0.1; scores are 0, 0.1, 0.2 and 0.3."""
    for bound in next(h for h in data.histograms if h.score == "clip_sim_dir").bounds:
        kind = bound.only[1] if bound.only else "recolour"
        assert len(bound.below) == len(bound.above) == 3
        assert {round(p.scores["clip_sim_dir"], 4) for p in bound.below} == {round(bound.value - 0.1, 4)}
        assert {round(p.scores["clip_sim_dir"], 4) for p in bound.above} == {bound.value}
        assert {p.edit_type for p in (*bound.below, *bound.above)} == {kind}
        assert {p.verdict for p in bound.below} == {"dropped"}
        assert {p.verdict for p in bound.above} == {"kept"}
        assert len({p.id.split("/")[0] for p in bound.above}) == 3  # siblings look alike


def test_pictures_are_those_of_their_rows(built, data):
    rows = {
        row["id"]: row for row in built.rows(verdict="all", columns=["original_image", "edited_image", "edit_prompt"])
    }
    shown = [*data.kept, *data.dropped]
    assert len(shown) == 28 + 16
    for pair in shown:
        row = rows[pair.id]
        assert (pair.before, pair.after, pair.instruction) == (
            row["original_image"],
            row["edited_image"],
            row["edit_prompt"],
        )
        assert pair.verdict == row["verdict"]
        assert pair.reasons == tuple(f"direction: {reason}" for reason in row["reasons"])
    assert data.pixelated


def test_samples_are_bounded_even_and_the_same_every_time(tmp_path):
    built = small_build(tmp_path, [f"a square of colour {i}" for i in range(60)], keep="none")
    first, second = collect(built), collect(limbeck.open_build(built.path))
    assert first.kept == second.kept
    assert len(first.kept) == KEPT
    assert len({pair.id.split("/")[0] for pair in first.kept}) == KEPT
    assert sum(pair.edit_type == "add" for pair in first.kept) == KEPT // 2
    assert len(first.dropped) == DROPPED
    assert {(pair.before, pair.after) for pair in first.dropped} == {(None, None)}  # keep_rejected = "none"
    assert "not stored" in html(first)


def test_a_new_threshold_shows_at_once(tmp_path):
    built = small_build(tmp_path)
    again = limbeck.refilter(built.path, ["direction.least=0.3", "direction.by.edit_type.add.least=0.3"])
    data = collect(again)
    assert data.summary.kept == 11
    assert {bound.value for bound in data.histograms[0].bounds} == {0.3}
    assert "≥ 0.3" in (built.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "11 edit pairs" in (built.path / "README.md").read_text(encoding="utf-8")


def test_truth_is_shown_where_it_was_measured(tmp_path):
    built = small_build(tmp_path)
    found = {
        "before": {"n": 44, "right": 22},
        "after": {"n": 28, "right": 21, "low": 0.6, "high": 0.85},
        "reader_error": 0.004,
        "curve": [{"threshold": t / 10, "precision": 0.5 + t / 20, "low": 0.4, "high": 0.9} for t in range(4)],
        "score": "clip_sim_dir",
    }
    path = built.path / "report" / "truth.json"
    path.write_text(json.dumps(found))
    text = write_report(built).read_text(encoding="utf-8")
    assert "21 of 28 pairs right; 95% interval 60% to 85%" in text
    assert "1.50×" in text
    assert '<polygon class="band"' in text
    path.write_text('{"before": {"n": 3}}')
    assert read(path) is None
    assert "Edit success" not in write_report(built).read_text(encoding="utf-8")


def test_embedded_pictures_are_bounded():
    """Oracle: Pillow reads what was embedded."""
    noise = np.random.default_rng(0).integers(0, 255, (900, 700, 3), np.uint8)
    out = BytesIO()
    Image.fromarray(noise).save(out, "PNG")
    url = data_url(out.getvalue())
    embedded = Image.open(BytesIO(base64.b64decode(url.partition(",")[2])))
    assert max(embedded.size) == 320
    assert len(url) < 150_000
    small = picture(64)
    assert base64.b64decode(data_url(small).partition(",")[2]) == small
    assert data_url(b"<svg onload=alert(1)>") == data_url(b"") == data_url(small[:40]) == ""


def test_a_build_without_rows_has_a_report(tmp_path):
    built = small_build(tmp_path, ["ab", "cd"])
    text = (built.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "No row was kept" in text
    assert "squares: too_short" in text
