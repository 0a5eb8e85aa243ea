"""Adapters through `peft`: a few weights are trained beside frozen ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from limbeck.errors import MissingExtra, RequestError

if TYPE_CHECKING:
    from distill.recipe import AdapterTable


def adapted(model: nn.Module, table: AdapterTable | None) -> nn.Module:
    """The model with adapters, everything else frozen; the model itself without a table.

    Raises:
        MissingExtra: peft isn't installed.
        RequestError: no layer of those names, or prompt tuning of something that isn't a language model.
    """
    if table is None:
        return model
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtra("peft", extra="distill", where="train.adapter") from error
    if table.kind == "lora":
        frozen = [name for name, m in model.named_modules() if isinstance(m, nn.Linear) and not m.weight.requires_grad]
        config = peft.LoraConfig(
            exclude_modules=frozen or None,  # what a phase leaves alone gets no adapter either
            r=table.rank,
            lora_alpha=table.alpha,
            lora_dropout=table.dropout,
            target_modules=list(table.targets) if table.targets else "all-linear",
        )
    else:
        config = peft.PromptTuningConfig(task_type=peft.TaskType.CAUSAL_LM, num_virtual_tokens=table.tokens)
    try:
        return peft.get_peft_model(model, config)
    except (ValueError, AttributeError, KeyError) as error:
        where = "train.adapter.targets" if table.kind == "lora" else "train.adapter.kind"
        raise RequestError(f"peft can't adapt {type(model).__name__}: {error}", where=where) from error


def merged(model: nn.Module) -> nn.Module:
    """The plain model with its LoRA weights added in; any other model as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
