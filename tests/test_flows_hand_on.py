"""`limbeck export`: a format's options as they are typed, and what is said of rows that aren't in it."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from limbeck import exports
from limbeck.errors import RequestError
from limbeck.exports import Exported, formats, options
from limbeck.launch import main
from limbeck.pictures import png
from limbeck.records import columns, published
from limbeck.storybook import render, sample_scene
from limbeck.turns import assistant, user


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A build's data/: a good row of two turns, one with <image> in its words, one whose picture is broken."""
    import numpy as np

    picture = png(render(sample_scene(np.random.default_rng(0)), 32).image)
    rows = [
        ("a", [user(0, "What?"), assistant("A house."), user("Sure?"), assistant("Yes.")], picture),
        ("b", [user(0, "Why <image>?"), assistant("So.")], picture),
        ("c", [user(0, "Why?"), assistant("So.")], b"no picture"),
    ]
    schema = published(columns("id", "messages", "images"))
    table = [{"id": i, "messages": m, "images": [{"bytes": p, "path": None}]} for i, m, p in rows]
    folder = tmp_path_factory.mktemp("built")
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(table, schema=schema), folder / "data" / "train-00000-of-00001.parquet")
    return folder


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_formats_options_are_set(built, tmp_path, capsys):
    """Oracle: what the same options give in Python: a row for the last turn, a dataset of that name."""
    code, out, _ = run(capsys, "export", built, "--format", "trl", "-o", tmp_path / "trl", "--set", "turns=last")
    assert (code, "wrote         2 rows" in out) == (0, True)
    name = ("--set", "name = first", "--set", "name=book")
    assert run(capsys, "export", built, "--format", "llamafactory", "-o", tmp_path / "lf", *name)[0] == 0
    assert list(json.loads((tmp_path / "lf" / "dataset_info.json").read_text())) == ["book_train"]


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ("turn=last", "the format 'trl' has no option 'turn'. Did you mean 'turns'?"),
        ("turns=first", "--set turns: 'first'; expected 'each' or 'last'"),
        ("turns", "--set turns; expected NAME=VALUE"),
    ],
)
def test_a_wrong_option_is_told_and_nothing_is_written(built, tmp_path, capsys, sets, says):
    code, _, err = run(capsys, "export", built, "--format", "trl", "-o", tmp_path / "out", "--set", sets)
    assert code == 2
    assert says in err
    assert not (tmp_path / "out").exists()


def test_rows_that_are_left_out_are_told_with_the_reason(built, tmp_path, capsys):
    code, out, _ = run(capsys, "export", built, "--format", "llava", "-o", tmp_path / "out")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("left out")]
    assert "2 rows (" in line
    assert "1: <image> stands in a text" in line
    assert "1: a picture can't be read" in line


def test_the_help_lists_every_format(capsys):
    listed = re.sub(r"[^a-z0-9]+", " ", run(capsys, "export", "--help")[1]).split()
    assert set(formats()) <= set(listed)


def test_options_become_what_the_format_takes(monkeypatch):
    """By hand: the annotations of another package's format, and of one that has none or can't be resolved."""

    def write(source, out, size: int = 1, fast: bool = False, more: NotThere = "", plain="") -> Exported:  # noqa: F821
        return Exported(out, 0)

    def typed(source, out, *, size: int = 1, fast: bool = False, share: float | None = None) -> Exported:
        return Exported(out, 0)

    writers = {"untold": write, "typed": typed, "made": Maker()}
    monkeypatch.setattr(exports, "_writer", writers.__getitem__)
    assert options("typed", ["size=3", "fast = true", "share=0.5"]) == {"size": 3, "fast": True, "share": 0.5}
    assert options("untold", ["size=3", "plain=a=b"]) == {"size": "3", "plain": "a=b"}
    assert options("made", ["size=3"]) == {"size": "3"}
    assert options("typed", []) == {}
    with pytest.raises(RequestError, match=r"--set size: 'many'; expected a valid integer"):
        options("typed", ["size=many"])


class Maker:
    """A format that is an object."""

    def __call__(self, source, out, size: int = 1) -> Exported:
        return Exported(out, 0)
