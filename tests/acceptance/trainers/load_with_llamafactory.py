"""Runs in an environment with LLaMA-Factory: `python load_with_llamafactory.py EXPORT`. Prints JSON of what it made of it.

Its own loader reads dataset_info.json, its converter and template make the tokens, its collator the batches, and its
trainer runs two steps. Rows that it would drop with a mere warning are missing in the count.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import tiny_llava


def main(folder: Path) -> dict:
    from llamafactory.data import SFTDataCollatorWith4DAttentionMask, get_dataset, get_template_and_fix_tokenizer
    from llamafactory.extras.constants import IGNORE_INDEX
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer
    from llamafactory.train.tuner import run_exp

    info = json.loads((folder / "dataset_info.json").read_text())
    name = next(name for name in info if name.endswith("_train"))
    place = tempfile.mkdtemp()
    tiny_llava.model().save_pretrained(place)
    tiny_llava.processor().save_pretrained(place)
    arguments = {
        "stage": "sft", "do_train": True, "finetuning_type": "full", "model_name_or_path": place, "dataset": name,
        "dataset_dir": str(folder), "media_dir": str(folder), "template": "llava", "cutoff_len": 4096,
        "output_dir": tempfile.mkdtemp(), "overwrite_cache": True, "preprocessing_num_workers": 1, "use_cpu": True,
        "max_steps": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "report_to": "none",
        "save_strategy": "no", "bf16": False, "fp16": False, "disable_gradient_checkpointing": True, "disable_tqdm": True,
        "freeze_vision_tower": False,
    }  # fmt: skip
    model_args, data_args, training_args, _, _ = get_train_args(dict(arguments))
    loaded = load_tokenizer(model_args)
    tokenizer, processor = loaded["tokenizer"], loaded["processor"]
    template = get_template_and_fix_tokenizer(tokenizer, data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage="sft", **loaded)["train_dataset"]
    records = json.loads((folder / info[name]["file_name"]).read_text())
    assert len(rows) == len(records), f"{len(rows)} of {len(records)} rows came through"
    image = tokenizer.convert_tokens_to_ids("<image>")
    collator = SFTDataCollatorWith4DAttentionMask(
        template=template, pad_to_multiple_of=8, label_pad_token_id=IGNORE_INDEX, **loaded
    )
    pictures = answers = 0
    for row, record in zip(rows, records, strict=True):
        shown = row["images"] or []
        assert len(shown) == len(record["images"])
        assert row["input_ids"].count(image) == tiny_llava.PATCHES * len(shown), record["id"]
        taught, said = [], []
        for token, label in zip(row["input_ids"], row["labels"], strict=True):
            if label != IGNORE_INDEX:
                taught.append(token)
            elif taught:
                said.append(taught)
                taught = []
        said += [taught] if taught else []
        wanted = [turn["content"] for turn in record["messages"] if turn["role"] == "assistant"]
        decoded = [tokenizer.decode(tokens, skip_special_tokens=True).strip() for tokens in said]
        assert decoded == [text.strip() for text in wanted], (record["id"], decoded, wanted)
        batch = collator([{key: row[key] for key in row}])
        if shown:
            assert batch["pixel_values"].shape[0] == len(shown)
        pictures, answers = pictures + len(shown), answers + len(wanted)
    run_exp(dict(arguments))
    state = json.loads((Path(arguments["output_dir"]) / "trainer_state.json").read_text())
    return {
        "llamafactory": version("llamafactory"), "rows": len(rows), "pictures": pictures, "answers": answers,
        "steps": state["global_step"], "loss": state["log_history"][-1].get("train_loss"), "processor": type(processor).__name__,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
