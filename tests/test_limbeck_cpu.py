"""How quick a CPU is at bfloat16."""

import time

import pytest
import torch

from limbeck.cpu import bf16_speed


@pytest.fixture(autouse=True)
def anew():
    bf16_speed.cache_clear()
    yield
    bf16_speed.cache_clear()


def test_the_ratio_of_processor_times_and_nothing_else_changed(monkeypatch):
    """Oracle: products that take four and twelve milliseconds of processor time, whatever passes beside them."""

    def product(a, b):
        time.sleep(0.005)
        end = time.thread_time() + (0.012 if a.dtype == torch.bfloat16 else 0.004)
        while time.thread_time() < end:
            pass

    monkeypatch.setattr("torch.nn.functional.linear", product)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: True)
    threads = torch.get_num_threads()
    assert bf16_speed() == pytest.approx(1 / 3, rel=0.1)
    assert torch.get_num_threads() == threads


def test_emulated_products_are_not_tried(monkeypatch):
    """They take thirty times as long. Oracle: nothing is multiplied."""
    monkeypatch.setattr("torch.nn.functional.linear", None)
    monkeypatch.setattr("torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: False)
    assert bf16_speed() == 0
