"""A small network that magnifies motion: two frames and a gain in, the magnified frame out.

    from limbeck.motion.magnifier import Magnifier

    magnifier = Magnifier.from_pretrained("FOLDER")
    magnified = magnifier.magnify(first, second, 20.0)      # (3, H, W) in [0, 1]
    clip = magnifier.magnify_clip(frames, 20.0)             # (T, 3, H, W), each frame against the first

It measures, chooses and moves. Shifts between the frames are measured in many windows at once, without anything to
learn (`local_shift`). The network says, for every cell, which of the measured shifts to believe and, for every pixel,
from which neighbouring cell its motion comes (things that move far cover what doesn't). Both frames are then moved by
what is missing to the asked gain, through splines (`warp`), and blended; what is left over is corrected, and a colour
that pulses is magnified apart.

So the sub-pixel part is arithmetic, linear in the motion at any gain, and the network does what arithmetic can't:
telling noise from motion, and things from what lies behind them. At gain 1 the second frame comes back as it is.

Source: the task and its loss are those of Oh et al., "Learning-based video motion magnification", 2018.
Differs: no learned shape representation; displacements are measured, and the picture is moved instead of decoded.
"""

from __future__ import annotations

import json
import math
import warnings
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import ModelHubMixin
from torch import Tensor, nn

from limbeck.errors import ModelNotFound, SettingError, did_you_mean
from limbeck.motion.local_shift import local_shifts
from limbeck.motion.warp import moved

_WEIGHTS = "model.safetensors"
_ROOM = 1.25
"""Measured shifts are cut where they would magnify to more than this many times the bound."""


@dataclass(frozen=True)
class MagnifierConfig:
    """What a magnifier is built of, and what it was trained for.

    Attributes:
        width: channels at its finest scale.
        windows: of the measurement, see `local_shift.local_shifts`; one number for each scale of the frames.
        rings: distances, in cells, at which a pixel may look for its motion, in 8 directions each; at least one.
        cell_px: side of a cell.
        refine: channels of the correction at full size; 0 is none.
        bound_px: largest magnified motion.
        min_gain: smallest gain of the training.
        max_gain: largest gain of the training.
    """

    width: int = 32
    windows: tuple[int, ...] = (4, 3, 2)
    rings: tuple[int, ...] = (1, 2)
    cell_px: int = 4
    refine: int = 16
    bound_px: float = 8.0
    min_gain: float = 1.0
    max_gain: float = 100.0

    def __post_init__(self) -> None:
        """Lists of a JSON file become tuples.

        Raises:
            SettingError: a size that can't be built.
        """
        for name in ("windows", "rings"):
            object.__setattr__(self, name, tuple(int(v) for v in getattr(self, name)))
        wrong = [n for n in ("width", "cell_px", "bound_px", "min_gain") if getattr(self, n) <= 0]
        if wrong or not any(self.windows) or not self.rings or self.refine < 0 or self.max_gain < self.min_gain:
            name = wrong[0] if wrong else "windows, rings, refine or max_gain"
            raise SettingError(f"{name} of {self}", expected="positive sizes, and some window", where="magnifier")

    @property
    def offsets(self) -> tuple[tuple[int, int], ...]:
        """(dy, dx) in cells: where a pixel may look for its motion; nine of each ring, its centre among them.

        >>> MagnifierConfig(rings=(1,)).offsets[:5]
        ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0))
        """
        return tuple((ring * y, ring * x) for ring in self.rings for y in (-1, 0, 1) for x in (-1, 0, 1))

    @property
    def multiple_px(self) -> int:
        """Frames are padded to multiples of this."""
        return math.lcm(self.cell_px, 2 ** (len(self.windows) - 1))


