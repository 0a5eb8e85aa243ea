"""Runs in an environment with TRL: `python load_with_trl.py EXPORT`. Prints JSON of what TRL made of the export.

TRL's SFTTrainer loads the rows, its own collator makes batches, and two steps are trained.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import datasets
import tiny_llava
import torch
import trl

datasets.disable_progress_bars()


def main(folder: Path) -> dict:
    rows = datasets.load_dataset("parquet", data_files=str(folder / "train.parquet"), cache_dir=tempfile.mkdtemp())[
        "train"
    ]
    processor = tiny_llava.processor()
    config = trl.SFTConfig(
        output_dir=tempfile.mkdtemp(), max_length=None, max_steps=2, per_device_train_batch_size=4, learning_rate=1e-2,
        report_to="none", use_cpu=True, bf16=False, save_strategy="no", logging_steps=1, disable_tqdm=True, seed=7,
        gradient_checkpointing=False,
    )  # fmt: skip
    trainer = trl.SFTTrainer(model=tiny_llava.model(), args=config, train_dataset=rows, processing_class=processor)
    image = processor.tokenizer.convert_tokens_to_ids("<image>")
    checked = pictures = 0
    for row in rows:
        batch = trainer.data_collator([{k: v for k, v in row.items() if k in ("prompt", "completion", "images")}])
        shown = int((batch["input_ids"] == image).sum())
        assert shown == tiny_llava.PATCHES * len(row["images"]), (row["id"], shown)
        taught = batch["labels"][batch["labels"] != -100]
        wanted = row["completion"][0]["content"][0]["text"]
        said = processor.tokenizer.decode(taught, skip_special_tokens=True)
        assert said.strip() == wanted.strip(), (row["id"], said, wanted)
        assert int(taught[-1]) == processor.tokenizer.eos_token_id, "the end is taught"
        if row["images"]:
            assert batch["pixel_values"].shape[0] == len(row["images"])
        checked, pictures = checked + 1, pictures + len(row["images"])
    one = next(row for row in rows if row["images"])
    batch = trainer.data_collator([{k: one[k] for k in ("prompt", "completion", "images")}])
    with torch.no_grad():
        loss = trainer.model(**batch).loss.item()
        other = trainer.model(**{**batch, "pixel_values": -batch["pixel_values"]}).loss.item()
    assert loss != other, "the picture doesn't reach the loss"
    done = trainer.train()
    assert torch.isfinite(torch.tensor(done.training_loss))
    return {
        "trl": trl.__version__,
        "rows": checked,
        "pictures": pictures,
        "steps": done.global_step,
        "loss": done.training_loss,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
