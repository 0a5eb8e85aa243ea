"""InstructPix2Pix's attention control: the target picture attends where the source picture attends.

The reference copies the source's pre-softmax logits over the target's in every self-attention. Logits are q k^T, so
the same result is scaled dot-product attention with the source's queries and keys and the target's own values: no
logits are ever materialised, and the target's query and key projections are not computed. Cross-attention is
untouched, so captions need no alignment and no equal length.

Convention: the rows of a batch are (half, side, pair), flattened: halves of classifier-free guidance, then source
and target, then pairs. The pairs that still share come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Sharing:
    """Which pairs of a batch share self-attention in this forward pass.

    Attributes:
        pairs: number of pairs in the batch.
        shared: how many of them share; they are the first ones.
    """

    pairs: int
    shared: int


def shared_pairs(fractions: torch.Tensor, step: int, steps: int) -> int:
    """How many pairs still share attention at a step, for fractions in descending order.

    Source: InstructPix2Pix's generator shares while p > step / (steps - 1); a single step is shared where p > 0.

    >>> shared_pairs(torch.tensor([1.0, 0.5, 0.1]), step=2, steps=5)
    1
    """
    return int((fractions > step / max(steps - 1, 1)).sum())


class SharedAttentionProcessor:
    """Attention of a U-Net, for diffusers' `set_attn_processor`; without `sharing` it is plain attention.

    Pass the plan through the forward call: `unet(..., cross_attention_kwargs={"sharing": Sharing(pairs, shared)})`.
    """

    def __call__(
        self,
        attn: torch.nn.Module,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
        sharing: Sharing | None = None,
    ) -> torch.Tensor:
        """Attends; `hidden_states` is (N, S, C), the result too.

        Raises:
            NotImplementedError: a form of attention that no U-Net of the SD 1.5 or SDXL class has.
        """
        if hidden_states.ndim != 3 or attention_mask is not None or attn.norm_q is not None or attn.residual_connection:
            raise NotImplementedError("attention with a mask, a query norm, a residual or 4-D input")
        is_self = encoder_hidden_states is None
        context = hidden_states if is_self else encoder_hidden_states
        value = attn.to_v(context)
        if is_self and sharing is not None and sharing.shared:
            query, key = _source_projections(attn, hidden_states, sharing)
        else:
            query, key = attn.to_q(hidden_states), attn.to_k(context)

        query, key, value = (t.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for t in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, scale=attn.scale)  # (N, heads, S, C / heads)
        mixed = mixed.transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed)) / attn.rescale_output_factor


def _source_projections(
    attn: torch.nn.Module, hidden_states: torch.Tensor, sharing: Sharing
) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys, (N, S, C) each, in which the targets of sharing pairs have their source's."""
    pairs, shared = sharing.pairs, sharing.shared
    rows = hidden_states.unflatten(0, (-1, 2 * pairs))  # (halves, 2 * pairs, S, C)
    own = torch.cat([rows[:, :pairs], rows[:, pairs + shared :]], dim=1) if shared < pairs else rows[:, :pairs]

    def spread(projected: torch.Tensor) -> torch.Tensor:
        return torch.cat([projected[:, :pairs], projected[:, :shared], projected[:, pairs:]], dim=1).flatten(0, 1)

    return spread(attn.to_q(own)), spread(attn.to_k(own))
