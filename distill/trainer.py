"""One training loop for every student: what differs between them is a `Lesson`.

    train(lesson, settings, folder)

accelerate brings devices, mixed precision and several processes. A step is a function of (seed, step): its rows, views
and random numbers (`distill.batches`), its learning rate, its seed. So a training that was interrupted goes on from
its checkpoint and ends, on a CPU, with the very bits of an undisturbed one.

A step's loss is a sum over terms of weight * sum / count, where sum and count run over the whole batch: all its
micro-batches, all processes. Averaging averages instead would make the loss depend on how a batch was cut as soon as
rows differ in how many tokens or labels they have. Gradients are summed over processes once, when a step's are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, distributed, nn

from distill import checkpoints
from distill.averaging import Average
from distill.batches import Prepared
from distill.fruitless import LossNotFinite, NothingLearnt
from distill.rates import parameter_groups, rate
from distill.student import Batch, Metric
from distill.training_log import TrainingLog
from limbeck import seeds

if TYPE_CHECKING:
    from accelerate import Accelerator

    from distill.progress import Watcher
    from distill.tables import TrainTable

LOG_EVERY = 25
_LOOK_EVERY = {"cpu": 1}
"""Steps between looks at whether the loss is finite; on other devices each look waits for the device."""


class BatchSource(Protocol):
    """Where batches come from; `distill.batches.Batches` is one."""

    def micro_batches(self, step: int, rank: int = 0, world: int = 1) -> list[Batch]:
        """Tensors of a step, for one of `world` processes."""

    def ids(self, step: int) -> list[str]:
        """Ids of a step's rows, for messages."""


@dataclass(frozen=True)
class Lesson:
    """What a training learns.

    Attributes:
        model: what is trained; parameters without `requires_grad` are left alone.
        batches: of every step.
        losses: model (perhaps wrapped) and batch to the *sum* of each term, float32.
        counts: batch to what each sum is divided by.
        weights: of the terms; others are ignored.
        evaluate: model to figures on development rows; `metric.name` is among them.
        metric: by which looks are compared.
        seed: of everything random in a step.
        paces: beginnings of parameters' names to the share of the learning rate that those learn at; others at all of it.
    """

    model: nn.Module
    batches: BatchSource
    losses: Callable[[nn.Module, Batch], Mapping[str, Tensor]]
    counts: Callable[[Batch], Mapping[str, float]]
    weights: Mapping[str, float]
    evaluate: Callable[[nn.Module], Mapping[str, float]]
    metric: Metric
    seed: int = 0
    paces: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """What a training came to; the model itself was trained in place and holds the best weights.

    Attributes:
        steps: that were made.
        best_step: of the look whose weights were kept.
        kept: `average` or `last`: which weights the best look looked at.
        figures: of the best look.
        other: of the last step's other weights, so that both were judged.
        stopped_early: whether patience ended it.
        seconds: that it took, over all runs.
    """

    steps: int
    best_step: int
    kept: str
    figures: dict[str, float]
    other: dict[str, float]
    stopped_early: bool
    seconds: float


def bare(model: nn.Module) -> nn.Module:
    """The model inside what several processes or compilation wrap around it."""
    from accelerate.utils import extract_model_from_parallel

    return extract_model_from_parallel(model, keep_fp32_wrapper=False)


def train(
    lesson: Lesson,
    settings: TrainTable,
    folder: Path,
    *,
    name: str = "train",
    device: str = "auto",
    watcher: Watcher | None = None,
) -> Trained:
    """Trains `lesson.model` in place, going on from the checkpoint in `folder` where there is one.

    Raises:
        LossNotFinite: stops; the last good checkpoint stays.
        NothingLearnt: from one look to the next no step had anything to learn from.
        DiskFull: a checkpoint couldn't be written; the one before stays.
    """
    run = _Run(lesson, settings, folder, name, accelerator(settings.precision, device), watcher)
    try:
        return run.to_the_end()
    finally:
        run.close()


def accelerator(precision: str = "no", device: str = "auto") -> Accelerator:
    """accelerate's view of this process: its device, its rank among several.

    accelerate keeps the first one's settings for good; a process of its own is free to train once more with others.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    alone = not PartialState._shared_state or PartialState().num_processes == 1
    AcceleratorState._reset_state(reset_partial_state=alone)
    return Accelerator(mixed_precision=precision, cpu=device == "cpu")


def train_mode(model: nn.Module) -> None:
    """Training mode for what is trained; what is frozen stays in evaluation mode, its dropout and statistics too.

    >>> model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.BatchNorm1d(1).requires_grad_(False), nn.Dropout()))
    >>> train_mode(model)
    >>> [module.training for module in (model, model[0], model[1], model[1][1])]
    [True, True, False, False]
    """
    model.train()
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def add_up_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sums each gradient over all processes, once a step; what none of them used keeps none, as in a single process.

    Processes may have had other micro-batches, fewer or none, and used other parameters in them.
    """
    if not parameters:
        return
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
    distributed.all_reduce(used)
    shared = [p for p, processes in zip(parameters, used.tolist(), strict=True) if processes]
    for dtype in dict.fromkeys(p.dtype for p in shared):
        grads = []
        for p in shared:
            if p.dtype == dtype:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                grads.append(p.grad)
        flat = torch.cat([grad.flatten() for grad in grads])
        distributed.all_reduce(flat)
        for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))


