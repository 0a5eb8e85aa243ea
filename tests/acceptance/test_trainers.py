"""The trainers' own code reads what `limbeck export` writes, each in an environment of its own.

Oracle: the trainers. TRL's SFTTrainer and LLaMA-Factory's loader take the rows and their pictures, drop none, teach
exactly the answers, and TRL trains two steps on them. Environments are made once, in `.trainers/` or $LIMBECK_TRAINERS;
that needs a package index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_exports_conversations import ROWS

import limbeck
from limbeck.exports import export
from limbeck.publish import _published
from limbeck.records import columns, published
from limbeck.turns import in_order

pytestmark = pytest.mark.acceptance
ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "trainers"
ENVIRONMENTS = Path(os.environ.get("LIMBECK_TRAINERS", ROOT / ".trainers"))
NEEDS = {"trl": ["trl>=1.16,<2", "torch", "pillow"], "llamafactory": ["llamafactory==0.9.5"]}


@pytest.fixture(scope="module", params=["program-made", "by hand"])
def build(request, tmp_path_factory):
    """Questions about scenes; and rows with many pictures, none, nulls, and pictures in the middle of a turn."""
    folder = tmp_path_factory.mktemp("build")
    if request.param == "program-made":
        return limbeck.build(ROOT / "recipes" / "visual-questions.toml", folder / "out", limit=20, report=False).path
    (folder / "data").mkdir()
    fields = columns("id", "messages", "images", "question_type")
    schema = published(fields)
    table = pa.Table.from_pylist(ROWS, schema=pa.schema(fields))
    table = pa.Table.from_arrays(
        [_published(table[f.name], s.type) for f, s in zip(fields, schema, strict=True)], schema=schema
    )
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    return folder


def loaded(trainer: str, folder: Path) -> dict:
    python = ENVIRONMENTS / trainer / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENTS / trainer)], check=True)
        if subprocess.run([str(python), "-m", "pip", "install", "--quiet", *NEEDS[trainer]], check=False).returncode:
            pytest.skip(f"no package index to install {trainer} from")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    environment.pop("PYTHONPATH", None)
    command = [str(python), str(HERE / f"load_with_{trainer}.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=1500)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_trl(build, tmp_path):
    written = export(build, "trl", tmp_path / "out")
    found = loaded("trl", written.path)
    rows = pq.read_table(written.path / "train.parquet")
    assert found["rows"] == rows.num_rows > 0
    assert found["pictures"] == sum(len(images) for images in rows["images"].to_pylist())
    assert found["steps"] == 2
    print(found)


def test_llamafactory(build, tmp_path):
    written = export(build, "llamafactory", tmp_path / "out")
    found = loaded("llamafactory", written.path)
    (name,) = [name for name in json.loads((written.path / "dataset_info.json").read_text()) if name.endswith("_train")]
    records = json.loads((written.path / f"{name}.json").read_text())
    assert found["rows"] == len(records) > 0, "none is dropped"
    assert found["pictures"] == sum(len(record["images"]) for record in records)
    assert found["answers"] == sum(len(record["messages"]) // 2 for record in records)
    print(found)


def test_hand_made_rows_have_what_trainers_stumble_over():
    shapes = {(len(in_order(row["messages"], row["images"] or [])[1]), len(row["messages"])) for row in ROWS}
    assert {(0, 2), (1, 2), (2, 2), (2, 4)} <= shapes
    assert any(row["images"] is None for row in ROWS)
