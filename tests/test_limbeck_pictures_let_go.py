"""Pictures of rejected rows that were let go: no stage ever takes them for missing. Oracle: an undisturbed build."""

import errno
import io

import numpy as np
import pytest
from PIL import Image
from toy_recipes import PAINTED, Watching

from limbeck import publish, store
from limbeck.building import build
from limbeck.errors import DiskFull

LOOKS = '''
import io
import os
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image

from limbeck.errors import BadAnswer
from limbeck.records import column, columns
from limbeck.stage import Decision, Drop, Failed, Filter, Generator, settings


def red(picture):
    return None if picture is None else float(np.asarray(Image.open(io.BytesIO(picture)))[..., 0].mean())


@settings
class Red(Filter):
    """Keeps pictures that are red enough; like a real filter it takes no picture for a reason to drop the row."""

    name: ClassVar = "red"
    reads: ClassVar = columns("edited_image")
    writes: ClassVar = (column("red", pa.float32()),)
    reasons: ClassVar = ("missing", "pale")

    scale: float = 1.0
    min_red: Annotated[float, Decision()] = 120.0

    def score(self, rows, run):
        if os.environ.get("LIMBECK_TEST_BROKEN"):
            return [Failed(rows[0]["id"], BadAnswer("broken")), *self._score(rows[1:])]
        return self._score(rows)

    def _score(self, rows):
        seen = [(row["id"], red(row["edited_image"])) for row in rows]
        return [Drop(i, "missing") if value is None else {"red": self.scale * value} for i, value in seen]

    def decide(self, row):
        return ("pale",) if row["red"] < self.min_red else ()


@settings
class CostlyRed(Red):
    """The same, of rows alone that no filter dropped."""

    name: ClassVar = "costly_red"
    survivors_only: ClassVar = True


@settings
class Longer(Filter):
    """Reads no picture."""

    name: ClassVar = "longer"
    reads: ClassVar = columns("edit_prompt")
    writes: ClassVar = (column("length", pa.float32()),)
    reasons: ClassVar = ("short",)

    def score(self, rows, run):
        return [{"length": len(row["edit_prompt"])} for row in rows]

    def decide(self, row):
        return ()


@settings
class Describe(Generator):
    """One child of each row, which says how red its picture is."""

    name: ClassVar = "describe"
    reads: ClassVar = columns("edited_image")
    writes: ClassVar = columns("inverse_edit_prompt")
    reasons: ClassVar = ("missing",)

    def generate(self, rows, run):
        for row in rows:
            value = red(row["edited_image"])
            child = {"id": row["id"] + "/0", "inverse_edit_prompt": f"{value}"}
            yield Drop(row["id"], "missing") if value is None else child


@settings
class Copy(Generator):
    """One child of each row; it looks at no picture, but its rows have their parent's."""

    name: ClassVar = "copy"
    reads: ClassVar = columns("edit_prompt")
    writes: ClassVar = columns("inverse_edit_prompt")

    def generate(self, rows, run):
        for row in rows:
            yield {"id": row["id"] + "/0", "inverse_edit_prompt": "undo: " + row["edit_prompt"]}
'''
STRICT, LAX = "direction.min_direction=0.7", "direction.min_direction=0.2"


