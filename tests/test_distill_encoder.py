"""The encoder and the classifier. Oracles: the teacher asked directly, losses by hand, the storybook's truth."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny_scorers import tiny_clip, tiny_dinov2, tiny_siglip

from distill import batches, distilling, losses, zero_shot
from distill.arm_names import ARMS
from distill.measures import calibration_error, log_softmax, retrieved
from distill.recipe import load
from distill.student import Item, terms_for
from distill.students.encoder import _contrast
from distill.testing import check_student
from distill.views import View
from limbeck.errors import RequestError
from limbeck.models import load as load_model
from limbeck.models.spec import ModelSpec
from limbeck.pictures import decode
from limbeck.scores import cosine
from limbeck.storybook.grammar import parse_caption
from limbeck.storybook.source import rows as scenes

SMALL = [
    "source.storybook.rows=120", "budget.labelled=20", "budget.unlabelled=30", "evaluate.test_rows=12", "evaluate.dev_rows=6",
    "train.steps=2", "views.count=2", "student.hidden_size=16", "student.intermediate_size=16", "student.layers=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return check_student("recipes/distill-encoder.toml", tmp_path_factory.mktemp("encoder"), sets=SMALL)


def test_the_encoder_keeps_the_contract(encoder):
    assert encoder.student.name == "encoder"


def test_cached_answers_are_the_live_teachers(encoder):
    """Oracle: mini:clip asked here and now, under each view. The bar is a cosine of 0.99999."""
    live, cache, dataset = load_model(ModelSpec(id="mini:clip"), "score"), encoder.cache, encoder.dataset
    ids = [row_id for row_id in dataset.ids if cache.views(row_id) == 2][:12]
    for view in (0, 1):
        pictures = [cache.view(i, view).apply(decode(dataset.row(dataset.at(i))["image"])) for i in ids]
        stored = cache.targets("image_embedding", ids, view)
        assert cosine(stored, live.embed_images(pictures)).min() > 0.99999
    texts = list(cache._texts)[:12]
    assert cosine(cache.states(texts), live.embed_texts(texts)).min() > 0.99999


def test_the_teacher_itself_scores_nearly_everything(encoder):
    """If questions or texts were mixed up, mini:clip couldn't answer them; held-out captions are all different."""
    test = encoder.dataset.rows(batches.held_out(encoder.dataset, encoder.recipe)[2][:12])
    answers = encoder.student.teacher_answers(test, encoder)
    scores = encoder.student.score(answers, test, encoder, answers)
    assert scores.values["zero_shot"] > 0.9
    assert scores.values["image_to_text"] == scores.values["text_to_image"] == 1.0
    assert scores.values["agreement"] == 1.0
    assert scores.values["cosine"] == pytest.approx(1.0, abs=1e-3)


def test_questions_differ_from_the_truth_in_one_attribute():
    """Oracle: the grammar reads every candidate back."""
    asked = Counter()
    for row in scenes(300, 5):
        question = zero_shot.storybook_question(row)
        asked[question.about] += 1
        (truth,), *others = question.texts
        assert truth == row["caption"]
        assert len(question.texts) == len(set(question.texts)) >= 2
        right = parse_caption(truth)
        for (text,) in others:
            wrong = parse_caption(text)
            assert wrong is not None
            facts = [
                (right.ground, wrong.ground),
                (right.time, wrong.time),
                (right.weather, wrong.weather),
                (right.style, wrong.style),
            ]
            facts += [
                (getattr(a, name), getattr(b, name))
                for a, b in zip(right.things, wrong.things, strict=True)
                for name in ("kind", "colour", "size", "place")
            ]
            assert sum(a != b for a, b in facts) == 1, (truth, text)
    assert min(asked.values()) > 20
    assert set(asked) == set(zero_shot.ASKED)


def test_questions_about_captions_hold_the_own_one_and_others():
    captions = ["a", "b", "c", "d", "b"]
    found = zero_shot.caption_question({"id": "1", "caption": "b"}, captions, 3)
    texts = [text for (text,) in found.texts]
    assert texts[0] == "b"
    assert len(set(texts)) == len(texts) == 3
    assert {*zero_shot.caption_question({"id": "1", "caption": "b"}, captions, 99).texts} == {
        ("a",),
        ("b",),
        ("c",),
        ("d",),
    }


