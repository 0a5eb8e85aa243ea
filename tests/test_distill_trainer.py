"""The training loop. Oracles: an undisturbed run bit by bit, gradients by autograd on the whole batch, values by hand."""

from __future__ import annotations

import copy
import json
import os
import socket
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing import start_processes

from distill import checkpoints
from distill.averaging import Average
from distill.frozen import Frozen
from distill.fruitless import LossNotFinite, NothingLearnt
from distill.rates import rate
from distill.student import Metric
from distill.tables import AdapterTable, TrainTable
from distill.trainer import Lesson, train
from limbeck import store
from limbeck.errors import DiskFull, RequestError

SETTINGS = TrainTable(
    steps=24, batch_size=12, lr=1e-2, warmup=3, evaluate_every=8, checkpoint_every=6, ema=0.9, weight_decay=0.1
)


class Numbers:
    """Rows of three numbers and their sum; rows of a step differ in how many tokens count."""

    def __init__(self, micro: int | None = None, bad_step: int | None = None) -> None:
        self.micro, self.bad_step = micro, bad_step

    def ids(self, step):
        return [f"row-{step}-{n}" for n in range(12)]

    def micro_batches(self, step, rank=0, world=1):
        rng = np.random.default_rng([step])
        x = torch.from_numpy(rng.normal(size=(12, 5, 3)).astype(np.float32))
        counts = torch.from_numpy((rng.random((12, 5)) < 0.5).astype(np.float32))
        if step == self.bad_step:
            x[3] = torch.nan
        batch = {"x": x[rank::world], "mask": counts[rank::world]}
        size = self.micro or len(batch["x"])
        return [{k: v[i : i + size] for k, v in batch.items()} for i in range(0, len(batch["x"]), size)]


def losses(model, batch):
    each = (model(batch["x"]).squeeze(-1) - batch["x"].sum(-1)).square()
    return {"fit": (each * batch["mask"]).sum(), "small": model(batch["x"]).square().sum()}


def counts(batch):
    return {"fit": float(batch["mask"].sum()), "small": float(len(batch["x"]))}


ERROR = Metric("error", "lower")


def lesson(seed=0, dropout=0.0, source=None, evaluate=None) -> Lesson:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))

    def error(m):
        x = torch.linspace(-1, 1, 30).reshape(10, 3)
        return {"error": float((m(x).squeeze(-1) - x.sum(-1)).abs().mean())}

    return Lesson(
        model, source or Numbers(), losses, counts, {"fit": 1.0, "small": 0.1}, evaluate or error, ERROR, seed
    )


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


class Stop(Exception):
    pass


