"""Files for other runtimes. Oracle: torch on the same inputs, and the files' own contents."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from distill import exports
from distill.publishing import latency, lost, macs, refusal
from distill.student import Exported, Metric, Predictor
from distill.tables import ExportTable
from limbeck.errors import MissingExtra


@pytest.fixture(scope="module")
def exported():
    torch.manual_seed(0)
    layers = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
    return Exported(nn.Sequential(layers, nn.Linear(32, 8)).eval(), {"x": torch.randn(2, 5, 32)}, ("y",))


@pytest.fixture(scope="module")
def written(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    return {name: exports.write(name, exported, folder, folder) for name in ("onnx-fp32", "onnx-fp16", "onnx-int8")}


@pytest.mark.parametrize(("format", "tolerance"), [("onnx-fp32", 1e-4), ("onnx-fp16", 2e-2), ("onnx-int8", 0.3)])
@pytest.mark.parametrize("batch", [1, 7])
def test_a_file_answers_like_torch_at_any_batch_size(exported, written, format, tolerance, batch):
    x = np.random.default_rng(batch).normal(size=(batch, 5, 32)).astype(np.float32)
    expected = exports.torch_predictor(exported, exported.module).ask({"x": x})["y"]
    found = exports.open_(format, written[format], exported).ask({"x": x})["y"]
    assert found.shape == (batch, 5, 8)
    assert np.abs(found - expected).max() < tolerance


def test_formats_are_what_they_say(written):
    """Oracle: the types of the weights in the files."""
    kinds = {
        name: {t.data_type for t in onnx.load(str(path)).graph.initializer if np.prod(t.dims) >= 64}
        for name, path in written.items()
    }
    kind = onnx.TensorProto
    assert kinds["onnx-fp32"] == {kind.FLOAT}
    assert kind.FLOAT16 in kinds["onnx-fp16"]
    assert kind.FLOAT not in kinds["onnx-fp16"]
    assert kind.UINT8 in kinds["onnx-int8"]
    sizes = {name: path.stat().st_size for name, path in written.items()}
    assert sizes["onnx-fp16"] < sizes["onnx-fp32"]
    assert not list(written["onnx-int8"].parent.glob(".*")), "what was made on the way is gone"


def test_stored_shapes_go_before_quantising(exported, tmp_path):
    """With them, onnxruntime's quantiser infers shapes that contradict them. Oracle: what is left in the file."""
    from distill.exports.onnx_files import _float32, _quantised

    _float32(exported, tmp_path / "a.onnx")
    assert onnx.load(str(tmp_path / "a.onnx")).graph.value_info
    _quantised(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert not onnx.load(str(tmp_path / "a.onnx")).graph.value_info
    onnx.checker.check_model(str(tmp_path / "b.onnx"))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sums_of_eight_bits_are_whole_on_any_cpu(tmp_path, sign):
    """Weights and inputs at their largest, whose products overflow 16 bits in pairs. Oracle: 64 * 1 * 1; on a CPU with
    VNNI signed weights would pass, so the weights' type is looked at too."""
    linear = nn.Linear(64, 8, bias=False)
    nn.init.constant_(linear.weight, sign)
    exported = Exported(linear, {"x": torch.ones(2, 64)}, ("y",))
    path = exports.write("onnx-int8", exported, tmp_path, tmp_path)
    found = exports.open_("onnx-int8", path, exported).ask({"x": np.ones((3, 64), np.float32)})["y"]
    assert np.allclose(found, sign * 64, rtol=1e-3)
    kinds = {w.data_type for w in onnx.load(str(path)).graph.initializer if len(w.dims) == 2}
    assert kinds == {onnx.TensorProto.UINT8}


def test_a_package_that_is_missing_is_named_with_its_extra(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(exports.FORMATS, "onnx-fp32", ("onnx_files", ("no_such_package",), "distill"))
    with pytest.raises(MissingExtra, match=r"no_such_package.*pip install 'limbeck\[distill\]'"):
        exports.write("onnx-fp32", exported, tmp_path, tmp_path)


def test_multiply_adds_by_hand():
    """4 x 3 and 3 x 2 weights for each of 5 rows: 5 * 18."""
    found = macs(Exported(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), {"x": torch.randn(2, 5, 4)}, ("y",)))
    assert found == 5 * (12 + 6)


def test_latency_is_of_one_row(exported):
    seen = []
    predictor = exports.torch_predictor(exported, exported.module)
    spy = type(predictor)(lambda inputs: (seen.append(inputs["x"].shape), predictor.ask(inputs))[1], "spy")
    found = latency(spy, exported, 5)
    assert set(seen) == {(1, 5, 32)}
    assert 0 < found["p50_ms"] <= found["p95_ms"]


def test_losses_of_a_metric_by_hand():
    assert lost(Metric("a"), 0.9, 0.45) == pytest.approx(0.5)
    assert lost(Metric("a"), 0.0, 0.0) == 0.0
    assert lost(Metric("a", "lower"), 0.0, 0.1) == 1.0
    assert lost(Metric("a"), 0.9, math.nan) == math.inf


@pytest.mark.parametrize("format", ["onnx-fp32", "executorch", "litert", "transformersjs"])
@pytest.mark.parametrize("difference", [2e-4, math.nan])
def test_every_format_of_full_precision_has_to_answer_like_torch(format, difference):
    """The bar is 1e-4; fp16 and int8 have their budget instead."""
    entry, table = {"loss": 0.0, "difference": difference}, ExportTable()
    assert "differs from torch" in refusal(format, entry, Metric("a"), table)
    assert refusal(format, entry | {"difference": 5e-5}, Metric("a"), table) is None
    assert refusal("onnx-fp16", entry, Metric("a"), table) is None
    assert "loses" in refusal("onnx-fp16", entry | {"loss": math.nan}, Metric("a"), table)


def test_a_slow_student_is_timed_for_half_a_minute(monkeypatch):
    """Oracle: a clock that a call advances by 20 s: one to warm up, as many as fit, at least one."""
    now = [0.0]
    monkeypatch.setattr("distill.publishing.time.perf_counter", lambda: now[0])

    def ask(inputs):
        now[0] += 20.0
        return {}

    found = latency(Predictor(ask), Exported(nn.Identity(), {"x": torch.zeros(1, 1)}, ("y",)), 100)
    assert found == {"p50_ms": 20_000.0, "p95_ms": 20_000.0}
    assert now[0] == 40.0
