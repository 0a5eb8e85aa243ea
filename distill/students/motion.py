"""A network that magnifies motion too small to see, trained on the simulator's truth.

What is learnt is the clean magnified frame (terms `l1` and `edges`); noise in the two input frames is drawn anew at
every step, by the law of each clip's own sensor. A teacher (`imitate`) can be the phase-based method or a larger
magnifier, for clips whose truth may not be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, MinLen
from numpy.typing import NDArray

from distill.motion import examples, figures, measures, methods, plaids, shown
from distill.motion.pair_files import PairFiles
from distill.motion.pairs import LIGHT_STEPS, motion_px, spec_of
from distill.student import Answers, Batch, Exported, Item, Metric, Predictor, Scores, Student, Term
from limbeck.motion.curriculum import STILL
from limbeck.records import columns
from limbeck.stage import settings

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from torch import nn

    from distill.motion.pairs import Pair
    from distill.teacher import Teacher
    from distill.work import Work
    from limbeck.motion.spec import ClipSpec

MOST_PARAMETERS = 300_000
SUBPIXEL = "ssim_subpixel"


@settings
class Motion(Student):
    """A motion magnifier: two frames and a gain to the magnified frame."""

    name: ClassVar = "motion"
    version: ClassVar = 1
    adapters: ClassVar = ()
    formats: ClassVar = ("safetensors", "onnx-fp32", "onnx-fp16", "onnx-int8", "executorch", "litert")
    library: ClassVar = "limbeck"
    task: ClassVar = "video-to-video"

    width: Annotated[int, Gt(0)] = 32
    """Channels at its finest scale."""
    windows: Annotated[tuple[int, ...], MinLen(1)] = (4, 3, 2)
    """Windows in which shifts are measured, at full size, half, quarter, ...; see `limbeck.motion.local_shift`."""
    rings: tuple[int, ...] = (1, 2)
    """Distances, in cells, at which a pixel may look for its motion; the farthest should reach `bound_px`."""
    cell_px: Annotated[int, Ge(1)] = 4
    """Side of a cell."""
    refine: Annotated[int, Ge(0)] = 16
    """Channels of the correction at full size; 0 is none."""
    bound_px: Annotated[float, Gt(0)] = 8.0
    """Largest magnified motion it is made for."""
    max_gain: Annotated[float, Gt(1)] = 100.0
    """Largest gain it is made for; more is a warning."""
    crop_px: Annotated[int, Ge(0)] = 64
    """Side of the crops it is trained on; 0 is the whole frame."""
    teacher: str | None = None
    """`phase-based`, or the folder of a larger magnifier; by default the truth is the only teacher."""
    paint: Literal["stored", "device"] = "stored"
    """Training pairs are rendered once and stored, or painted at every step on the device that trains."""
    gain_clips: Annotated[int, Ge(0)] = 60
    """Held-out clips whose shown gain is measured."""

    bins: Annotated[int, Ge(1)] = 6
    """Logarithmic bins of sub-pixel motion in which it is judged."""

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        """SSIM over all sub-pixel clips, bin by bin and over all; what is made up; what gratings show."""
        return (
            Metric(SUBPIXEL, about="SSIM with the true magnified frame, clips that move by 0.01 to 1 px"),
            *(Metric(f"ssim_{name}", about=f"SSIM, motion of {name} px") for name in measures.bin_names(self.bins)),
            Metric("ssim", about="SSIM, all clips"),
            Metric("leakage", "lower", about="RMS error where nothing moves, grey levels"),
            Metric("gain_error", "lower", about="gain shown on gratings: mean relative error"),
            Metric("gain_clips", about="gain shown in clips, over the gain asked: median"),
            Metric("frequency_error_hz", "lower", about="frequency of magnified vibrations: mean error, Hz"),
            Metric("amplitude_error", "lower", about="amplitude of magnified vibrations: mean relative error"),
        )

    @property
    def terms(self) -> dict[str, Term]:
        """The truth's two, and the teacher's where there is one."""
        truth = {"l1": Term("label"), "edges": Term("label")}
        return {**truth, "imitate": Term("teacher")} if self.teacher else truth

    @property
    def reads(self) -> tuple[pa.Field, ...]:
        """The specification, from which everything is rendered, and what it says."""
        return columns("clip_spec", "subset", "gain_total", "width_px", "height_px", "frame_count")

    @property
    def reads_if_there(self) -> tuple[pa.Field, ...]:
        """Frames, where the build holds them."""
        return columns("frames", "magnified_frames", "layer_ids")

    def check(self, work: Work) -> list[str]:
        """Clips that differ in size, have no gain or too large ones; crops and views that don't fit."""
        found, sizes = [], [[*work.dataset.values(name)] for name in ("height_px", "width_px", "gain_total")]
        kinds = {(height, width, len(gains or ())) for height, width, gains in zip(*sizes, strict=True)}
        highest = max((gain for gains in sizes[2] for gain in gains or ()), default=0.0)
        if len(kinds) != 1:
            found.append(f"clips of {len(kinds)} kinds (height, width, gains): {sorted(kinds)[:4]}; expected one")
        height, width, gains = sorted(kinds)[0]
        if not gains:
            found.append("the clips have no gain, so nothing is magnified")
        if self.crop_px > min(height, width):
            found.append(f"crop_px = {self.crop_px} is larger than the frames of {width} x {height} px")
        if highest > self.max_gain * (1 + 1e-6):
            found.append(f"the clips' gains go up to {highest:g}, beyond max_gain = {self.max_gain:g}")
        if work.recipe.views.count > 1:
            found.append("views.count must be 1: a resized crop is of another motion")
        if self.paint == "device" and self.teacher:
            found.append("paint = 'device' has no stored recording for the teacher; use paint = 'stored'")
        if self._parameters() > MOST_PARAMETERS:
            found.append(f"{self._parameters():,} parameters; expected at most {MOST_PARAMETERS:,}")
        return found

    def taught_by(self, work: Work) -> Teacher | None:
        """Magnified frames of recorded pairs."""
        if not self.teacher:
            return None
        from distill.motion.teachers import MagnifyingTeacher

        row = work.dataset.row(0)
        return MagnifyingTeacher(
            self.teacher, work.recipe.folder, (row["height_px"], row["width_px"]),
            lambda row: (self._pair(row, work), row["gain_total"][0]),
        )  # fmt: skip

    def build(self, work: Work) -> nn.Module:
        """A fresh `Magnifier`."""
        from limbeck.motion.magnifier import Magnifier

        return Magnifier(self._config())

    def begin(self, model: nn.Module, phase: str, work: Work) -> None:
        """Renders what isn't there yet, before worker processes ask for it."""
        from distill.batches import pools

        found = pools(work.dataset, work.recipe, work.seed)
        if self.paint == "stored":
            self._files(work).prepare(found.train)
        else:
            rows = work.dataset.walk(found.labelled)
            self._painter(work).prepare(
                [p for p, row in zip(found.labelled, rows, strict=True) if self.takes(row, phase)]
            )

    def takes(self, row: dict[str, Any], phase: str) -> bool:
        """What bends, or was filmed with a rolling shutter, can't be painted many at once."""
        if self.paint == "stored":
            return True
        from limbeck.motion.batch import is_batchable

        spec = spec_of(row)
        return is_batchable(spec) and spec.sensor.exposure_s == 0

    @property
    def prepares_apart(self) -> bool:
        """Not where the bank lies on the device."""
        return self.paint != "device"

    def batch(self, items: Sequence[Item], phase: str, work: Work) -> Batch:
        """`first`, `second`, `target`, `taught` (B, 3, S, S); `gain` (B,); `labelled` and `answered` (B,) bool.

        Where frames are painted on the device: `clip` (B,) int64, numbers of its bank, and `noise` (B,) int64, seeds.
        """
        import torch

        if self.paint == "device":
            painter = self._painter(work)
            return {
                "clip": torch.tensor([painter.at[work.dataset.at(item.row["id"])] for item in items]),
                "noise": torch.tensor([int(item.rng.integers(1 << 62)) for item in items]),
            }
        examples = [self._example(item, work) for item in items]
        return {name: torch.from_numpy(np.stack([example[name] for example in examples])) for name in examples[0]}

    def counts(self, batch: Batch) -> dict[str, float]:
        """Rows with a label, rows with a teacher's answer."""
        if "clip" in batch:
            return dict.fromkeys(("l1", "edges"), float(len(batch["clip"])))
        labelled, answered = float(batch["labelled"].sum()), float(batch["answered"].sum())
        return {"l1": labelled, "edges": labelled, "imitate": answered}

    def losses(self, model: nn.Module, batch: Batch, phase: str, work: Work) -> dict[str, torch.Tensor]:
        """Mean absolute errors of pixels, and of differences between neighbours, summed over rows."""
        if "clip" in batch:
            batch = self._painter(work).paint(batch["clip"].tolist(), batch["noise"].tolist(), self.crop_px)
        magnified, found = model(batch["first"], batch["second"], batch["gain"]).float(), {}
        if {"l1", "edges"} & {*work.terms}:
            error = magnified - batch["target"]
            known = batch["labelled"]
            found["l1"] = (examples.size(error) * known).sum()
            found["edges"] = (examples.edges(error) * known).sum()
        if "imitate" in work.terms:
            error = magnified - batch["taught"]
            found["imitate"] = ((examples.size(error) + examples.edges(error)) * batch["answered"]).sum()
        return found

    def answer(self, predictor: Predictor, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """`magnified` (N, 3, H, W), and what is shown of gratings: `gain_curve` (N, M, 5), `vibrations` (N, V, 5).

        What is shown of gratings is the same in every row.
        """
        return self._answers(shown.asked(predictor), rows, work)

    def teacher_answers(self, rows: Sequence[dict[str, Any]], work: Work) -> Answers | None:
        """Its cached frames."""
        if work.cache is None:
            return None
        from distill.motion.teachers import MAGNIFIED

        return {"magnified": work.cache.targets(MAGNIFIED, [row["id"] for row in rows]).astype(np.float32) / 255}

    def baselines(self, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, Answers]:
        """The input itself, linear and phase-based magnification, and the true warp."""
        found = {name: self._answers(method, rows, work) for name, method in methods.METHODS.items()}
        found[methods.WARP] = {"magnified": self._warped(rows, work)}
        return found

    def glance(self, model: nn.Module, rows: Sequence[dict[str, Any]], work: Work) -> dict[str, float]:
        """SSIM alone."""
        frames = self._magnified(shown.asked(self.predictor(model, work)), rows, work)
        each, moved = measures.ssim(frames, self._targets(rows, work)), self._motions(rows)
        small = measures.bin_of(moved, self.bins) >= 0
        return {SUBPIXEL: float(each[small if small.any() else slice(None)].mean()), "ssim": float(each.mean())}

    def score(
        self, answers: Answers, rows: Sequence[dict[str, Any]], work: Work, teacher: Answers | None = None
    ) -> Scores:
        """SSIM by bin and subset, leakage, shown gains, vibrations."""
        frames, targets, moved = answers["magnified"], self._targets(rows, work), self._motions(rows)
        each, bins = measures.ssim(frames, targets), measures.bin_of(moved, self.bins)
        leaked = measures.leakage(frames, targets, np.stack([self._pair(row, work).still for row in rows]))
        items = {
            SUBPIXEL: np.where(bins >= 0, each, np.nan),
            **{f"ssim_{n}": np.where(bins == i, each, np.nan) for i, n in enumerate(measures.bin_names(self.bins))},
            "ssim": each,
            "leakage": leaked,
        }
        items = {name: value for name, value in items.items() if not np.isnan(value).all()}  # few rows leave bins empty
        values = {name: float(np.nanmean(value)) for name, value in items.items()}
        subsets = [row["subset"] for row in rows]
        more: dict[str, Any] = {
            "rows": {"ssim": each.tolist(), "bin": bins.tolist(), "motion_px": moved.tolist()},
            "bins": list(measures.bin_names(self.bins)),
            "subsets": {s: _by_subset(each, leaked, np.array(subsets) == s) for s in dict.fromkeys(subsets)},
        }
        clips = (
            (row["id"], self._spec(row, work), frame)
            for row, frame in zip(rows, frames, strict=True)
            if row["subset"] not in STILL
        )
        gains = work.memo.setdefault("ladders", shown.Ladders()).gains(clips, self.gain_clips, self.bound_px)
        if len(gains):
            values["gain_clips"] = float(np.median(gains[:, 1]))
            more["gain_clips"] = gains.tolist()
        if "gain_curve" in answers:
            curve, swings = answers["gain_curve"][0], answers["vibrations"][0]
            values["gain_error"] = float(np.abs(curve[:, 3] / curve[:, 2] - 1).mean())
            values["frequency_error_hz"] = float(swings[:, 1].mean())
            values["amplitude_error"] = float(np.abs(swings[:, 2] - 1).mean())
            more |= {"gain_curve": curve.tolist(), "vibrations": swings.tolist()}
        return Scores(values, items, more=more)

    def save(self, model: nn.Module, folder: Path, work: Work) -> None:
        """Weights and config, as `huggingface_hub`'s mixin has them."""
        model.save_pretrained(folder)

    def load(self, folder: Path, work: Work) -> nn.Module:
        """By `Magnifier.from_pretrained`."""
        from limbeck.motion.magnifier import Magnifier

        return Magnifier.from_pretrained(folder)

    def exported(self, model: nn.Module, work: Work) -> Exported:
        """First frame, second frame, gain -> magnified frame, at the size of the dataset's frames."""
        import torch

        row = work.dataset.row(0)
        side = max(row["height_px"], row["width_px"])
        pair = [
            plaids.plaid(side, 12, shift)[:, : row["height_px"], : row["width_px"]] for shift in ((0, 0), (0.2, 0.1))
        ]
        first, second = (torch.from_numpy(np.stack([frame, frame[::-1].copy()])) for frame in pair)
        gain = torch.tensor([2.0, self.bound_px])
        return Exported(model, {"first": first, "second": second, "gain": gain}, ("magnified",))

    def card_sections(self, report: dict[str, Any], folder: Path, work: Work) -> str:
        """Bins against the baselines, gain curve, subsets, pictures."""
        return figures.sections(report, folder, self._shown(report, folder, work))

    def usage(self, work: Work) -> str:
        """Loading and magnifying."""
        return (
            "from limbeck.motion.magnifier import Magnifier\n\n"
            'magnifier = Magnifier.from_pretrained("FOLDER")\n'
            "magnified = magnifier.magnify(first, second, 20.0)  # (3, H, W) in [0, 1] twice; the motion 20 times as large"
        )

    # --- what is shared by the methods above

    def _config(self) -> Any:
        from limbeck.motion.magnifier import MagnifierConfig

        return MagnifierConfig(
            self.width, self.windows, self.rings, self.cell_px, self.refine, self.bound_px, 1.0, self.max_gain
        )

    def _parameters(self) -> int:
        import torch

        from limbeck.motion.magnifier import Magnifier

        with torch.device("meta"):
            return sum(p.numel() for p in Magnifier(self._config()).parameters())

    def _files(self, work: Work) -> PairFiles:
        if "pairs" not in work.memo:
            work.memo["pairs"] = PairFiles(work.dataset, work.dataset.path.parent.parent / "pairs")
        return work.memo["pairs"]

    def _pair(self, row: dict[str, Any], work: Work) -> Pair:
        return self._files(work)[work.dataset.at(row["id"])]

    def _painter(self, work: Work) -> Any:
        if "painter" not in work.memo:
            from distill.motion.painter import Painter

            work.memo["painter"] = Painter(work.dataset, work.device)
        return work.memo["painter"]

    def _spec(self, row: dict[str, Any], work: Work) -> ClipSpec:
        specs = work.memo.setdefault("clip specs", {})
        if row["id"] not in specs:
            specs[row["id"]] = spec_of(row)
        return specs[row["id"]]

    def _example(self, item: Item, work: Work) -> dict[str, Any]:
        """One training example."""
        from distill.motion.teachers import MAGNIFIED

        return examples.example(
            self._pair(item.row, work),
            self._spec(item.row, work),
            None if item.target is None else item.target[MAGNIFIED],
            item.rng,
            labelled=item.labelled and "l1" in work.terms,
            crop_px=self.crop_px,
        )

    def _magnified(self, magnify: plaids.Magnify, rows: Sequence[dict[str, Any]], work: Work) -> NDArray[np.float32]:
        return shown.magnified(magnify, [self._pair(row, work) for row in rows], [row["gain_total"][0] for row in rows])

    def _answers(self, magnify: plaids.Magnify, rows: Sequence[dict[str, Any]], work: Work) -> Answers:
        """Magnified frames of rows, and of gratings of the same size."""
        shape = (rows[0]["height_px"], rows[0]["width_px"])
        own = {"magnified": self._magnified(magnify, rows, work)}
        return own | shown.of_gratings(magnify, shape, len(rows), max_gain=self.max_gain, bound_px=self.bound_px)

    def _targets(self, rows: Sequence[dict[str, Any]], work: Work) -> NDArray[np.float32]:
        return np.stack([self._pair(row, work).magnified[0] for row in rows]).astype(np.float32) / LIGHT_STEPS

    def _motions(self, rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
        """Displacement of the fastest thing, px; 0 where only colours change."""
        return np.array([0.0 if row["subset"] in STILL else motion_px(spec_of(row)) for row in rows])

    def _warped(self, rows: Sequence[dict[str, Any]], work: Work) -> NDArray[np.float32]:
        from distill.motion.pairs import moved_frame

        specs = [self._spec(row, work) for row in rows]
        return np.stack([methods.true_warp(s, s.gains[0], moved_frame(s)) for s in specs]).astype(np.float32)

    def _shown(self, report: dict[str, Any], folder: Path, work: Work) -> list[figures.Strip]:
        """Held-out clips to look at: the first of each sub-pixel bin."""
        from distill import exports
        from distill.batches import held_out

        rows = work.dataset.rows(held_out(work.dataset, work.recipe)[2])
        bins = measures.bin_of(self._motions(rows), self.bins)
        chosen = [rows[int(np.flatnonzero(bins == n)[0])] for n in range(bins.max() + 1) if (bins == n).any()]
        if not chosen:
            return []
        model = self.load(folder, work)
        ask = shown.asked(exports.torch_predictor(self.exported(model, work), model))
        tried = {"student": ask, methods.PHASE: methods.phase_based, methods.LINEAR: methods.linear}
        tries = {name: self._magnified(method, chosen, work) for name, method in tried.items()}
        targets = self._targets(chosen, work)
        strips = []
        for n, row in enumerate(chosen):
            recorded = self._pair(row, work).recorded.astype(np.float32) / measures.STEPS
            frames = {"second frame": recorded[1], **{name: out[n] for name, out in tries.items()}, "truth": targets[n]}
            strips.append(
                figures.Strip(
                    f"{motion_px(self._spec(row, work)):.3f} px x {row['gain_total'][0]:.1f}",
                    frames,
                    {name: float(measures.ssim(out[n : n + 1], targets[n : n + 1])[0]) for name, out in tries.items()},
                )
            )
        return strips


def _by_subset(ssim: NDArray[np.float64], leaked: NDArray[np.float64], chosen: NDArray[np.bool_]) -> dict[str, Any]:
    some = leaked[chosen][~np.isnan(leaked[chosen])]
    found = {"n": int(chosen.sum()), "ssim": float(ssim[chosen].mean())}
    return found | ({"leakage": float(some.mean())} if len(some) else {})