class Magnifier(nn.Module, ModelHubMixin, library_name="limbeck", tags=["motion-magnification"]):
    """Two frames and a gain to the magnified frame.

    `forward` takes (B, 3, H, W) twice and (B,) and checks nothing, for training and export; `magnify` is for people.
    """

    def __init__(self, config: MagnifierConfig | None = None) -> None:
        """Builds it with fresh weights, from which it already magnifies: windows averaged alike."""
        super().__init__()
        self.config = config = config or MagnifierConfig()
        width, cells = config.width, config.cell_px**2
        half, quarter = width * 3 // 2, width * 2
        self.candidates = sum(config.windows)
        self.fine = nn.Sequential(_conv(3 * cells + 5 * self.candidates + 4, width), _conv(width, width))
        self.middle = nn.Sequential(_conv(width, half, 2), _conv(half, half))
        self.coarse = nn.Sequential(_conv(half, quarter, 2), _conv(quarter, quarter), nn.Conv2d(quarter, half, 1))
        self.middle_up = nn.Sequential(_conv(half, half), nn.Conv2d(half, width, 1))
        self.fine_up = _conv(width, width)
        self.believe = nn.Conv2d(width, self.candidates + 2, 1)  # each candidate, none of them, how much of it
        self.look = nn.Conv2d(width, len(config.offsets) * cells, 1)
        self.blend = nn.Conv2d(width, cells, 1)
        self.pulse = nn.Conv2d(width, 1, 1)
        for layer in (self.believe, self.look, self.blend, self.pulse):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.look.bias.copy_(_nearest(config).flatten())
            self.pulse.bias.fill_(-4.0)  # brightness is left alone until it has learnt when not to
        if config.refine:
            self.lead = nn.Conv2d(width, config.refine, 1)
            self.see = nn.Conv2d(11, config.refine, 3, 1, 1)
            self.think = nn.Conv2d(config.refine, config.refine, 3, 1, 1)
            self.correct = nn.Conv2d(config.refine, 3, 3, 1, 1)
            nn.init.zeros_(self.correct.weight)
            nn.init.zeros_(self.correct.bias)

    def forward(self, first: Tensor, second: Tensor, gain: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] twice, (B,) gains -> (B, 3, H, W), not clipped."""
        height, width = first.shape[-2:]
        step = self.config.multiple_px
        more = (0, -width % step, 0, -height % step)
        if any(more):
            first, second = (F.pad(frame, more, mode="replicate") for frame in (first, second))
        with _in_full(first):
            shifts, trust = local_shifts(first.float(), second.float(), self.config.windows, self.config.cell_px)
        gain = gain.reshape(-1, 1, 1, 1).float()
        limit = _ROOM * self.config.bound_px
        asked = (shifts * gain[..., None]).clamp(-limit, limit)
        inner = self._thoughts(first, second, asked, trust, gain)
        displacement = self._displacement(inner, asked)
        out = self._moved(first, second, gain, displacement, inner)
        return out[..., :height, :width]

    def _thoughts(self, first: Tensor, second: Tensor, asked: Tensor, trust: Tensor, gain: Tensor) -> Tensor:
        """(B, width, h, w): what the network makes of each cell."""
        large, small, left = trust.unbind(2)
        log_gain = gain.log()
        # how much of the magnified shift noise alone would make, as a logarithm
        doubt = (left - small) / 2 + log_gain
        seen = F.pixel_unshuffle(first + second - 1, self.config.cell_px)
        facts = [seen, (asked / 4).flatten(1, 2), large / 4, small / 4, doubt / 2]
        tone = self._tone(second - first) * gain  # what a change of colour would become
        facts += [(2 * tone).clamp(-3, 3), (log_gain / 3).expand(-1, 1, *asked.shape[-2:])]
        fine = self.fine(torch.cat(facts, 1))
        middle = self.middle(fine)
        middle = self.middle_up(_doubled(self.coarse(middle), middle) + middle)
        return self.fine_up(_doubled(middle, fine) + fine)

    def _displacement(self, inner: Tensor, asked: Tensor) -> Tensor:
        """(B, 2, H, W) px: from the first frame to the magnified one, at the magnified one's pixels."""
        config, cells = self.config, self.config.cell_px**2
        said = self.believe(inner).float()
        weights = said[:, : self.candidates + 1].softmax(1)[:, : self.candidates] * (2 * said[:, -1:].sigmoid())
        believed = (weights[:, :, None] * asked).sum(1)
        height, width = believed.shape[-2:]
        around = []  # (B, 2, 9, h, w) of each ring
        for ring in config.rings:
            wide = F.pad(believed, (ring,) * 4, mode="replicate")
            around.append(F.unfold(wide, 3, dilation=ring).reshape(-1, 2, 9, height, width))
        look = self.look(inner).float().reshape(-1, 1, len(config.offsets), cells, height, width).softmax(2)
        found = (torch.cat(around, 2)[:, :, :, None] * look).sum(2)
        return F.pixel_shuffle(found.flatten(1, 2), config.cell_px)

    def _moved(self, first: Tensor, second: Tensor, gain: Tensor, displacement: Tensor, inner: Tensor) -> Tensor:
        """Both frames moved to where the magnified one is, blended and corrected."""
        missing = 1 - 1 / gain  # of the displacement, from the second frame; 0 at gain 1
        with _in_full(first):
            both = torch.cat([first.float(), second.float()]), torch.cat([displacement, displacement * missing])
            shown = moved(*both)
        count = first.shape[0]  # len() would fix the batch of an export
        from_first, from_second = shown[:count], shown[count:]
        share = F.pixel_shuffle(self.blend(inner).float(), self.config.cell_px).sigmoid()
        change = share * (from_first - from_second)
        if self.config.refine:
            seen = torch.cat([from_first - 0.5, from_second - 0.5, 8 * (from_first - from_second), displacement / 4], 1)
            lead = F.interpolate(self.lead(inner), scale_factor=float(self.config.cell_px), mode="nearest")
            thought = F.silu(self.think(F.silu(lead + self.see(seen))))
            change = change + 0.1 * self.correct(thought).float()
        # what changed in colour, not in place, is magnified too where it is a pulse, and not where it is flickering light
        tone = self._tone(from_second - from_first) * self.pulse(inner).float().sigmoid()
        spread = F.interpolate(tone, scale_factor=float(self.config.cell_px), mode="bilinear")
        return from_second + missing * change + (gain - 1) * spread

    def _tone(self, change: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 3, h, w): mean change around each cell, five cells wide."""
        return F.avg_pool2d(F.avg_pool2d(change, self.config.cell_px), 5, 1, 2, count_include_pad=False)

    @torch.inference_mode()
    def magnify(self, first: Tensor, second: Tensor, gain: float | Tensor) -> Tensor:
        """Checks what it is given, and magnifies.

        Args:
            first: (3, H, W) or (B, 3, H, W), float in [0, 1] or uint8.
            second: as the first.
            gain: one, or one for each pair; 1 hands the second frame back.

        Returns:
            Of the frames' shape, float32 clipped to [0, 1].

        Raises:
            SettingError: frames of different sizes, too small ones, other than three colours, a gain that isn't a
                positive number. A gain beyond those of the training is a warning.
        """
        pair = [self._frames(frame, name) for frame, name in ((first, "first"), (second, "second"))]
        if pair[0].shape != pair[1].shape:
            raise SettingError(
                f"frames of {tuple(first.shape)} and {tuple(second.shape)}", expected="one size", where="magnify",
                remedy="crop both to the same part",
            )  # fmt: skip
        gains = self._gains(gain, len(pair[0])).to(pair[0].device)
        out = self(*pair, gains).clamp(0, 1)
        return out[0] if first.ndim == 3 else out

    def magnify_clip(self, frames: Tensor, gain: float, batch: int = 8) -> Tensor:
        """Magnifies each frame of a clip against the first.

        Args:
            frames: (T, 3, H, W), float in [0, 1] or uint8.
            gain: as in `magnify`.
            batch: frames at once.

        Returns:
            (T, 3, H, W) float32, the first frame as it was.
        """
        clip = self._frames(frames, "frames")
        parts = [clip[:1]]
        for start in range(1, len(clip), batch):
            later = clip[start : start + batch]
            parts.append(self.magnify(clip[:1].expand_as(later), later, gain))
        return torch.cat(parts)

    def _frames(self, frames: Tensor, name: str) -> Tensor:
        least = 4 * self.config.cell_px
        if frames.ndim not in (3, 4) or frames.shape[-3] != 3 or min(frames.shape[-2:]) < least:
            raise SettingError(
                f"{name} of shape {tuple(frames.shape)}", expected=f"(3, H, W) or (B, 3, H, W), {least} px or more a side",
                where="magnify",
            )  # fmt: skip
        frames = frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()
        device = next(self.parameters()).device
        return (frames[None] if frames.ndim == 3 else frames).to(device)

    def _gains(self, gain: float | Tensor, count: int) -> Tensor:
        gains = torch.as_tensor(gain, dtype=torch.float32).reshape(-1)
        if not bool(torch.isfinite(gains).all()) or bool((gains <= 0).any()) or len(gains) not in (1, count):
            raise SettingError(
                f"gain {gain!r} for {count} pairs", expected="a positive number, or one for each pair", where="magnify",
                remedy="1 shows the motion as it is; a paper's alpha on top of the motion is gain - 1",
            )  # fmt: skip
        low, high = self.config.min_gain, self.config.max_gain
        beyond = gains[(gains < low) | (gains > high)]
        if len(beyond):
            warnings.warn(
                f"gain {float(beyond[0]):g} is outside the trained range of {low:g} to {high:g}: what is shown may be wrong",
                stacklevel=3,
            )
        return gains.expand(count)

    # --- saved and loaded: safetensors and config.json

    def _save_pretrained(self, save_directory: Path) -> None:
        from safetensors.torch import save_model

        save_model(self, str(save_directory / _WEIGHTS))
        text = json.dumps({"model_type": "limbeck_magnifier", **asdict(self.config)}, indent=2) + "\n"
        (save_directory / "config.json").write_text(text, encoding="utf-8")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, map_location: str = "cpu", **where: Any) -> Magnifier:
        from safetensors.torch import load_model

        def file(name: str) -> Path:
            if Path(model_id).is_dir():
                if not (Path(model_id) / name).is_file():
                    raise ModelNotFound(f"there is no {name}", expected="a saved Magnifier", where=model_id)
                return Path(model_id) / name
            from huggingface_hub import hf_hub_download

            asked = ("revision", "cache_dir", "force_download", "token", "local_files_only")
            return Path(hf_hub_download(model_id, name, **{k: where[k] for k in asked if k in where}))

        found = json.loads(file("config.json").read_text(encoding="utf-8"))
        if found.pop("model_type", None) != "limbeck_magnifier":
            raise ModelNotFound("its config.json is another model's", expected="a saved Magnifier", where=model_id)
        known = [f.name for f in fields(MagnifierConfig)]
        for name in found:
            if name not in known:
                raise ModelNotFound(
                    f"its config.json sets {name!r}", expected=", ".join(known), where=model_id, remedy=did_you_mean(name, known)
                )  # fmt: skip
        model = cls(MagnifierConfig(**found))
        try:
            load_model(model, str(file(_WEIGHTS)), strict=True, device=map_location)
        except RuntimeError as error:
            raise ModelNotFound("its weights don't fit its config.json", where=model_id) from error
        return model.eval()


def _in_full(like: Tensor) -> Any:
    """Where mixed precision is on, switches it off: 8 bits of mantissa measure no sub-pixel shift."""
    kind = like.device.type
    return torch.autocast(kind, enabled=False) if torch.is_autocast_enabled(kind) else nullcontext()


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.SiLU())


def _doubled(coarse: Tensor, like: Tensor) -> Tensor:
    """Twice the size, cut to that of `like`."""
    return F.interpolate(coarse, scale_factor=2.0, mode="nearest")[..., : like.shape[-2], : like.shape[-1]]


def _nearest(config: MagnifierConfig) -> Tensor:
    """(offsets, cell, cell) first scores: a pixel looks to the cells around it, the nearer the likelier."""
    place = (torch.arange(config.cell_px) - (config.cell_px - 1) / 2) / config.cell_px
    rows = []
    for y, x in config.offsets:
        rows.append(-4 * ((y - place[:, None]) ** 2 + (x - place[None, :]) ** 2))
    return torch.stack(rows)