@pytest.fixture
def world(tmp_path):
    """A folder to build in."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    (tmp_path / "tiny" / "model.safetensors").touch()  # nobody loads it
    (tmp_path / "c.txt").write_text("".join(f"thing {i}\n" for i in range(20)))
    (tmp_path / "looks.py").write_text(LOOKS)
    return tmp_path


def run(world, out, *more, keep="none", sets=(), **options):
    """Instructions, three pairs of pictures for each, `direction`, then stages of looks.py."""
    stages = "".join(f'[[stages]]\nuse = "./looks.py:{name}"\n' for name in more)
    (world / "r.toml").write_text(f"""
        [dataset]
        name = "painted"
        seed = 7
        keep_rejected = "{keep}"
        [source]
        captions = "c.txt"
        [models]
        one = "./tiny"
        {PAINTED}
        {stages}
        [run]
        part_rows = 8
        max_error_rate = 0.2
    """)
    watching = Watching()
    built = build(world / "r.toml", world / out, sets=list(sets), observer=watching, report=False, **options)
    return list(built.rows()), watching


@pytest.mark.parametrize("keep", ["none", "sample"])
def test_a_filter_that_comes_later_sees_all_pictures(world, keep):
    run(world, "out", keep=keep, sets=[STRICT])
    _, watching = run(world, "out", "Red", keep=keep, sets=[STRICT])
    rows, _ = run(world, "out", "Red", keep=keep, sets=[LAX])
    whole, _ = run(world, "whole", "Red", sets=[LAX])
    assert rows == whole
    assert 10 < len(rows) < 40
    assert watching.worked == {"paint": 3, "red": 3}
    assert watching.notes == ["red needs pictures of rejected rows, which paint makes again"]
    assert run(world, "out", "Red", keep=keep, sets=[LAX])[1].worked == {}


@pytest.mark.parametrize("keep", ["none", "sample"])
def test_a_filter_that_scores_anew_sees_all_pictures(world, keep):
    few, _ = run(world, "out", "Red", keep=keep, sets=["red.min_red=140"])
    rows, watching = run(world, "out", "Red", keep=keep, sets=["red.scale=1.1"])
    whole, _ = run(world, "whole", "Red", sets=["red.scale=1.1"])
    assert rows == whole
    assert len(few) < len(rows)
    assert watching.worked == {"paint": 3, "red": 3}


def test_a_filter_of_survivors_has_those_pictures_alone_made_again_that_it_looks_at(world):
    run(world, "out", sets=[STRICT])
    _, watching = run(world, "out", "CostlyRed", sets=[STRICT])
    assert watching.worked == {"costly_red": 3}  # it sees no rejected row
    rows, watching = run(world, "out", "CostlyRed", sets=[LAX])
    assert rows == run(world, "whole", "CostlyRed", sets=[LAX])[0]
    assert watching.worked == {"paint": 3, "costly_red": 3}


def test_a_stage_that_looks_at_no_picture_has_none_made_again(world):
    run(world, "out", sets=[STRICT])
    assert run(world, "out", "Longer", sets=[STRICT])[1].worked == {"longer": 3}


@pytest.mark.parametrize("maker", ["Describe", "Copy"])
def test_a_generator_that_comes_later_has_its_parents_pictures(world, maker):
    run(world, "out", sets=[STRICT])
    assert run(world, "out", maker, sets=[STRICT])[1].worked == {maker.lower(): 3}
    rows, watching = run(world, "out", maker, sets=[LAX])
    assert all(row["edited_image"] for row in rows)
    assert rows == run(world, "whole", maker, sets=[LAX])[0]
    assert watching.worked == {maker.lower(): 3, "paint": 3}


def test_failed_rows_are_tried_again_though_their_neighbours_pictures_were_let_go(world, monkeypatch):
    monkeypatch.setenv("LIMBECK_TEST_BROKEN", "1")
    run(world, "out", "Red")
    monkeypatch.delenv("LIMBECK_TEST_BROKEN")
    assert run(world, "out", "Red")[1].worked == {}
    rows, watching = run(world, "out", "Red", retry_failed=True)
    assert rows == run(world, "whole", "Red")[0]
    assert watching.worked == {"paint": 3, "red": 3}


def test_a_kill_while_pictures_are_let_go_loses_none(world, monkeypatch):
    """The disk is full at the second of two files of a part: what was let go is written down already."""
    real = store.write_file

    def full(path, data):
        if full.armed and path.suffix == ".parquet" and "paint" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    def let_go(*args):
        full.armed = True
        return real_let_go(*args)

    full.armed, real_let_go = False, publish.let_go
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_file", full)
        patch.setattr(publish, "let_go", let_go)
        with pytest.raises(DiskFull):
            run(world, "out", "Red", sets=[STRICT])
    folder = next((world / "out" / "stages").glob("*-paint"))
    assert store.read_manifest(folder, 0)["let_go"]
    assert store.read_part(folder, 0)["edited_image"].null_count == 0
    run(world, "out", "Red", sets=[STRICT])
    assert store.read_part(folder, 0)["edited_image"].null_count > 0  # the next run comes to it
    assert run(world, "out", "Red", sets=[LAX])[0] == run(world, "whole", "Red", sets=[LAX])[0]


def test_the_rows_are_those_of_the_pictures(world):
    """The oracle of the others is a build; this one's is arithmetic on the pictures that it published."""
    run(world, "out", sets=[STRICT])
    rows, _ = run(world, "out", "Red", sets=["direction.min_direction=0", "red.min_red=0"])
    assert len(rows) == 60
    for row in rows:
        pixels = np.asarray(Image.open(io.BytesIO(row["edited_image"])))
        assert row["red.red"] == np.float32(pixels[..., 0].mean())