def test_questions_about_classes_average_their_templates(tmp_path):
    found = zero_shot.class_question({"label": "cat"}, "label", ["cat", "dog"], ["a {}.", "my {}."])
    assert found.texts == (("a cat.", "my cat."), ("a dog.", "my dog."))


@pytest.mark.parametrize("teacher", [tiny_clip, tiny_siglip])
def test_the_full_size_recipe_runs_in_small(tmp_path, teacher):
    """Real photographs from a folder, tiny random towers of the real architectures, everything else as it ships."""
    from skimage import data

    (tmp_path / "photos").mkdir()
    lines = []
    for n, name in enumerate(("chelsea", "coffee", "rocket", "astronaut") * 12):
        crop = Image.fromarray(getattr(data, name)()).crop((5 * n, 3 * n, 5 * n + 120, 3 * n + 90))
        crop.save(tmp_path / "photos" / f"{n}.png")
        lines.append(
            json.dumps(
                {
                    "file_name": f"{n}.png",
                    "caption": f"{name} number {n}\nanother line",
                    "split": ["train", "test"][n % 4 == 0],
                }
            )
        )
    (tmp_path / "photos" / "metadata.jsonl").write_text("\n".join(lines))
    folder = teacher(tmp_path / "teacher")
    sets = [
        f"models.teacher={folder}", "student.image_size=32", "student.layers=1", "student.hidden_size=24", "budget.labelled=10",
        "evaluate.test_rows=8", "evaluate.dev_rows=2", "train.workers=0", "views.count=2", "student.choices=5",
    ]  # fmt: skip
    text = Path("recipes/distill-encoder-vit.toml").read_text()
    coco = next(line for line in text.splitlines() if line.startswith("coco"))
    (tmp_path / "vit.toml").write_text(text.replace(coco, f'images = "{tmp_path / "photos"}"'))
    work = check_student(tmp_path / "vit.toml", tmp_path / "out", sets=sets)
    assert work.cache.has(["chelsea number 0"])  # of several captions the first
    assert not work.cache.has(["another line"])


def test_answers_by_hand():
    """Two texts at right angles, scale log 3: probabilities 3/4 and 1/4."""
    found = zero_shot.answered(np.array([[1.0, 0.0], [0.0, 1.0]]), [np.eye(2)] * 2, math.log(3))
    assert found.right.tolist() == [1.0, 0.0]
    assert found.nll == pytest.approx([-math.log(0.75), -math.log(0.25)])
    assert found.confidence == pytest.approx([0.75, 0.75])


def test_an_encoder_that_says_nothing_knows_nothing():
    """The right text is the first: a tie, or no number at all, must not count as having chosen it."""
    texts = [np.eye(2)] * 2
    for said in (np.zeros((2, 2)), np.full((2, 2), np.nan)):
        assert zero_shot.answered(said, texts, 10.0).right.tolist() == [0.0, 0.0]


