"""A smaller U-Net of the same kind with the large one's weights: layers, middle and attention can be left out.

    keep_layers = [1, 1, 1, 1]     layers of each level on the way down, outermost first; one more on the way up
    keep_middle = false            no middle block
    plain_down = [0]               levels that keep their convolutions on the way down but lose attention
    plain_up = [0, 1]              the same on the way up; both ways needn't be alike

Every such U-Net is one that diffusers' own config describes, so that any loader of diffusers loads it.

Source: Kim et al. 2023, BK-SDM, section 3.1: on the way down the first layers are kept, since they change the width;
on the way up the first and the last, since these have inputs of their own; the middle matters least.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from distill.editing.network import settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffusers import UNet2DConditionModel

_LAYER = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)")
_PLAIN = {"CrossAttnDownBlock2D": "DownBlock2D", "CrossAttnUpBlock2D": "UpBlock2D"}


@dataclass(frozen=True)
class Cut:
    """What is kept; see the module. Everything by default."""

    keep_layers: tuple[int, ...] = ()
    keep_middle: bool = True
    plain_down: tuple[int, ...] = ()
    plain_up: tuple[int, ...] = ()


def problems(config: Mapping[str, Any], cut: Cut) -> list[str]:
    """Why a U-Net of this config can't be cut like this."""
    levels, found = len(config["block_out_channels"]), []
    if cut.keep_layers:
        if len(cut.keep_layers) != levels:
            found.append(f"keep_layers has {len(cut.keep_layers)} entries, and the U-Net {levels} levels")
        for level, (have, keep) in enumerate(zip(layers(config), cut.keep_layers, strict=False)):
            if not 1 <= keep <= have:
                found.append(f"keep_layers[{level}] = {keep}; the level has {have} layers, and needs one")
    for name in ("plain_down", "plain_up"):
        for level in getattr(cut, name):
            if not 0 <= level < levels:
                found.append(f"{name} names level {level}; there are levels 0 to {levels - 1}")
    return found


def layers(config: Mapping[str, Any]) -> list[int]:
    """Layers of each level on the way down, outermost first."""
    per = config["layers_per_block"]
    return [per] * len(config["block_out_channels"]) if isinstance(per, int) else list(per)


def cut_config(config: Mapping[str, Any], cut: Cut) -> dict[str, Any]:
    """The config of the smaller U-Net."""
    levels = len(config["block_out_channels"])
    down, up = list(config["down_block_types"]), list(config["up_block_types"])
    for level in cut.plain_down:
        down[level] = _PLAIN.get(down[level], down[level])
    for level in cut.plain_up:
        at = levels - 1 - level  # the way up begins with the innermost level
        up[at] = _PLAIN.get(up[at], up[at])
    found = {**config, "down_block_types": tuple(down), "up_block_types": tuple(up)}
    if cut.keep_layers:
        found["layers_per_block"] = tuple(cut.keep_layers)
    if not cut.keep_middle:
        found["mid_block_type"] = None
    return found


def origin(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The large U-Net's name for a parameter of the small one.

    >>> old, new = ({"block_out_channels": (8, 8), "layers_per_block": n} for n in (2, 1))
    >>> origin("up_blocks.0.resnets.1.conv1.weight", old, new)
    'up_blocks.0.resnets.2.conv1.weight'
    >>> origin("down_blocks.1.resnets.0.conv1.weight", old, new)
    'down_blocks.1.resnets.0.conv1.weight'
    """
    found = _LAYER.fullmatch(name)
    if not found or found[1] == "down":
        return name
    _, block, kind, layer, rest = found.groups()
    level = len(old["block_out_channels"]) - 1 - int(block)
    have, kept = layers(old)[level] + 1, layers(new)[level] + 1
    at = have - 1 if int(layer) == kept - 1 else int(layer)  # the last stays the last
    return f"up_blocks.{block}.{kind}.{at}.{rest}"


def pruned(unet: UNet2DConditionModel, cut: Cut, *, scales: int | None = None) -> UNet2DConditionModel:
    """The smaller U-Net; every weight is the large one's.

    Args:
        unet: the large one.
        cut: what is kept.
        scales: width of embedded guidance scales, which the new U-Net then reads; their weights begin at zero.
    """
    config = cut_config(settings_of(unet), cut)
    if scales:
        config["time_cond_proj_dim"] = scales
    small = type(unet).from_config(config)
    theirs, own = unet.state_dict(), small.state_dict()
    new = {name for name in own if "cond_proj" in name and name not in theirs}
    state = {name: theirs[origin(name, unet.config, config)] for name in own if name not in new}
    state |= {name: torch.zeros_like(own[name]) for name in new}
    small.load_state_dict(state)
    return small
