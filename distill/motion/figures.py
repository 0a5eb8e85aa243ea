"""Tables and pictures of a motion student's card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from distill.motion import measures, methods

_LABEL_PX = 14
_INKS = {"student": (205, 62, 62), methods.PHASE: (45, 106, 200), methods.LINEAR: (42, 148, 85), methods.INPUT: (150, 150, 150)}  # fmt: skip
_RESAMPLES = 2000


@dataclass(frozen=True)
class Strip:
    """One clip to look at.

    Attributes:
        title: its motion and gain.
        frames: panel to (3, H, W) in [0, 1].
        ssim: of some panels.
    """

    title: str
    frames: Mapping[str, NDArray[np.float32]]
    ssim: Mapping[str, float]


def sections(report: Mapping[str, Any], folder: Path, strips: Sequence[Strip]) -> str:
    """Markdown; pictures go into `folder`."""
    parts = ["## Bin by bin\n", bin_table(report)]
    subsets = report["formats"]["safetensors"].get("more", {}).get("subsets") or _first(report)["more"]["subsets"]
    parts += ["\n## By kind of clip\n", subset_table(subsets, report["baselines"])]
    curves = {"student": _first(report)["more"].get("gain_curve")}
    curves |= {name: b["more"].get("gain_curve") for name, b in report["baselines"].items() if name in _INKS}
    if curves["student"]:
        gain_plot({name: np.array(curve) for name, curve in curves.items() if curve}).save(folder / "gain_curve.png")
        parts += ["\n## Gain shown over gain asked, on gratings of 8 and 16 px\n\n![](gain_curve.png)\n"]
    if strips:
        picture(strips).save(folder / "clips.png")
        parts += ["\n## Held-out clips, one of each bin\n\n![](clips.png)\n"]
    return "\n".join(parts)


def _first(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training of the student that is given out."""
    return report["trainings"][0]


def bin_table(report: Mapping[str, Any]) -> str:
    """SSIM in each sub-pixel bin: student, baselines, and its lead over the better of the two rivals.

    The lead's 95% interval resamples clips, and trainings of the same arm where there are several.
    """
    own = [t for t in report["trainings"] if t["arm"] == _first(report)["arm"]]
    shown = np.array([t["more"]["rows"]["ssim"] for t in own])
    bins = np.array(own[0]["more"]["rows"]["bin"])
    others = {name: np.array(b["more"]["rows"]["ssim"]) for name, b in report["baselines"].items()}
    lines = ["| motion, px | clips | student | " + " | ".join(others) + " | lead over the better rival |"]
    lines += ["|---" * (len(others) + 4) + "|"]
    for n, name in enumerate(own[0]["more"]["bins"]):
        at = np.flatnonzero(bins == n)
        if not len(at):
            continue
        rival = max((r for r in methods.RIVALS if r in others), key=lambda r: others[r][at].mean())
        lead, low, high = ahead(shown[:, at], others[rival][at])
        cells = [f"{shown[:, at].mean():.4f}", *(f"{values[at].mean():.4f}" for values in others.values())]
        lines.append(f"| {name} | {len(at)} | " + " | ".join(cells) + f" | {lead:+.4f} [{low:+.4f}, {high:+.4f}] |")
    return "\n".join(lines) + "\n"


def ahead(student: NDArray[np.float64], rival: NDArray[np.float64], seed: int = 0) -> tuple[float, float, float]:
    """Mean lead and its 95% interval.

    Args:
        student: (trainings, clips).
        rival: (clips,).
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    trainings, clips = student.shape
    lead = student - rival
    draws = []
    for _ in range(_RESAMPLES):
        some = lead[rng.integers(trainings, size=trainings)][:, rng.integers(clips, size=clips)]
        draws.append(some.mean())
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(lead.mean()), float(low), float(high)


def subset_table(subsets: Mapping[str, Any], baselines: Mapping[str, Any]) -> str:
    """SSIM and leakage by kind of clip."""
    names = [name for name in baselines if "subsets" in baselines[name]["more"]]
    lines = ["| kind | clips | SSIM: student | " + " | ".join(names) + " | RMS error at rest, grey levels: student | " + " | ".join(names) + " |"]  # fmt: skip
    lines += ["|---" * (2 * len(names) + 4) + "|"]
    for kind, found in subsets.items():
        each = [baselines[name]["more"]["subsets"][kind] for name in names]
        ssim = " | ".join(f"{e['ssim']:.4f}" for e in (found, *each))
        leaked = " | ".join(f"{e['leakage']:.2f}" if "leakage" in e else "" for e in (found, *each))
        lines.append(f"| {kind} | {found['n']} | {ssim} | {leaked} |")
    return "\n".join(lines) + "\n"


def gain_plot(curves: Mapping[str, NDArray[np.float64]], side: int = 420) -> Image.Image:
    """Shown over asked gain on logarithmic axes; each method in its ink, the diagonal is what was asked."""
    page = Image.new("RGB", (side + 140, side), "white")
    draw, margin = ImageDraw.Draw(page), 36
    most = max(float(curve[:, 2].max()) for curve in curves.values())

    def at(asked: float, shown: float) -> tuple[float, float]:
        scale = (side - 2 * margin) / np.log(most * 1.2)
        return margin + np.log(max(asked, 1)) * scale, side - margin - np.log(np.clip(shown, 1, most * 1.2)) * scale

    draw.line([at(1, 1), at(most, most)], fill=(0, 0, 0))
    for tick in (t for t in (1, 2, 5, 10, 20, 50, 100) if t <= most):
        x, y = at(tick, tick)
        draw.line([(x, side - margin), (x, side - margin + 4)], fill=(0, 0, 0))
        draw.text((x - 6, side - margin + 6), str(tick), fill=(60, 60, 60))
        draw.line([(margin - 4, y), (margin, y)], fill=(0, 0, 0))
        draw.text((4, y - 5), str(tick), fill=(60, 60, 60))
    draw.line([(margin, 4), (margin, side - margin), (side, side - margin)], fill=(0, 0, 0))
    draw.text((side - 66, side - margin - 14), "gain asked", fill=(60, 60, 60))
    draw.text((margin + 6, 4), "gain shown", fill=(60, 60, 60))
    for n, (name, curve) in enumerate(curves.items()):
        ink = _INKS[name]
        for *_, asked, shown, _direction in curve:
            x, y = at(asked, shown)
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], outline=ink)
        draw.text((side + 6, 10 + 16 * n), name, fill=ink)
    return page


def picture(strips: Sequence[Strip], scale: int = 2) -> Image.Image:
    """Clips below one another, panels side by side, enlarged without smoothing; SSIM beside the panel's name."""
    side = next(iter(strips[0].frames.values())).shape[-1] * scale
    tall = next(iter(strips[0].frames.values())).shape[-2] * scale
    page = Image.new("RGB", (side * len(strips[0].frames), (tall + _LABEL_PX) * len(strips)), "white")
    draw = ImageDraw.Draw(page)
    for row, strip in enumerate(strips):
        top = row * (tall + _LABEL_PX)
        for column, (name, frame) in enumerate(strip.frames.items()):
            label = (
                f"{name} {strip.ssim[name]:.3f}"
                if name in strip.ssim
                else f"{name} {strip.title}"
                if not column
                else name
            )
            draw.text((column * side + 2, top + 1), label, fill=(60, 60, 60))
            pixels = np.round(np.clip(frame, 0, 1) * measures.STEPS).astype(np.uint8).transpose(1, 2, 0)
            page.paste(
                Image.fromarray(pixels).resize((side, tall), Image.Resampling.NEAREST), (column * side, top + _LABEL_PX)
            )
    return page
