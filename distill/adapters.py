"""Adapters through `peft`: a few weights are trained beside frozen ones, and become part of the model afterwards.

    lora     low-rank matrices beside the linear layers that a phase trains
    prompt   the rows of the soft tokens that every conversation begins with

peft's own prompt tuning puts its vectors in front of a model from outside: places and masks counted by the student are
then shifted, a second pass behind cached keys gets them once more, a wrapped VLM looks for pictures among embeddings,
and nothing can be merged. Here soft tokens are tokens (`distill.vlm.words`), and peft trains their rows alone: the same
function of the same weights, in a folder that any pipeline loads.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from limbeck.errors import MissingExtra, RequestError
from limbeck.models.quiet import quiet

if TYPE_CHECKING:
    from peft import PeftConfig

    from distill.tables import AdapterTable


def adapted(model: nn.Module, table: AdapterTable | None, seed: int = 0) -> nn.Module:
    """The model with adapters, everything else frozen; the model itself without a table.

    A phase that leaves the language model alone has no prompt to tune: the model comes back as it is.

    Args:
        model: what a phase trains has gradients. Prompt tuning tunes the tokens of its `soft_ids`; beside LoRA its
            `new_layers`, which know nothing yet, learn in full.
        table: of the recipe.
        seed: of the adapters' first weights.

    Raises:
        MissingExtra: peft isn't installed.
        RequestError: no layer of those names, or prompt tuning of a model without soft tokens.
    """
    if table is None:
        return model
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtra("peft", extra="distill", where="train.adapter") from error
    config = _lora(model, table) if table.kind == "lora" else _prompt(model)
    if config is None:
        return model
    hushed = quiet() if table.kind == "prompt" else nullcontext()  # of embeddings that are tied: here they stay it
    try:
        with torch.random.fork_rng(devices=[]), hushed:
            torch.manual_seed(seed)
            return peft.get_peft_model(model, config)
    except (ValueError, AttributeError, KeyError) as error:
        where = "train.adapter.targets" if table.kind == "lora" else "train.adapter.kind"
        raise RequestError(f"peft can't adapt {type(model).__name__}: {error}", where=where) from error


def _lora(model: nn.Module, table: AdapterTable) -> PeftConfig:
    import peft

    frozen = [name for name, m in model.named_modules() if isinstance(m, nn.Linear) and not m.weight.requires_grad]
    return peft.LoraConfig(
        exclude_modules=frozen or None,  # what a phase leaves alone gets no adapter either
        r=table.rank,
        lora_alpha=table.alpha,
        lora_dropout=table.dropout,
        target_modules=list(table.targets) if table.targets else "all-linear",
        modules_to_save=list(getattr(model, "new_layers", ())) or None,
    )


def _prompt(model: nn.Module) -> PeftConfig | None:
    import peft

    if not (tokens := getattr(model, "soft_ids", ())):
        raise RequestError(
            f"{type(model).__name__} has no soft tokens",
            expected="a language model that was built with them",
            where="train.adapter.kind",
            remedy='take kind = "lora"',
        )
    rows = model.get_input_embeddings()
    if not rows.weight.requires_grad:
        return None
    name = next(name for name, module in model.named_modules() if module is rows)
    return peft.TrainableTokensConfig(target_modules=[name], token_indices=list(tokens))


def paced(model: nn.Module, paces: Mapping[str, float]) -> dict[str, float]:
    """Beginnings of a plain model's parameter names, as they are called with adapters."""
    outer = "base_model.model." if hasattr(model, "merge_and_unload") else ""
    return {outer + start: share for start, share in paces.items()}


def merged(model: nn.Module) -> nn.Module:
    """The plain model with what its adapters learnt; any other model as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