def test_contrast_by_hand():
    """Own caption at cosine 1, two texts of the bank at right angles, one of which is its own caption again.

    Of the bank only the other text is left: -log(3 / (3 + 1)) at scale log 3. The unlabelled row takes no part.
    """
    facts = {"kind": "softmax", "scale": math.log(3), "bias": 0.0}
    bank = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    batch = {
        "labelled": torch.tensor([True, False]),
        "in_bank": torch.tensor([0, -1]),
        "text": torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]),
    }
    found = _contrast(torch.tensor([[5.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), batch, bank, facts)
    assert found.tolist() == pytest.approx([-math.log(0.75)])
    batch["in_bank"] = torch.tensor([-1, -1])  # not in the bank: both texts are others
    found = _contrast(torch.tensor([[5.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), batch, bank, facts)
    assert found.tolist() == pytest.approx([-math.log(3 / 5)])


def test_contrast_of_a_sigmoid_teacher_by_hand():
    """Scale 2, bias -1: own pair -log sigmoid(2 - 1), the other -log sigmoid(-(0 - 1))."""
    batch = {"labelled": torch.tensor([True]), "in_bank": torch.tensor([-1]), "text": torch.tensor([[1.0, 0.0]])}
    facts = {"kind": "sigmoid", "scale": 2.0, "bias": -1.0}
    found = _contrast(torch.tensor([[1.0, 0.0]]), batch, torch.tensor([[0.0, 1.0]]), facts)
    assert found.item() == pytest.approx(2 * math.log(1 + math.exp(-1)), rel=1e-5)


def test_a_siglip_teacher_is_taught_by_with_scale_and_bias(tmp_path):
    """Random weights of the real architecture: facts are the model's own, and the loss is the sigmoid one."""
    folder = tiny_siglip(tmp_path / "siglip")
    out = tmp_path / "out"
    work = check_student("recipes/distill-encoder.toml", out, sets=[*SMALL, f"models.teacher={folder}"])
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder)
    assert work.cache.facts["kind"] == "sigmoid"
    assert work.cache.facts["scale"] == pytest.approx(model.logit_scale.exp().item())
    assert work.cache.facts["bias"] == pytest.approx(model.logit_bias.item())
    assert work.cache.facts["parameters"] == sum(p.numel() for p in model.vision_model.parameters())

    class Says(torch.nn.Module):
        def forward(self, pixel_values):
            return type("Said", (), {"image_embeds": torch.ones(len(pixel_values), 16)})

    from distill import batches, losses
    from distill.arm_names import ARMS

    found = batches.pools(work.dataset, work.recipe, work.seed)
    (batch,) = batches.Batches(work, ARMS["both"], found, "train", 8, None).micro_batches(0)
    said = work.student.losses(Says(), batch, "train", work)
    bank = work.student._bank(work)
    facts = work.cache.facts
    expected = losses.bank_sigmoid(torch.ones(8, 16), batch["teacher"], bank, facts["scale"], facts["bias"]).sum()
    assert said["bank"].item() == pytest.approx(expected.item())


def test_a_teacher_that_reads_no_texts_is_refused_before_it_is_loaded(tmp_path):
    folder = tiny_dinov2(tmp_path / "dinov2")
    with pytest.raises(RequestError, match="reads no texts"):
        distilling.distill("recipes/distill-encoder.toml", tmp_path / "out", sets=[*SMALL, f"models.teacher={folder}"])


def test_sizes_that_do_not_divide_are_told_together(tmp_path):
    sets = [*SMALL, "student.heads=3", "student.patch_size=7"]
    with pytest.raises(RequestError, match=r"heads = 3; image_size = 64 isn't a multiple of patch_size = 7"):
        distilling.distill("recipes/distill-encoder.toml", tmp_path / "out", sets=sets)


def test_the_saved_folder_answers_in_transformers_own_hands(encoder, tmp_path):
    """Oracle: AutoImageProcessor and from_pretrained, as the card says."""
    from transformers import AutoImageProcessor, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    model, student = encoder.student.build(encoder).eval(), encoder.student
    student.save(model, tmp_path, encoder)
    rows = encoder.dataset.rows(encoder.dataset.splits["test"][:3])
    ours = student.answer(student.predictor(model, encoder), rows, encoder)["embedding"]
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    loaded = CLIPVisionModelWithProjection.from_pretrained(tmp_path)
    with torch.inference_mode():
        pictures = [decode(row["image"]) for row in rows]
        theirs = F.normalize(loaded(**processor(pictures, return_tensors="pt")).image_embeds, dim=-1).numpy()
    assert np.allclose(ours, theirs, atol=1e-4)


def test_the_bar_is_met_at_under_a_quarter_of_the_parameters():
    """Of the recipe that ships, not of the small one here."""
    recipe = load("recipes/distill-encoder.toml")
    own = recipe.student
    model = own.build(type("W", (), {"cache": type("C", (), {"facts": {"dim": 128}})})())
    teacher = load_model(ModelSpec(id="mini:clip"), "score")
    assert sum(p.numel() for p in model.parameters()) <= teacher.image_parameters / 4


@pytest.mark.parametrize("method", ["hinton", "dkd"])
def test_the_classifier_keeps_the_contract(tmp_path_factory, method):
    out = tmp_path_factory.getbasetemp() / "classifier"  # both methods share rows and cache
    work = check_student("recipes/distill-classifier.toml", out, sets=[*SMALL, f"student.method={method}"])
    assert len(work.student._names(work)) == 64
    test = work.dataset.rows(work.dataset.splits["test"][:12])
    answers = work.student.teacher_answers(test, work)
    assert work.student.score(answers, test, work).values["accuracy"] > 0.8  # the class texts mean what they should


@pytest.mark.parametrize("labelled", ["half", "all"])
@pytest.mark.parametrize("arm", ["teacher", "both"])
def test_soft_labels_count_the_rows_they_are_a_sum_of(tmp_path_factory, arm, labelled):
    """Oracle: `hinton` of each row: alone of all rows, beside the decoupled labels of those without a label."""
    out = tmp_path_factory.getbasetemp() / "classifier"
    work = check_student("recipes/distill-classifier.toml", out, sets=[*SMALL, "student.method=dkd"])
    student = work.student
    work = work.with_(terms=terms_for(student, ARMS[arm].signals, {}))
    rows = work.dataset.rows(batches.pools(work.dataset, work.recipe, work.seed).train[:6])
    items = [
        Item(row, work.cache.target(row["id"]), View(), labelled == "all" or n % 2 == 0, np.random.default_rng(0))
        for n, row in enumerate(rows)
    ]
    batch = student.batch(items, "train", work)
    known = batch["label"] >= 0
    torch.manual_seed(0)
    model = student.build(work).eval()
    logits = model(pixel_values=batch["pixel_values"]).logits
    soft = losses.hinton(logits, batch["teacher"], student.temperature)
    found, counts = student.losses(model, batch, "train", work), student.counts(batch)
    if arm == "teacher":
        assert {*found} == {"soft"}
        assert counts["soft"] == 6
        assert found["soft"].item() == pytest.approx(soft.sum().item(), rel=1e-5)
    else:
        assert (counts["soft"], counts["dkd"], counts["hard"]) == ((~known).sum(), known.sum(), known.sum())
        assert found["soft"].item() == pytest.approx(soft[~known].sum().item(), rel=1e-5)


def test_things_of_several_have_no_class(tmp_path):
    with pytest.raises(RequestError, match=r"source.storybook = \{ things = 1 \}"):
        distilling.distill(
            "recipes/distill-classifier.toml", tmp_path / "o", sets=[*SMALL, "source.storybook={rows=60}"]
        )


def test_retrieval_by_hand():
    """The second query's nearest key bears the first's name; equal names are each other's right answers."""
    queries, keys = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), np.eye(2)[[0, 1, 1]]
    assert retrieved(queries, keys, ["a", "b", "c"]).tolist() == [1.0, 0.0, 0.0]
    assert retrieved(queries, keys, ["a", "b", "b"]).tolist() == [1.0, 0.0, 1.0]


def test_calibration_error_by_hand():
    """Two bins: 0.9 said and 1/2 right, 0.2 said and 0 right: (2 * 0.4 + 2 * 0.2) / 4."""
    assert calibration_error(np.array([0.9, 0.9, 0.2, 0.2]), np.array([1, 0, 0, 0])) == pytest.approx(0.3)


def test_calibration_error_is_torchmetrics():
    from torchmetrics.functional.classification import binary_calibration_error

    rng = np.random.default_rng(0)
    said = rng.random(500)
    right = (rng.random(500) < said**2).astype(int)
    expected = binary_calibration_error(torch.from_numpy(said), torch.from_numpy(right), n_bins=15, norm="l1")
    assert calibration_error(said, right) == pytest.approx(float(expected), abs=1e-5)


def test_log_softmax_is_torchs():
    x = np.random.default_rng(0).normal(size=(4, 5)) * 50
    assert np.allclose(log_softmax(x), F.log_softmax(torch.from_numpy(x), -1).numpy())


def test_pictures_of_any_size_reach_the_student(encoder):
    from distill.pixels import pixels

    found = pixels([Image.new("RGB", (100, 60), "red"), Image.new("L", (20, 90))], 64)
    assert found.shape == (2, 3, 64, 64)
