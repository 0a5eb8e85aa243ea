"""The editor's network: a U-Net that sees the source beside the noisy latents, and the text encoder that may learn along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    from distill.editing.parts import Parts


def widened(unet: UNet2DConditionModel, channels: int) -> UNet2DConditionModel:
    """The same U-Net with further input channels whose weights are zero: what they hold changes nothing yet.

    Args:
        unet: of a text-to-image model, C input channels.
        channels: to be added; C for InstructPix2Pix's source latents.

    Source: Brooks et al. 2023, InstructPix2Pix, section 3.2.
    """
    wide = type(unet).from_config(settings_of(unet) | {"in_channels": unet.config.in_channels + channels})
    state = {name: value.detach().clone() for name, value in unet.state_dict().items()}
    weight = state["conv_in.weight"]  # (W, C, k, k)
    state["conv_in.weight"] = torch.cat([weight, weight.new_zeros(len(weight), channels, *weight.shape[2:])], 1)
    wide.load_state_dict(state)
    return wide


def settings_of(unet: UNet2DConditionModel) -> dict[str, Any]:
    """A U-Net's config without diffusers' private notes, one of which undoes changes to what was a default."""
    return {name: value for name, value in unet.config.items() if not name.startswith("_")}


class SourceScale(nn.Module):
    """Trains the weights of the source's channels in other units: what is stored times `scale` is what is used.

    Source latents aren't scaled, so where an autoencoder's scaling factor is large (6 in the miniature, 0.18 in Stable
    Diffusion) its latents are small, and weights that start at zero would have to grow for hundreds of steps before
    the source is seen at all: Adam's steps have the learning rate's size, whatever the gradient's. With the scaling
    factor as `scale` they start as if the source were scaled. The function is the same; `plain` folds it in.
    """

    def __init__(self, channels: int, sources: int, scale: float) -> None:
        """`channels` of noisy latents come first, then `sources`."""
        super().__init__()
        units = torch.cat([torch.ones(channels), torch.full((sources,), float(scale))]).view(1, -1, 1, 1)
        self.register_buffer("units", units, persistent=False)

    def forward(self, stored: Tensor) -> Tensor:
        """Weights as they are used."""
        return stored * self.units

    def right_inverse(self, used: Tensor) -> Tensor:
        """Weights as they are stored."""
        return used / self.units


def balance(unet: UNet2DConditionModel, sources: int, scale: float) -> None:
    """Puts `SourceScale` on a widened U-Net's first layer; the function it computes stays the same."""
    own = unet.conv_in.in_channels - sources
    parametrize.register_parametrization(unet.conv_in, "weight", SourceScale(own, sources, scale).to(unet.device))


def plain(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """A copy without parametrisations, which diffusers can save.

    Differs: `remove_parametrizations` on a deep copy takes them off the original too, since both share one class.
    """
    prefix = "conv_in.parametrizations.weight"
    state = {name: value.detach() for name, value in unet.state_dict().items() if not name.startswith(prefix)}
    found = type(unet).from_config(settings_of(unet))
    found.load_state_dict(state | {"conv_in.weight": unet.conv_in.weight.detach()})
    return found.eval()


def ready_for(device: str, unet: UNet2DConditionModel) -> None:
    """Chooses how attention is computed while a U-Net trains: the result is the same to rounding.

    On a CPU the fused kernel's backward pass in bfloat16 takes as long as all else of a small U-Net together, so there
    attention is written out; its logits are small.
    """
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    unet.set_attn_processor(AttnProcessor() if device == "cpu" else AttnProcessor2_0())


def blocks(unet: UNet2DConditionModel) -> dict[str, nn.Module]:
    """The blocks whose outputs may be compared with a teacher's, by the names that both have for them."""
    found = {f"down_blocks.{i}": block for i, block in enumerate(unet.down_blocks)}
    if unet.mid_block is not None:
        found["mid_block"] = unet.mid_block
    return found | {f"up_blocks.{i}": block for i, block in enumerate(unet.up_blocks)}


class Taps:
    """Inside `with Taps(unet, names) as found`, `found` gets the output of each named block.

    Opened in a forward pass and closed with it. A hook that is put on a model from outside stays on the copy that it
    was put on: wrapped for several processes or restarted in one of them, the model runs without it, and the loss on
    features is silently gone.
    """

    def __init__(self, unet: UNet2DConditionModel, names: Sequence[str]) -> None:
        self._modules = {name: module for name, module in blocks(unet).items() if name in names}
        self._handles: list[Any] = []

    def __enter__(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                found[name] = output[0] if isinstance(output, tuple) else output

            return hook

        self._handles = [module.register_forward_hook(keep(name)) for name, module in self._modules.items()]
        return found

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()


class EditingNetwork(nn.Module):
    """What is trained: the U-Net, and the text encoder where it learns along.

    Attributes:
        unet: reads (B, C + C', H, W), noisy latents and source.
        text: text encoder; None where states come from a cache.
        parts: of the pipeline, not trained and no children of this module.
        new_layers: names of layers that have channels of zeros.
    """

    def __init__(
        self, unet: UNet2DConditionModel, text: CLIPTextModel | None, parts: Parts, new_layers: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self.unet, self.text, self.parts, self.new_layers = unet, text, parts, tuple(new_layers)

    def forward(
        self,
        noisy: Tensor,
        source: Tensor,
        times: Tensor,
        *,
        states: Tensor | None = None,
        input_ids: Tensor | None = None,
        embedded: Tensor | None = None,
        taps: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """One pass.

        Args:
            noisy: (B, C, H, W) in the coordinates the network was trained in.
            source: (B, C', H, W) latents, unscaled; zeros for none.
            times: (B,) training times.
            states: (B, S, D) of the instructions, or
            input_ids: (B, S) their tokens.
            embedded: (B, W) embedded guidance scales, for a network that reads them.
            taps: blocks whose outputs are wanted too.

        Returns:
            `output` (B, C, H, W) float32, and the output of each tapped block by its name.
        """
        if states is None:
            states = self.text(input_ids)[0]
        with Taps(self.unet, taps) as found:
            output = self.unet(
                torch.cat([noisy, source], 1),
                times,
                encoder_hidden_states=states,
                timestep_cond=embedded,
                return_dict=False,
            )[0]
        return {"output": output.float(), **found}