class _Run:
    """A training under way."""

    def __init__(
        self,
        lesson: Lesson,
        settings: TrainTable,
        folder: Path,
        name: str,
        accelerator: Accelerator,
        watcher: Watcher | None,
    ) -> None:
        self.lesson, self.settings, self.folder, self.name = lesson, settings, folder, name
        self.acc, self.watcher = accelerator, watcher
        self.last = folder / checkpoints.LAST
        torch.set_flush_denormal(True)
        self.plain = lesson.model.to(self.acc.device)
        self.trained = [p for p in self.plain.parameters() if p.requires_grad]
        groups = parameter_groups(self.plain, settings.weight_decay, lesson.paces)
        fused = self.acc.device.type == "cuda"
        optimiser = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)
        # Mixed precision alone: DistributedDataParallel expects of each process a gradient of every parameter.
        self.model = self.acc.prepare_model(self.plain, evaluation_mode=True)
        self.optimiser = self.acc.prepare(optimiser)
        if self.acc.num_processes > 1:
            for parameter in self.trained:
                distributed.broadcast(parameter.data, 0)
        self.average = Average(self.plain, settings.ema) if settings.ema else None
        self.step, self.looks_since_best, self.seconds, self.idle = 0, 0, 0.0, 0
        self.best: dict[str, Any] | None = None
        self._resume()
        self.log = TrainingLog(folder, self.step) if self.acc.is_main_process else None
        self.pending: list[tuple[int, Tensor, Tensor]] = []
        self.look_every = _LOOK_EVERY.get(self.acc.device.type, LOG_EVERY)

    def to_the_end(self) -> Trained:
        settings, started = self.settings, time.monotonic() - self.seconds
        if self.watcher:
            self.watcher.started(self.name, settings.steps, "steps")
            self.watcher.advanced(self.name, self.step)
        world, rank = self.acc.num_processes, self.acc.process_index
        prepared = Prepared(self.lesson.batches, self.step, settings.steps, rank, world, settings.workers or 0)
        stopped = self._out_of_patience()
        train_mode(self.model)
        told = time.monotonic()
        for micro_batches in prepared if not stopped else ():
            self._step(micro_batches)
            self.step += 1
            if self.watcher and time.monotonic() - told > 1:
                told = time.monotonic()
                self.watcher.advanced(self.name, self.step)
            last = self.step == settings.steps
            if looks := last or self.step % settings.evaluate_every == 0:
                self._look()
                stopped = self._out_of_patience()
            self.seconds = time.monotonic() - started
            if looks or self.step % settings.checkpoint_every == 0:  # the best weights and who they are, together
                self._save()
            if stopped:
                break
        return self._finish(stopped and self.step < settings.steps)

    def _step(self, micro_batches: list[Batch]) -> None:
        lesson, settings, acc = self.lesson, self.settings, self.acc
        seed = seeds.seed(lesson.seed, "step", str(self.step), acc.process_index)
        torch.manual_seed(seed % 2**63)
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.step, settings) * group["pace"]
        counts = self._counts(micro_batches)
        self.idle = 0 if any(counts.values()) else self.idle + 1
        if self.idle >= min(settings.evaluate_every, settings.steps):
            raise NothingLearnt(self.idle, lesson.weights)
        total = torch.zeros((), device=acc.device)
        parts: dict[str, Tensor] = {}
        for batch in micro_batches:
            batch = {k: v.to(acc.device, non_blocking=True) for k, v in batch.items()}
            with acc.autocast():
                sums = lesson.losses(self.model, batch)
            loss = total.new_zeros(())
            for term, weight in lesson.weights.items():
                if counts.get(term, 0) > 0 and term in sums:
                    part = sums[term].float() / counts[term]
                    parts[term] = parts.get(term, 0) + part.detach()
                    loss = loss + weight * part
            total += loss.detach()
            if loss.requires_grad:
                acc.backward(loss)
        if acc.num_processes > 1:
            add_up_gradients(self.trained)
        norm = acc.clip_grad_norm_(self.trained, settings.clip_norm)
        norm = torch.as_tensor(0.0 if norm is None else norm)
        if self.look_every == 1:
            self._refuse_nonsense([(self.step, total, norm)])
        else:
            self.pending.append((self.step, total, norm))
            if len(self.pending) >= self.look_every:
                self._refuse_nonsense(self.pending)
                self.pending = []
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.plain, self.step)
        if self.step % LOG_EVERY == 0 or self.step + 1 == settings.steps:
            self._tell(total, norm, parts)

    def _counts(self, micro_batches: list[Batch]) -> dict[str, float]:
        """What sums are divided by: over all micro-batches of all processes."""
        found = dict.fromkeys(self.lesson.weights, 0.0)
        for batch in micro_batches:
            for term, count in self.lesson.counts(batch).items():
                if term in found:
                    found[term] += float(count)
        if self.acc.num_processes > 1:
            own = torch.tensor(list(found.values()), dtype=torch.float64, device=self.acc.device)
            found = dict(zip(found, self.acc.reduce(own, "sum").tolist(), strict=True))
        return found

    def _refuse_nonsense(self, steps: list[tuple[int, Tensor, Tensor]]) -> None:
        """Raises where a loss, or in full precision a gradient, isn't a number."""
        for step, loss, norm in steps:
            if not torch.isfinite(loss):
                raise LossNotFinite(step, self.lesson.batches.ids(step), f"the loss is {float(loss)}", self.last)
            if not torch.isfinite(norm) and self.settings.precision != "fp16":  # there the scaler skips the step
                raise LossNotFinite(step, self.lesson.batches.ids(step), f"a gradient is {float(norm)}", self.last)

    def _tell(self, loss: Tensor, norm: Tensor, parts: Mapping[str, Tensor]) -> None:
        """Logs the losses of the whole batch; processes have seen the same terms, if not the same rows."""
        named = {"loss": loss, **{term: parts.get(term, loss.new_zeros(())) for term in self.lesson.weights}}
        summed = self.acc.reduce(torch.stack([value.float() for value in named.values()]), "sum").tolist()
        if not self.acc.is_main_process:
            return
        figures = {"norm": float(norm), "lr": rate(self.step, self.settings)} | dict(zip(named, summed, strict=True))
        self.log.write(self.step, figures, "train")
        if self.watcher:
            shown = {"loss": figures["loss"]}
            if self.best:
                shown[self.lesson.metric.name] = self.best["figures"][self.lesson.metric.name]
            self.watcher.advanced(self.name, self.step + 1, shown)

    def _look(self) -> None:
        """Looks at the development rows, with the averaged weights where there are some."""
        self._refuse_nonsense(self.pending)
        self.pending = []
        with self.average.in_place(self.plain) if self.average else nullcontext():
            figures = self._evaluate()
            better = self.best is None or self.lesson.metric.beats(
                figures[self.lesson.metric.name], self.best["figures"][self.lesson.metric.name]
            )
            if better:
                self.looks_since_best = 0
                kept = "average" if self.average else "last"
                self.best = {"step": self.step, "kept": kept, "figures": figures}
                self._save_best()
            else:
                self.looks_since_best += 1
        train_mode(self.model)

    def _evaluate(self, group: str = "dev") -> dict[str, float]:
        """Figures of the main process, the same in all."""
        from accelerate.utils import broadcast_object_list

        found: list[Any] = [None]
        if self.acc.is_main_process:
            self.plain.eval()
            with torch.inference_mode():
                found = [dict(self.lesson.evaluate(self.plain))]
            self.log.write(self.step, found[0], group)
        if self.acc.num_processes > 1:
            broadcast_object_list(found)
        return found[0]

    def _out_of_patience(self) -> bool:
        return self.settings.patience is not None and self.looks_since_best >= self.settings.patience

    def _finish(self, stopped: bool) -> Trained:
        """Judges the last step's raw weights too, and leaves the better ones in the model."""
        state = checkpoints.load(self.folder / checkpoints.BEST, self.acc.device)
        best, other = dict(self.best), {}
        if self.average is not None:
            other = self._evaluate("dev of the last weights")
            name = self.lesson.metric.name
            if self.lesson.metric.beats(other[name], best["figures"][name]):
                best, other, state = {"step": self.step, "kept": "last", "figures": other}, best["figures"], None
        if state is not None:
            checkpoints.load_trained(self.plain, state)
        self.plain.eval()
        if self.watcher:
            self.watcher.finished(self.name)
        return Trained(self.step, best["step"], best["kept"], best["figures"], other, stopped, self.seconds)

    def _save(self) -> None:
        self._refuse_nonsense(self.pending)  # what isn't a number doesn't become a checkpoint
        self.pending = []
        if not self.acc.is_main_process:
            return
        scaler = getattr(self.acc, "scaler", None)
        checkpoints.save(
            self.last,
            {
                "step": self.step,
                "model": checkpoints.trained_state(self.plain),
                "average": self.average.state_dict() if self.average else None,
                "optimiser": self.optimiser.state_dict(),
                "scaler": scaler.state_dict() if scaler else None,
                "best": self.best,
                "looks_since_best": self.looks_since_best,
                "seconds": self.seconds,
            },
        )

    def _save_best(self) -> None:
        if self.acc.is_main_process:
            checkpoints.save(self.folder / checkpoints.BEST, checkpoints.trained_state(self.plain))
        self.acc.wait_for_everyone()

    def _resume(self) -> None:
        state = checkpoints.load(self.last, self.acc.device)
        if state is None:
            return
        checkpoints.load_trained(self.plain, state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if state["scaler"] is not None and getattr(self.acc, "scaler", None) is not None:
            self.acc.scaler.load_state_dict(state["scaler"])
        self.step, self.best = state["step"], state["best"]
        self.looks_since_best, self.seconds = state["looks_since_best"], state["seconds"]

    def close(self) -> None:
        if self.log is not None:
            self.log.close()
        self.acc.free_memory()