class Interrupted(Numbers):
    """Ends the training at a step, as a kill would."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def micro_batches(self, step, rank=0, world=1):
        if step == self.at:
            raise Stop
        return super().micro_batches(step, rank, world)


@pytest.mark.parametrize("at", [7, 13, 23])
def test_an_interrupted_training_ends_bit_equal(tmp_path, at):
    """With dropout, warm-up, average, looks and best weights. Oracle: the same training, undisturbed."""
    whole = lesson(dropout=0.3)
    expected = train(whole, SETTINGS, tmp_path / "whole", device="cpu")
    broken = lesson(dropout=0.3)
    with pytest.raises(Stop):
        train(replace(broken, batches=Interrupted(at)), SETTINGS, tmp_path / "cut", device="cpu")
    again = lesson(dropout=0.3)
    found = train(again, SETTINGS, tmp_path / "cut", device="cpu")
    assert same(state(whole.model), state(again.model))
    assert found.figures == expected.figures
    assert found.other == expected.other
    last = [torch.load(tmp_path / name / checkpoints.LAST, weights_only=True) for name in ("whole", "cut")]
    assert same(last[0]["model"], last[1]["model"])
    assert same(last[0]["average"], last[1]["average"])
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_finished_training_is_not_trained_on(tmp_path):
    first = lesson()
    train(first, SETTINGS, tmp_path, device="cpu")
    again = lesson()
    found = train(replace(again, batches=Interrupted(0)), SETTINGS, tmp_path, device="cpu")
    assert found.steps == SETTINGS.steps
    assert same(state(first.model), state(again.model))


@pytest.mark.parametrize("micro", [1, 5, 12])
def test_the_result_does_not_depend_on_the_micro_batch(tmp_path, micro):
    """Rows differ in how many tokens count, so that averaging averages would show. Oracle: the batch in one piece."""
    whole, cut = lesson(), lesson(source=Numbers(micro))
    for each in (whole, cut):
        each.model.double()
        own = each.batches.micro_batches
        each.batches.micro_batches = lambda *a, own=own: [{k: v.double() for k, v in b.items()} for b in own(*a)]
    plain = [replace(each, evaluate=lambda m: {"error": 0.0}) for each in (whole, cut)]
    for each, name in zip(plain, ("whole", "cut"), strict=True):
        train(each, SETTINGS, tmp_path / name, device="cpu")
    for a, b in zip(whole.model.parameters(), cut.model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-6)  # losses are float32


def test_the_first_step_is_adamws_on_the_true_mean(tmp_path):
    """Oracle: autograd and torch's AdamW on sum / count, by hand."""
    own = lesson()
    mine = copy.deepcopy(own.model)
    settings = SETTINGS.model_copy(update={"steps": 1, "ema": 0.0, "clip_norm": 1e9})
    train(own, settings, tmp_path, device="cpu")
    batch = Numbers().micro_batches(0)[0]
    sums, n = losses(mine, batch), counts(batch)
    (sums["fit"] / n["fit"] + 0.1 * sums["small"] / n["small"]).backward()
    groups = [
        {"params": [p for p in mine.parameters() if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in mine.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    torch.optim.AdamW(groups, lr=rate(0, settings), betas=settings.betas).step()
    for a, b in zip(own.model.parameters(), mine.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_a_loss_that_is_not_a_number_stops_and_says_which_batch(tmp_path):
    """The checkpoint of step 12 stays, and is whole; nothing after it was written."""
    with pytest.raises(LossNotFinite, match="the loss is nan at step 15, rows row-15-0") as error:
        train(lesson(source=Numbers(bad_step=15)), SETTINGS, tmp_path, device="cpu")
    assert (error.value.step, error.value.ids[:2]) == (15, ["row-15-0", "row-15-1"])
    assert f"The last good checkpoint is {tmp_path / checkpoints.LAST}" in str(error.value)
    kept = torch.load(tmp_path / checkpoints.LAST, weights_only=True)
    assert kept["step"] == 12
    assert all(torch.isfinite(value).all() for value in kept["model"].values())


@pytest.mark.parametrize(("free", "error"), [(0, DiskFull), (2**30, RuntimeError)])
def test_a_checkpoint_on_a_full_disk_is_one_clear_error(tmp_path, monkeypatch, free, error):
    """torch writes in C++ and says "iostream error". Oracle: the class, and the last checkpoint as it was."""
    checkpoints.save(tmp_path / checkpoints.LAST, {"step": 1})

    def half(state, place):
        place.write_bytes(b"half")
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(checkpoints.torch, "save", half)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    with pytest.raises(error):
        checkpoints.save(tmp_path / checkpoints.LAST, {"step": 2})
    assert torch.load(tmp_path / checkpoints.LAST, weights_only=True)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == [checkpoints.LAST]


def test_a_look_that_is_late_keeps_nonsense_out_of_checkpoints(tmp_path, monkeypatch):
    """On a GPU losses are looked at now and then; a checkpoint that is due first has to look, too."""
    monkeypatch.setattr("distill.trainer._LOOK_EVERY", {"cpu": 1000})
    settings = SETTINGS.model_copy(update={"evaluate_every": 24})  # no look at the development rows before
    with pytest.raises(LossNotFinite, match="at step 15"):
        train(lesson(source=Numbers(bad_step=15)), settings, tmp_path, device="cpu")
    assert torch.load(tmp_path / checkpoints.LAST, weights_only=True)["step"] == 12


@pytest.mark.parametrize(("heard", "steps"), [({}, 8), ({5}, 14), ({5, 12, 19}, None)])
def test_a_training_without_anything_to_learn_is_refused(tmp_path, heard, steps):
    """Looks are 8 steps apart; rows count in the steps `heard` alone. Oracle: which step is one too many, by hand."""
    source, at = Numbers(), []
    own = source.micro_batches

    def micro_batches(step, rank=0, world=1):
        at.append(step)
        return own(step, rank, world)

    source.micro_batches = micro_batches
    few = replace(lesson(source=source), counts=lambda b: dict.fromkeys(("fit", "small"), float(at[-1] in heard)))
    if steps is None:
        assert train(few, SETTINGS, tmp_path, device="cpu").steps == SETTINGS.steps
        return
    with pytest.raises(NothingLearnt, match=r"in 8 steps no row counted for any term of the loss \(fit, small\)"):
        train(few, SETTINGS, tmp_path, device="cpu")
    assert at[-1] + 1 == steps


class TwoWays(nn.Module):
    """`side` is asked by some rows alone, `spare` by none."""

    def __init__(self):
        super().__init__()
        self.trunk, self.side, self.spare = (nn.Linear(3, 1) for _ in range(3))

    def forward(self, x, side):
        return self.trunk(x) + (self.side(x.square()) if side else 0)


class Uneven:
    """Micro-batches (rows, whether `side` is asked, whether they count) of two processes; of one, all of them."""

    pieces = (
        ([(3, False, True)], [(2, True, True), (4, False, False)]),
        ([(1, False, True), (2, True, True)], []),
        ([(2, False, True), (3, True, False)], [(3, False, True)]),
        ([(2, False, False)], [(2, False, True)]),
    )

    def ids(self, step):
        return []

    def micro_batches(self, step, rank=0, world=1):
        of = self.pieces[step % len(self.pieces)]
        rng = np.random.default_rng(step)
        made = [
            [
                {"x": torch.from_numpy(rng.normal(size=(n, 3)).astype(np.float32)), "how": torch.tensor([side, counts])}
                for n, side, counts in mine
            ]
            for mine in of
        ]
        return made[rank] if world > 1 else made[0] + made[1]


def uneven(seed) -> Lesson:
    torch.manual_seed(seed)

    def losses(model, batch):
        side, counted = batch["how"].tolist()
        if not counted:
            return {}
        return {"fit": (model(batch["x"], side).squeeze(-1) - batch["x"].sum(-1)).square().sum()}

    def counts(batch):
        return {"fit": float(len(batch["x"])) if batch["how"][1] else 0.0}

    return Lesson(TwoWays(), Uneven(), losses, counts, {"fit": 1.0}, lambda model: {"error": 0.0}, ERROR)


def one_of_two(rank, folder, port):
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    own = uneven(seed=rank)
    train(own, SETTINGS, folder, device="cpu")
    torch.save(own.model.state_dict(), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_processes_whose_rows_use_other_parameters_train_what_one_does(tmp_path):
    """Text beside pictures, micro-batches without any gradient, a process without rows. Oracle: one process.

    First weights are the main process's. What no row used stays as it was, weight decay and all.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = start_processes(one_of_two, (tmp_path, port), nprocs=2, join=False)
    until = time.monotonic() + 240
    try:
        while not both.join(timeout=1):
            assert time.monotonic() < until, "they wait for each other"
    finally:
        for process in both.processes:
            process.kill()
    one = uneven(seed=0)
    spare = state(one.model.spare)
    train(one, SETTINGS, tmp_path / "one", device="cpu")
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(torch.allclose(found[name], value, atol=1e-6) for name, value in one.model.state_dict().items())
        assert torch.equal(found["spare.weight"], spare["weight"])
    assert not torch.equal(one.model.side.weight, uneven(seed=0).model.side.weight)


def test_patience_ends_a_training_and_the_best_weights_are_kept(tmp_path):
    """Figures 3, 1, 2, 2, ...: the second look is the best, and patience 2 ends it two looks later."""
    figures = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    seen = []

    def evaluate(model):
        seen.append(state(model))
        return {"error": next(figures)}

    settings = SETTINGS.model_copy(update={"steps": 100, "patience": 2, "evaluate_every": 5})
    own = lesson(evaluate=evaluate)
    found = train(own, settings, tmp_path, device="cpu")
    assert (found.steps, found.best_step, found.stopped_early) == (20, 10, True)
    assert found.figures == {"error": 1.0}
    assert same(state(own.model), seen[1])


def test_last_weights_are_judged_beside_the_average(tmp_path):
    """Where the last ones are better, they are kept. Looks see 5 with the average, 1 without it."""
    figures = iter([5.0, 5.0, 5.0, 1.0])
    found = train(lesson(evaluate=lambda m: {"error": next(figures)}), SETTINGS, tmp_path, device="cpu")
    assert (found.kept, found.figures, found.other) == ("last", {"error": 1.0}, {"error": 5.0})


def test_metrics_are_logged(tmp_path):
    train(lesson(), SETTINGS, tmp_path, device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    looks = [line["step"] for line in lines if "dev/error" in line]
    assert looks[:3] == [7 + 1, 15 + 1, 23 + 1]
    assert {"train/loss", "train/fit", "train/small", "train/lr", "train/norm"} <= lines[0].keys()
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_the_average_by_hand():
    """Decay 0.5 after ramp-up: 0 -> 0.1 * 0 + 0.9 * 1 at step 0 (decay 1/10), then halves from step 8 on."""
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = Average(model, 0.5)
    model.weight.data.fill_(1.0)
    average.update(model, 0)
    assert average.values[0].item() == pytest.approx(0.9)
    model.weight.data.fill_(2.0)
    average.update(model, 8)  # (1 + 8) / (10 + 8) = 0.5
    assert average.values[0].item() == pytest.approx(1.45)
    with average.in_place(model):
        assert model.weight.item() == pytest.approx(1.45)
    assert model.weight.item() == 2.0


def test_an_average_of_another_architecture_is_refused():
    with pytest.raises(KeyError):
        Average(nn.Linear(2, 2), 0.9).load_state_dict({"other": torch.zeros(2, 2)})


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    train(lesson(), SETTINGS, tmp_path, device="cpu")
    other = replace(lesson(), model=nn.Linear(3, 1))
    with pytest.raises(RuntimeError, match="checkpoint of another model"):
        train(other, SETTINGS, tmp_path, device="cpu")


def test_a_frozen_teacher_stays_frozen_whatever_its_student_does(tmp_path):
    """Under `.train()`, in the optimiser, in the state, in gradients."""
    teacher = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1), nn.Dropout(0.9))
    frozen = Frozen(teacher)
    before = state(teacher)

    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.teacher = nn.Linear(3, 1), frozen

        def forward(self, x):
            return self.inner(x)

    student = Student()
    teacher.train()  # by mistake
    own = replace(
        lesson(),
        model=student,
        losses=lambda m, b: {"fit": (m(b["x"]) - frozen(b["x"].reshape(-1, 3)).reshape(12, 5, 1)).square().sum()},
        counts=lambda b: {"fit": 60.0},
        weights={"fit": 1.0},
    )
    train(own, SETTINGS, tmp_path, device="cpu")
    assert not teacher.training
    assert same(before, state(teacher))  # running statistics too
    assert all(p.grad is None for p in teacher.parameters())
    kept = torch.load(tmp_path / checkpoints.LAST, weights_only=True)
    assert {*kept["model"]} == {"inner.weight", "inner.bias"}
    assert len(kept["optimiser"]["state"]) == 2


def test_frozen_weights_of_a_student_neither_change_nor_fill_checkpoints(tmp_path):
    own = lesson()
    own.model[1].requires_grad_(False)
    before = state(own.model[1])
    train(own, SETTINGS, tmp_path, device="cpu")
    assert same(before, state(own.model[1]))
    assert {*torch.load(tmp_path / checkpoints.LAST, weights_only=True)["model"]} == {"3.weight", "3.bias"}


def test_statistics_of_frozen_layers_stay(tmp_path):
    """Batch norm of a frozen part would otherwise learn the student's data. Oracle: its state before."""
    own = lesson(evaluate=lambda model: {"error": 0.0})
    model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(5), nn.Linear(6, 1))  # of (B, 5, 6)
    model[1].requires_grad_(False)
    before = state(model[1])
    train(replace(own, model=model), SETTINGS, tmp_path, device="cpu")
    assert same(before, state(model[1]))


def test_lora_trains_its_matrices_alone_and_is_merged(tmp_path):
    """Oracle: the merged layer is W + alpha / rank * B A, and everything else is untouched."""
    from distill.adapters import adapted, merged

    own = lesson()
    plain = state(own.model)
    model = adapted(own.model, AdapterTable(kind="lora", rank=2, alpha=4.0, targets=("1",)))
    names = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(names) == 2
    assert all("lora_" in name for name in names)
    train(replace(own, model=model), SETTINGS, tmp_path, device="cpu")
    layer = model.base_model.model[1]
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    expected = plain["1.weight"] + 4.0 / 2 * product
    whole = merged(model)
    assert torch.allclose(whole[1].weight, expected, atol=1e-6)
    assert torch.equal(whole[3].weight, plain["3.weight"])
    assert not torch.equal(whole[1].weight, plain["1.weight"])


def test_layers_to_adapt_that_are_not_there():
    from distill.adapters import adapted

    with pytest.raises(RequestError, match="can't adapt") as error:
        adapted(nn.Sequential(nn.Linear(2, 2)), AdapterTable(kind="lora", targets=("q_proj",)))
    assert error.value.where == "train.adapter.targets"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [0.5, 1.0, 1.0, 1.0]), ("linear", [0.5, 1.0, 0.5, 0.0]), ("cosine", [0.5, 1.0, 0.5, 0.0])],
)
def test_rates_by_hand(schedule, expected):
    """Warm-up of 2 steps, then a decay over 8: at its start, middle and end."""
    settings = TrainTable(steps=10, warmup=2, lr=1.0, schedule=schedule)
    assert [rate(step, settings) for step in (0, 2, 6, 10)] == pytest.approx(expected, abs=1e-12)


def test_mixed_precision_keeps_weights_in_float32(tmp_path):
    own = lesson()
    train(own, SETTINGS.model_copy(update={"precision": "bf16"}), tmp_path, device="cpu")
    assert {p.dtype for p in own.model.parameters()} == {torch.float32}
    assert not same(state(own.model), state(lesson().model))
