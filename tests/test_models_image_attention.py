"""Sharing queries and keys equals sharing logits.

Oracle: `benchmarks/pairs_reference.py`, which materialises the logits of one pair and copies the source's over the
target's, as InstructPix2Pix's generator does.
"""

from __future__ import annotations

import diffusers
import pytest
import tiny_pipelines
import torch
from tiny_pipelines import loud

from benchmarks.pairs_reference import DenseLogits, sample_latents, use_dense_logits
from limbeck.models.image_diffusers import DiffusersImageModel
from limbeck.models.noise import standard_normal
from limbeck.models.roles import PairRequest
from limbeck.models.shared_attention import SharedAttentionProcessor, Sharing, shared_pairs

PAIRS, SHARED = 3, 2


def added(unet: torch.nn.Module, rows: int) -> dict[str, torch.Tensor] | None:
    if unet.config.addition_embed_type is None:
        return None
    return {"text_embeds": torch.ones(rows, 16), "time_ids": torch.full((rows, 6), 16.0)}


XL = {
    "attention_head_dim": (2, 4), "use_linear_projection": True, "transformer_layers_per_block": (1, 2),
    "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 64,
}  # fmt: skip


@pytest.mark.parametrize("config", [{}, XL], ids=["sd15", "sdxl"])
@torch.no_grad()
def test_a_batch_with_shared_and_unshared_pairs_equals_copied_logits_pair_by_pair(config):
    torch.manual_seed(1)
    unet = loud(tiny_pipelines.unet(32, **config))
    x, text = torch.randn(2, 2, PAIRS, 4, 8, 8), torch.randn(2, 2, PAIRS, 5, 32)  # (half, side, pair, ...)
    time = torch.tensor(321.0)

    unet.set_attn_processor(SharedAttentionProcessor())
    plan = {"sharing": Sharing(PAIRS, SHARED)}
    ours = unet(x.flatten(0, 2), time, text.flatten(0, 2), cross_attention_kwargs=plan,
                added_cond_kwargs=added(unet, 4 * PAIRS)).sample.unflatten(0, (2, 2, PAIRS))  # fmt: skip

    unet.set_attn_processor({name: DenseLogits() for name in unet.attn_processors})
    for pair in range(PAIRS):
        for processor in unet.attn_processors.values():
            processor.share = pair < SHARED
        expected = unet(x[:, :, pair].flatten(0, 1), time, text[:, :, pair].flatten(0, 1),
                        added_cond_kwargs=added(unet, 4)).sample.unflatten(0, (2, 2))  # fmt: skip
        assert (ours[:, :, pair] - expected).abs().max() < 1e-4
        for processor in unet.attn_processors.values():
            processor.share = not processor.share
        other = unet(x[:, :, pair].flatten(0, 1), time, text[:, :, pair].flatten(0, 1),
                     added_cond_kwargs=added(unet, 4)).sample.unflatten(0, (2, 2))  # fmt: skip
        assert (other - expected).abs().max() > 1e-2, "sharing makes no difference here: the test could not fail"


@torch.no_grad()
def test_without_sharing_it_is_the_stock_attention():
    unet = loud(tiny_pipelines.unet(32))
    x, text, time = torch.randn(4, 4, 8, 8), torch.randn(4, 5, 32), torch.tensor(7.0)
    stock = unet(x, time, text).sample
    unet.set_attn_processor(SharedAttentionProcessor())
    for plan in (None, {"sharing": Sharing(pairs=2, shared=0)}):
        assert (unet(x, time, text, cross_attention_kwargs=plan).sample - stock).abs().max() < 1e-5


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_whole_run_of_several_pairs_equals_the_reference_one_by_one(tmp_path, prediction):
    folder = tiny_pipelines.save_sd15(tmp_path / "model", prediction)
    model = DiffusersImageModel.load(str(folder))
    reference = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    reference.set_progress_bar_config(disable=True)
    use_dense_logits(reference)

    captured = []
    decode = model.renderer.decode
    model.renderer.decode = lambda latents: captured.append(latents) or decode(latents)
    requests = [
        PairRequest("a red ball", "a blue ball", 11, 0.1, 2.0),
        PairRequest("a cat", "a cat at night", 2**63 + 5, 0.9, 5.0),
        PairRequest("a house", "a house in the rain", 3, 0.45, 1.5),
    ]
    model.render_pairs(requests, steps=12)
    ours = captured[0].unflatten(0, (2, len(requests))).clone()  # (side, pair, C, H, W), longest sharing first
    for i, request in enumerate(sorted(requests, key=lambda r: -r.shared_fraction)):
        expected = sample_latents(
            reference, (request.source_prompt, request.target_prompt), request.shared_fraction,
            request.guidance_scale, steps=12,
            draw=lambda step, shape, r=request: standard_normal([r.seed], step, shape[1:]),
        )  # fmt: skip
        spread = expected.std()  # random weights leave latents of any size; real ones have a spread of about 1
        assert (ours[:, i] - expected).abs().max() / spread < 1e-4
        assert (expected[0] - expected[1]).abs().max() / spread > 1e-2, "the pair is a copy: the test could not fail"


def test_queries_and_keys_of_sharing_targets_are_not_computed():
    unet = tiny_pipelines.unet(32)
    unet.set_attn_processor(SharedAttentionProcessor())
    rows = {}
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    for name in ("to_q", "to_k", "to_v"):
        getattr(layer, name).register_forward_hook(
            lambda module, args, output, name=name: rows.update({name: args[0].flatten(0, -3).shape[0]})
        )
    unet(torch.randn(12, 4, 8, 8), 5, torch.randn(12, 5, 32), cross_attention_kwargs={"sharing": Sharing(3, 2)})
    assert rows == {"to_q": 8, "to_k": 8, "to_v": 12}  # 2 halves x (3 sources + 1 target), and all values


@pytest.mark.parametrize(
    ("fraction", "steps", "expected"),
    [(0.5, 5, [True, True, False, False, False]), (1.0, 3, [True, True, False]), (0.0, 2, [False, False]),
     (0.9, 1, [True]), (0.26, 5, [True, True, False, False, False])],
)  # fmt: skip
def test_the_window_is_the_reference_s(fraction, steps, expected):
    """Worked out by hand from: share while p > step / (steps - 1)."""
    assert [bool(shared_pairs(torch.tensor([fraction]), step, steps)) for step in range(steps)] == expected
