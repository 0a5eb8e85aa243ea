"""The VLM student over tiny random weights and a small build. Each test names its oracle."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_build import small_build
from tiny_scorers import tiny_clip, tiny_siglip
from tiny_vlm import small_questions, stock_inputs, student_recipe, tiny_llama, tiny_smolvlm, word_tokenizer, work_of
from transformers import (
    AutoProcessor,
    CLIPVisionModel,
    Idefics3ForConditionalGeneration,
    LlamaForCausalLM,
    LlavaForConditionalGeneration,
)

from distill import batches, opening
from distill import recipe as recipes
from distill.arm_names import ARMS
from distill.arms import compare
from distill.dataset import group_of
from distill.distilling import distill
from distill.progress import Watcher
from distill.student import Item, Scores
from distill.testing import check_student
from distill.trainings import Training
from distill.views import View
from distill.vlm import asking, joined, verdicts
from distill.vlm.asking import Question
from distill.vlm.fit_rows import unfit
from distill.vlm.top_tokens import TopTokens, top_tokens
from distill.vlm.vocabulary import Shared, VocabulariesDiffer, shared
from limbeck.errors import RequestError
from limbeck.models import MINIATURES
from limbeck.models.spec import ModelSpec
from limbeck.pictures import decode
from limbeck.turns import assistant, pictures_of, user

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A recipe, its build and its models, all tiny."""
    folder = tmp_path_factory.mktemp("vlm")
    tiny_clip(folder / "clip")
    tiny_llama(folder / "llama", rows=800)  # 771 tokens with <image>: the rest is padding
    small_questions(folder / "questions")
    (folder / "recipe.toml").write_text(student_recipe(steps=2, test_rows=12))
    return folder


@pytest.fixture(scope="module")
def student(home):
    """A student that was trained for two steps a phase, and what it was trained with."""
    result = distill(home / "recipe.toml", home / "first", device="cpu")
    recipe = recipes.load(home / "recipe.toml")
    return result, opening.work_of(recipe, home / "first", "cpu", Watcher())


def test_the_contract_of_students(home, tmp_path):
    """Oracle: `check_student`: same seed same weights, sums that don't depend on how a batch is cut, per-row scores."""
    check_student(home / "recipe.toml", tmp_path / "out")


def test_what_is_saved_loads_by_from_pretrained_and_says_the_same(student, tmp_path):
    """Oracle: the model before it was saved; inputs by the saved processor alone."""
    result, work = student
    torch.manual_seed(0)
    model = work.student.build(work).eval()
    work.student.save(model, tmp_path, work)
    loaded = LlavaForConditionalGeneration.from_pretrained(tmp_path).eval()
    row = next(work.dataset.row(p) for p in range(len(work.dataset)) if len(work.dataset.row(p)["images"]) == 2)
    question, inputs = asking.question(row), stock_inputs(tmp_path, row)
    words = work.student.parts(work).words
    assert inputs["input_ids"][0].tolist() == words.prompt(question.messages)
    pixels = work.student.parts(work).pixels([decode(image) for image in question.images])["pixel_values"]
    assert torch.allclose(inputs["pixel_values"], pixels, atol=1e-6)
    with torch.no_grad():
        a = model(input_ids=inputs["input_ids"], pixel_values=pixels).logits
        b = loaded(**inputs).logits
    assert torch.equal(a, b)
    assert (result.out / "student" / "README.md").read_text().count("| existence |") == 1
    language = work.student._place("language", work)[0]
    for written in (tmp_path / "config.json", result.out / "student" / "config.json"):
        assert language not in written.read_text(), "where a model lay is nobody's business"


def test_the_vision_tower_stays_as_it_was_and_the_rest_learns(student, home):
    """Oracle: the weights of the models that it was joined from, by their own classes."""
    result, work = student
    tuned = joined.load(result.trainings[0].folder / "model")
    torch.manual_seed(work.seed)
    fresh = work.student.build(work)
    for name, before in CLIPVisionModel.from_pretrained(home / "clip").named_parameters():
        assert torch.equal(before, tuned.model.vision_tower.get_parameter(name)), name
    for name, before in LlamaForCausalLM.from_pretrained(home / "llama").model.named_parameters():
        assert torch.equal(before, fresh.model.language_model.get_parameter(name)), name
    for part in ("multi_modal_projector", "language_model"):
        changed = [
            not torch.equal(p, getattr(tuned.model, part).get_parameter(n))
            for n, p in getattr(fresh.model, part).named_parameters()
        ]
        assert all(changed), part


def test_alignment_trains_the_projector_alone_and_the_tower_never_trains(home, tmp_path):
    """Oracle: names of what has gradients; the tower's mode under its parent's `train()`."""
    work = work_of(home, tmp_path / "out", arm="labels")
    model = work.student.build(work)
    work.student.begin(model, "align", work)
    model.train()
    assert {n.split(".")[1] for n, p in model.named_parameters() if p.requires_grad} == {"multi_modal_projector"}
    assert not any(module.training for module in model.model.vision_tower.modules())
    work.student.begin(model, "tune", work)
    assert not any(p.requires_grad for p in model.model.vision_tower.parameters())
    assert all(p.requires_grad for p in model.model.language_model.parameters())


@pytest.mark.parametrize("reduction", ["token", "square"])
def test_gradients_do_not_depend_on_the_micro_batch(home, tmp_path, reduction):
    """Oracle: the whole batch at once; rows of one and of two pictures, answers of different lengths."""
    work = work_of(home, tmp_path / "out", f"student.loss_reduction={reduction}", arm="labels")
    found, student = batches.pools(work.dataset, work.recipe, 0), work.student
    gradients = []
    for micro in (None, 1, 4):
        torch.manual_seed(0)
        model = student.build(work)
        student.begin(model, "tune", work)
        cut = batches.Batches(work, ARMS["labels"], found, "tune", 12, micro).micro_batches(0)
        count = sum(student.counts(batch)["answers"] for batch in cut)
        for batch in cut:
            (student.losses(model, batch, "tune", work)["answers"] / count).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert len(cut) == 3
    assert gradients[0].norm() > 0.1
    for other in gradients[1:]:
        assert torch.allclose(gradients[0], other, atol=1e-5)


@pytest.mark.parametrize(("reduction", "power"), [("token", 0), ("square", 0.5), ("sample", 1)])
def test_tokens_of_long_answers_weigh_what_the_reduction_says(home, tmp_path, reduction, power):
    """Oracle: the likelihood of each row's answer, which another function finds row by row, weighted by hand."""
    work = work_of(home, tmp_path / "out", f"student.loss_reduction={reduction}", arm="labels")
    student = work.student
    torch.manual_seed(0)
    model = student.build(work).eval()
    rows = [work.dataset.row(p) for p in work.dataset.splits["train"][:9]]
    nll, tokens = student._nll(model, rows, work)
    assert len(set(tokens)) > 2
    batch = student.batch([Item(row, None, View(), True, np.random.default_rng(0)) for row in rows], "tune", work)
    found = float(student.losses(model, batch, "tune", work)["answers"]) / student.counts(batch)["answers"]
    assert found == pytest.approx((nll / tokens**power).sum() / (tokens ** (1 - power)).sum(), rel=1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gradients_do_not_depend_on_whether_pictures_are_shared(home, tmp_path, attention):
    """Oracle: the same rows one by one; those of a picture, of two pictures, and with the question before the picture."""
    sets = ["student.share_pictures=64", "student.tune_vision=0.3"]
    work = work_of(home, tmp_path / "out", *sets, arm="labels")
    alone = work_of(home, tmp_path / "alone", "student.tune_vision=0.3", arm="labels")
    found = batches.pools(work.dataset, work.recipe, 0)
    rows = batches.Batches(work, ARMS["labels"], found, "tune", 24, None)
    items = [rows._item(0, place, *position) for place, position in enumerate(rows.positions(0))]
    gradients, tensors = [], []
    for own in (work, alone):
        torch.manual_seed(0)
        model = own.student.build(own)
        own.student.begin(model, "tune", own)
        model.set_attn_implementation(attention)
        batch = own.student.batch(items, "tune", own)
        own.student.losses(model, batch, "tune", own)["answers"].backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.requires_grad]))
        tensors.append(batch)
    shared, single = tensors
    assert sorted(shared["answer_ids"].tolist()) == sorted(single["answer_ids"].tolist())
    after = sum(len(shared[f"after_of_{i}"]) for i in range(3))
    assert len(items) - after == len(shared["input_ids"]) > 0
    assert len(shared["begin_pixels"]) < after
    assert len(single["input_ids"]) == len(items)
    assert gradients[0].norm() > 0.1
    assert torch.allclose(*gradients, rtol=1e-3, atol=2e-5 * float(gradients[1].norm()))


def test_rows_of_a_picture_follow_each_other_and_each_comes_once(home, tmp_path):
    """Oracle: the pictures of the rows of a whole walk."""
    work = work_of(home, tmp_path / "out", "student.share_pictures=64", arm="labels")
    found = batches.pools(work.dataset, work.recipe, 0)
    rows = batches.Batches(work, ARMS["labels"], found, "tune", len(found.labelled), None)
    orders = [[position for position, _ in rows.positions(step)] for step in range(2)]
    assert all(sorted(order) == sorted(found.labelled) for order in orders)
    assert orders[0] != orders[1]
    pictures = [tuple(work.dataset.row(p)["images"]) for p in orders[0]]
    runs = 1 + sum(a != b for a, b in pairwise(pictures))
    assert runs == len(set(pictures)) < len(pictures)


def test_describing_comes_between_and_repeated_rows_come_so_often(home, tmp_path):
    """Oracle: names of what has gradients; counts of rows in a whole walk."""
    sets = [
        "student.describe=true", "student.align_on=['existence']", "student.repeat={ setting = 3, attribute = 0 }",
        "student.repeat_answers={ yes_no = 2 }", "student.drill={ existence = 4 }",
    ]  # fmt: skip
    work = work_of(home, tmp_path / "out", *sets, arm="labels")
    assert work.student.phases == ("align", "describe", "drill", "tune")
    model = work.student.build(work)
    work.student.begin(model, "describe", work)
    learning = {n.split(".")[1] for n, p in model.named_parameters() if p.requires_grad}
    assert learning == {"multi_modal_projector", "language_model"}
    found = batches.pools(work.dataset, work.recipe, 0)
    rows = {p: work.dataset.row(p) for p in found.labelled.tolist()}
    assert {row["answer_type"] for row in rows.values()} > {"yes_no", "choice"}
    kinds = {"setting": 3, "attribute": 0}
    for phase, times, usual, twice in (
        ("describe", {"existence": 1}, 0, ""), ("drill", {"existence": 4}, 1, ""), ("tune", kinds, 1, "yes_no"),
    ):  # fmt: skip
        expected = +Counter(
            {p: times.get(r["question_type"], usual) * (1 + (r["answer_type"] == twice)) for p, r in rows.items()}
        )
        walk = batches.Batches(work, ARMS["labels"], found, phase, expected.total(), None)
        assert Counter(position for position, _ in walk.positions(0)) == expected


def test_a_tower_that_is_tuned_learns_as_far_as_it_is_seen(home, tmp_path):
    """Oracle: names of what has gradients after a step; its layers past the one that is seen would never get any."""
    work = work_of(home, tmp_path / "out", "student.tune_vision=0.3", "student.vision_layers=[-2]", arm="labels")
    model = work.student.build(work)
    work.student.begin(model, "align", work)
    assert not any(p.requires_grad for p in model.model.vision_tower.parameters())
    work.student.begin(model, "tune", work)
    model.train()
    tower = model.model.vision_tower
    assert tower.training
    found = batches.pools(work.dataset, work.recipe, 0)
    batch = batches.Batches(work, ARMS["labels"], found, "tune", 8, None).micro_batches(0)[0]
    work.student.losses(model, batch, "tune", work)["answers"].backward()
    learning = {name for name, p in tower.named_parameters() if p.requires_grad}
    assert learning == {name for name, p in tower.named_parameters() if p.grad is not None}
    assert any(".layers.0." in name for name in learning)
    assert not any(f".layers.{tower.config.num_hidden_layers - 1}." in name for name in learning)


def test_adapters_go_to_what_a_phase_trains_and_never_to_the_tower(home, tmp_path):
    """Oracle: names of LoRA's weights; and after merging, the tower as it was and a language model that learnt."""
    sets = ["student.align=false", "train.lr=0.05", 'train.adapter={ kind = "lora", rank = 2 }', "evaluate.test_rows=3"]
    result = distill(home / "recipe.toml", tmp_path / "out", sets=sets, device="cpu")
    state = torch.load(result.trainings[0].folder / "checkpoint.pt", weights_only=True)["model"]
    assert {name.split(".")[3] for name in state if "lora" in name} == {"language_model", "multi_modal_projector"}
    tuned = joined.load(result.out / "student")
    for name, before in CLIPVisionModel.from_pretrained(home / "clip").named_parameters():
        assert torch.equal(before, tuned.model.vision_tower.get_parameter(name)), name
    layer = "layers.0.self_attn.q_proj.weight"
    before = LlamaForCausalLM.from_pretrained(home / "llama").model.get_parameter(layer)
    assert not torch.equal(before, tuned.model.language_model.get_parameter(layer))


# --- hidden pictures


class Spy:
    """A model that only remembers what it was given."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, end):
        self.given, self.end = [], end

    def get_output_embeddings(self):
        return torch.nn.Linear(1, 771)

    def generate(self, input_ids, attention_mask, pixel_values=None, **settings):
        self.given.append((input_ids, attention_mask, pixel_values))
        return torch.cat([input_ids, torch.full((len(input_ids), 1), self.end)], 1)


def given(work, rows, how):
    words, pixels = work.student.parts(work).words, work.student.parts(work).pixels
    spy = Spy(words.end_id)
    asking.answers(spy, words, pixels, asking.asked(rows, how), [4] * len(rows))
    (ids, mask, pixel_values) = spy.given[0]
    return words, ids, mask, pixel_values


def test_a_blind_question_holds_nothing_of_the_picture(student):
    """Oracle: what a model is given: no pixels and no picture's token; the same whatever the picture."""
    work = student[1]
    rows = [row for row in work.dataset.rows(range(12)) if len(row["images"]) == 1]
    words, ids, _, pixels = given(work, rows, "blind")
    assert pixels is None
    assert not (ids == words.image_id).any()
    swapped = [row | {"images": rows[n - 1]["images"]} for n, row in enumerate(rows)]
    assert torch.equal(ids, given(work, swapped, "blind")[1])
    seen = given(work, rows, "seen")
    assert (seen[1] == words.image_id).sum() == words.per_picture * len(rows)
    assert not torch.equal(seen[3], given(work, swapped, "seen")[3])


def test_a_grey_picture_is_the_same_for_every_row(student):
    """Oracle: pixels of 128 by the tower's own normalisation."""
    work = student[1]
    rows = [row for row in work.dataset.rows(range(12)) if len(row["images"]) == 1]
    _, _, _, pixels = given(work, rows, "grey")
    process = work.student.parts(work).pixels
    wanted = (128 / 255 - torch.tensor(process.mean)) / torch.tensor(process.std)
    assert torch.allclose(pixels, wanted.view(1, 3, 1, 1).expand_as(pixels), atol=1e-6)


def test_another_rows_picture_is_of_another_source(student):
    """Oracle: ids of the rows that the pictures were made from, and digests of the pictures."""
    work = student[1]
    rows = work.dataset.rows(range(len(work.dataset)))
    order = asking.strangers(rows, [len(row["images"]) for row in rows])
    assert all(group_of(rows[a]) != group_of(rows[b]) for a, b in enumerate(order))
    assert all(len(rows[a]["images"]) == len(rows[b]["images"]) for a, b in enumerate(order))
    questions = asking.asked(rows, "shuffled")
    assert all(q.images != row["images"] for q, row in zip(questions, rows, strict=True))


def test_a_source_with_most_of_the_rows_still_gets_strangers():
    """Oracle: by hand: three rows of one source have the one row of the other to turn to."""
    rows = [{"id": i} for i in ("a/0", "a/1", "a/2", "b/0")]
    assert asking.strangers(rows, [1, 1, 1, 1])[:3] == [3, 3, 3]
    assert asking.strangers(rows[:1], [1]) == [0]


def test_a_strangers_question_shows_as_many_pictures_whatever_its_row_has():
    """Oracle: by hand: a row whose first question shows one of its two pictures, and rows that show two and one."""
    first, later = [user(0, "a"), assistant("b")], [user(1, "c"), assistant("d")]
    rows = [
        {"id": "a/0", "messages": [*first, *later], "images": [b"a0", b"a1"]},
        {"id": "b/0", "messages": [user(0, 1, "a"), assistant("b")], "images": [b"b0", b"b1"]},
        {"id": "c/0", "messages": first, "images": [b"c0"]},
    ]
    shuffled = asking.asked(rows, "shuffled")
    assert [q.images for q in shuffled] == [[b"c0"], [b"b0", b"b1"], [b"a0"]]
    assert [len(pictures_of(q.messages)) for q in shuffled] == [1, 2, 1]


def test_only_the_first_question_of_a_conversation_is_asked():
    """Oracle: by hand; later turns would show earlier answers, and their pictures."""
    row = {"id": "a", "messages": [user("a", 1), assistant("b"), user(0), assistant("c")], "images": [b"0", b"1"]}
    assert asking.question(row) == Question([user("a", 0)], [b"1"])


# --- a teacher that sees


@pytest.fixture(scope="module")
def taught(home, student):
    """The student itself as its own teacher, with rows of padding behind its vocabulary."""
    sets = ("models.teacher=first/student", "student.teacher=teacher", "student.top=20", "distill.name=taught")
    return work_of(home, home / "taught", *sets)


def test_the_cache_holds_what_the_teacher_says_live(taught, home):
    """Oracle: a forward pass over prompt and answer, log-softmax over the tokens that exist."""
    words, pixels = taught.student.parts(taught).words, taught.student.parts(taught).pixels
    model, size = joined.load(home / "first" / "student"), taught.cache.facts["vocabulary"]
    assert size == len(words) == 771
    assert model.lm_head.out_features == 800
    for p in (0, 5, 11):
        row = taught.dataset.row(p)
        target, asked = taught.cache.target(row["id"]), asking.question(row)
        answer = [int(i) for i in target["answer_ids"]]
        said = asking.answers(model, words, pixels, [asked], [taught.student.answer_tokens])[0]
        assert words.decode(answer) == said
        prompt = words.prompt(asked.messages)
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([[*prompt, *answer]]),
                pixel_values=pixels([decode(i) for i in asked.images])["pixel_values"],
            ).logits[0, len(prompt) - 1 : -1, :size]
        live = logits.log_softmax(-1)
        ids = torch.from_numpy(target["top_ids"].astype(np.int64))
        cached = torch.from_numpy(target["top_logprobs"].astype(np.float32))
        assert torch.allclose(live.gather(-1, ids), cached, atol=0.02)
        assert torch.equal(live.topk(1).indices, ids[:, :1])
        mass = cached.exp().sum(-1) + torch.from_numpy(target["tail"].astype(np.float32)).exp()
        assert torch.allclose(mass, torch.ones(len(answer)), atol=5e-3)


def test_a_student_that_is_its_own_teacher_has_nothing_to_learn_from_it(taught, home):
    """Oracle: the KL of a model with itself is 0, and it isn't that of another model."""
    found = batches.pools(taught.dataset, taught.recipe, 0)
    batch = batches.Batches(taught, ARMS["teacher"], found, "tune", 12, None).micro_batches(0)[0]
    work = taught.with_(terms={"tokens": 1.0})
    count = taught.student.counts(batch)["tokens"]
    with torch.no_grad():
        own = taught.student.losses(joined.load(home / "first" / "student"), batch, "tune", work)["tokens"] / count
        torch.manual_seed(1)
        other = taught.student.losses(taught.student.build(taught), batch, "tune", work)["tokens"] / count
    assert abs(own) < 1e-3
    assert other > 0.02


def test_agreement_with_the_teacher_retains_nothing_of_it(taught):
    """Oracle: by hand: the teacher agrees with itself wherever it can be read, so a share of that says nothing."""
    found = batches.pools(taught.dataset, taught.recipe, 0)
    rows = taught.dataset.rows(found.test)
    said = taught.student.teacher_answers(rows, taught)
    teacher = taught.student.score(said, rows, taught, said)
    assert teacher.values["agreement"] == pytest.approx(1 - teacher.values["unparsed"])
    trainings = [
        Training(arm, n, Scores({"agreement": value, "closed": value}), {}, Path())
        for arm, value in (("labels", 0.25), ("both", 0.5))
        for n in range(6)
    ]
    teacher = Scores({"agreement": 1.0, "closed": 0.8})
    told = compare(taught.student.metrics, trainings, teacher)["metrics"]
    assert told["closed"]["retained"]["value"] == pytest.approx(0.5 / 0.8)
    assert {"gap_closed", "verdict"} <= {*told["closed"]}
    assert not {"retained", "gap_closed", "lead", "verdict"} & {*told["agreement"]}
    assert told["agreement"]["gains"]["both"]["value"] == pytest.approx(0.25)


def test_unlabelled_rows_show_the_teachers_answer_and_never_the_label(taught):
    """Oracle: the ids of a batch: the label's own are found only where it may be seen."""
    row = taught.dataset.row(0)
    target = taught.cache.target(row["id"])
    words, student = taught.student.parts(taught).words, taught.student
    item = batches.Item(row, target, batches.View(), False, np.random.default_rng(0))
    (own,) = student._conversations(item, taught)
    assert not own.labelled
    assert own.encoded.ids == [*words.prompt(row["messages"][:1]), *target["answer_ids"].tolist()]
    both = student._conversations(replace(item, labelled=True), taught)
    assert [c.labelled for c in both] == [True, False]
    assert both[0].encoded == words.encode(row["messages"])
    same = target | {"answer_ids": np.array(words.answer(row["messages"][1]["content"][0]["text"]))}
    n = len(same["answer_ids"])
    same |= {k: np.resize(v, (n, *v.shape[1:])) for k, v in target.items() if k != "answer_ids"}
    (one,) = student._conversations(replace(item, labelled=True, target=same), taught)
    assert one.labelled
    assert one.target is same


def test_answers_of_rows_can_be_what_the_teacher_speaks_of(home, student, tmp_path):
    """Oracle: ids of the rows' own answers, and a live forward pass."""
    sets = ("models.teacher=first/student", "student.teacher=teacher", "student.teacher_on=rows", "student.top=5")
    work = work_of(home, tmp_path / "out", *sets, f"cache.folder={tmp_path / 'cache'}")
    words, row = work.student.parts(work).words, work.dataset.row(3)
    target = work.cache.target(row["id"])
    assert target["answer_ids"].tolist() == words.answer(row["messages"][1]["content"][0]["text"])
    (one,) = work.student._conversations(
        batches.Item(row, target, batches.View(), True, np.random.default_rng(0)), work
    )
    assert one.encoded == words.encode(row["messages"])
    assert work.student.teacher_answers([row], work) is None


def test_another_architecture_teaches_through_its_own_processor(home, student, tmp_path):
    """Oracle: SmolVLM's architecture asked row by row, without padding, about the very ids; its end token is another."""
    folder, work = tiny_smolvlm(tmp_path / "smolvlm"), student[1]
    words = joined.words_of(str(MINIATURES / "llm"), work.student.parts(work).sight)
    theirs, common = joined.tokenizer_of(str(folder)), Shared(768, 1, 770)
    assert shared(words.tokenizer, theirs, ("a", "b")) == common
    with pytest.raises(VocabulariesDiffer, match=r"the end token '<\|im_end\|>' of a isn't in the common part"):
        shared(work.student.parts(work).words.tokenizer, theirs, ("a", "b"))
    rows = [row for row in work.dataset.rows(range(40)) if len(row["images"]) == 1][:3]
    rows += [row for row in work.dataset.rows(range(40)) if len(row["images"]) == 2][:1]
    teacher = TopTokens(ModelSpec(id=str(folder)), tmp_path, words, common, k=20, of="own", longest=5)
    teacher.load()
    found = teacher.targets(rows, [batches.View()] * 4)
    processor, model = AutoProcessor.from_pretrained(folder), Idefics3ForConditionalGeneration.from_pretrained(folder)
    for n, row in enumerate(rows):
        asked = asking.question(row)
        typed = [
            {"role": m["role"], "content": [p | {"text": p["text"] or ""} for p in m["content"]]}
            for m in asked.messages
        ]
        text = processor.apply_chat_template(typed, add_generation_prompt=True, tokenize=False)
        inputs = processor(text=[text], images=[[decode(i) for i in asked.images]], return_tensors="pt")
        answer = [770 if i == words.end_id else int(i) for i in found["answer_ids"][n]]
        width = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.no_grad():
            logits = model(**inputs).logits[0, width - 1 : -1]
        ids, logprobs, _ = top_tokens(logits, 20, common)
        assert logits.argmax(-1).tolist() == answer
        assert np.allclose(logprobs.numpy(), found["top_logprobs"][n], atol=1e-3)
        assert (ids[:, 0].numpy() == found["top_ids"][n][:, 0]).all()


# --- bad input


def test_a_dataset_of_another_task_is_refused(home, tmp_path):
    built = small_build(tmp_path / "pairs").path
    with pytest.raises(
        RequestError, match="has no column 'messages', which the student 'vlm' reads; its rows are EditPair"
    ):
        distill(home / "recipe.toml", tmp_path / "out", sets=[f"source.build={built}"])


def test_rows_without_pictures_are_refused(home, tmp_path):
    bare = small_questions(tmp_path / "bare", pictures=False)
    with pytest.raises(RequestError, match=r"none of the \d+ rows of the split 'train' has a picture"):
        distill(home / "recipe.toml", tmp_path / "out", sets=[f"source.build={bare}"])


def test_rows_with_too_many_pictures_are_left_out_and_count_as_unanswered(home, tmp_path):
    """Oracle: which rows show two pictures."""
    work = work_of(home, tmp_path / "out", "student.max_pictures=1", arm="labels")
    found = batches.pools(work.dataset, work.recipe, 0)
    drawn = batches.Batches(work, ARMS["labels"], found, "tune", 6, None)
    shown = {len(work.dataset.row(p)["images"]) for step in range(30) for p, _ in drawn.positions(step)}
    assert shown == {1}
    rows = work.dataset.rows(found.test)
    torch.manual_seed(0)
    said = work.student._said(work.student.build(work), rows, "seen", work)
    assert all(text == "" for text, row in zip(said, rows, strict=True) if len(row["images"]) == 2)


def test_rows_longer_than_the_language_model_reads_teach_nothing(home, tmp_path):
    """Oracle: a limit of five tokens; the batch is whole, and counts nothing."""
    work = work_of(home, tmp_path / "out", "student.max_tokens=5", arm="labels")
    found = batches.pools(work.dataset, work.recipe, 0)
    batch = batches.Batches(work, ARMS["labels"], found, "tune", 6, None).micro_batches(0)[0]
    assert work.student.counts(batch) == {"answers": 0.0, "tokens": 0.0}
    assert work.student.losses(work.student.build(work), batch, "tune", work) == {}


def test_a_teacher_of_another_vocabulary_is_refused_before_anything_is_loaded(home, student, tmp_path):
    teacher = tmp_path / "teacher"
    tiny_llama(teacher, word_tokenizer())
    sets = [f"models.teacher={teacher}", "student.teacher=teacher"]
    with pytest.raises(RequestError, match=r"token 0 is '<\|pad\|>' to llama and '<pad>' to"):
        distill(home / "recipe.toml", tmp_path / "out", sets=sets)
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_an_endpoint_is_no_teacher_of_tokens(home, tmp_path):
    sets = ['models.teacher={ base_url = "http://localhost:1/v1", model = "m" }', "student.teacher=teacher"]
    with pytest.raises(RequestError, match="write the answers instead"):
        distill(home / "recipe.toml", tmp_path / "out", sets=sets)


def test_a_damaged_conversation_is_named(home, tmp_path):
    work = work_of(home, tmp_path / "out", arm="labels")
    row = work.dataset.row(0) | {"images": []}
    item = batches.Item(row, None, batches.View(), True, np.random.default_rng(0))
    with pytest.raises(RequestError, match=f"row {row['id']}: picture 0 of 0"):
        work.student.batch([item], "tune", work)


def test_pictures_in_two_splits_are_refused(home, tmp_path):
    """Oracle: the same scenes drawn under two names, split by row."""
    work = work_of(home, tmp_path / "out", arm="labels")
    everything = {split: np.arange(len(work.dataset)) for split in work.dataset.splits}
    work.dataset.splits.update(everything)
    assert any("are in others too" in problem for problem in unfit(work.dataset, "test", {}))


def test_what_would_be_ignored_or_fail_after_hours_is_told_first(home, student, tmp_path):
    """Names that no row has; development rows that ask nothing closed; a teacher that shows hidden labels. Oracle: by hand."""
    sets = ["student.repeat={ atribute = 3 }", "student.drill={ existense = 2 }"]
    with pytest.raises(RequestError) as error:
        work_of(home, tmp_path / "a", *sets)
    said = str(error.value)
    assert "student.repeat names the question_type 'atribute', which no row has; did you mean 'attribute'?" in said
    assert "student.drill names the question_type 'existense', which no row has; did you mean 'existence'?" in said
    taught = ["models.teacher=first/student", "student.teacher=teacher", "student.teacher_on=rows", "budget.labelled=5"]
    with pytest.raises(RequestError, match=r"shows the answers of rows whose labels budget\.labelled hides"):
        work_of(home, tmp_path / "b", *taught)
    described = SimpleNamespace(
        values=lambda column: iter([None]),
        splits={},
        row=lambda p: {"answer_value": None, "question_type": "description"},
    )
    told = unfit(described, "test", {"development rows": np.arange(2), "test rows": np.zeros(0, int)})
    assert [line.partition(";")[0] for line in told] == [
        "none of the 2 development rows asks a closed question", "none of the 0 test rows asks a closed question",
    ]  # fmt: skip


def test_several_builds_alternate_and_their_ids_stay_apart(home, tmp_path):
    """Oracle: the rows of both builds."""
    more = small_questions(tmp_path / "more", name="more", rows=6, seed=7)
    work = work_of(home, tmp_path / "out", f'source.also=["{more}"]', arm="labels")
    train = [work.dataset.ids[p] for p in work.dataset.splits["train"]]
    assert [i.partition("@")[0] for i in train[:4]] == ["small", "more", "small", "more"]
    assert len(set(work.dataset.ids)) == len(work.dataset.ids)
    assert group_of({"id": train[0]}) == group_of({"id": train[1]})  # the same scene of the storybook


# --- figures


def test_pope_by_hand_and_nothing_defaults_to_yes():
    """Oracle: counted by hand: yes yes no(unread) / no yes no no."""
    found = verdicts.pope([True, True, True, False, False, False, False], [True, True, None, False, True, False, None])
    assert (found.accuracy, found.precision, found.recall) == pytest.approx((4 / 7, 2 / 3, 2 / 3))
    assert (found.yes, found.unparsed) == pytest.approx((3 / 7, 2 / 7))
    korean = {"template": "existence.random", "question_type": "existence", "language": "ko", "answer_type": "yes_no"}
    row = korean | {"answer_value": "false", "messages": [user("고양이가 있나요?"), assistant("아니요")]}
    assert verdicts.read(row, "아니요, 없습니다.").right
    assert verdicts.read(row, "").value is None
    assert verdicts.existence([row], [verdicts.read(row, "None.").value])["all"].unparsed == 1.0


def imported(question, answer, value):
    """A row of another's dataset: no template of limbeck's."""
    return {
        "id": question, "question_type": "existence", "template": None, "answer_type": "yes_no", "language": "en",
        "answer_value": json.dumps(value), "messages": [user(0, question), assistant(answer)], "images": [b""],
    }  # fmt: skip


def test_yes_or_no_is_read_whatever_the_template():
    """Oracle: a perfect model, in a word and in a sentence, and one that says something else, by hand."""
    rows = [imported("Is there a cat?", "Yes", True), imported("Is there a dog?", "no", False)]
    for said in (["Yes", "no"], ["Yes, there is.", "There is no dog."]):
        values = verdicts.scored({"seen": np.array(said, object)}, rows).values
        assert (values["pope_accuracy"], values["pope_f1"], values["pope_yes"], values["closed"]) == (1, 1, 0.5, 1)
    found = verdicts.scored({"seen": np.array(["A house.", "Yes"], object)}, rows)
    assert (found.values["pope_unparsed"], found.values["unparsed"], found.values["closed"]) == (0.5, 0.5, 0)


def test_two_answers_that_nobody_can_read_are_no_agreement():
    """Oracle: by hand: of three rows the teacher is agreed with on one."""
    rows = [
        imported(f"Is there a {name}?", "Yes", True) | {"template": "existence.random"}
        for name in ("cat", "dog", "bus")
    ]
    said, teacher = ({"seen": np.array(answers, object)} for answers in (["", "No", "Yes"], ["Hm.", "No", "No"]))
    assert verdicts.scored(said, rows, teacher).values["agreement"] == pytest.approx(1 / 3)


def test_chair_by_hand():
    """Oracle: a scene with a red ball and a cat; the description invents a tree, and a dog that no storybook shows."""
    scene = {
        "things": [
            {"kind": "ball", "colour": "red", "size": "big", "place": "left"},
            {"kind": "cat", "colour": "blue", "size": "small", "place": "right"},
        ],
        "ground": "grass", "time": "day", "weather": "clear", "style": "plain", "variation": 0,
    }  # fmt: skip
    row = {"scenes": [json.dumps(scene)], "language": "en", "question_type": "description"}
    said = (
        "A big red ball stands on the left. There is no car. In the middle stands a small green tree. There is a dog."
    )
    found = verdicts.described(row, said)
    assert (found.mentions, found.invented, found.things, found.told) == (3, 2, 2, 1)
    assert verdicts.chair([found])["coverage"] == 0.5
    boxes = {"boxes": [{"name": "ball"}, {"name": "cat"}], "language": "en", "question_type": "description"}
    photo = verdicts.described(boxes, "Two balls and a bat.", ["ball", "bat", "cat", "all"])
    assert (photo.mentions, photo.invented, photo.told) == (2, 1, 1)


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("A hot dog on a dining table.", {"hot dog", "dining table"}),
        ("A dog eats a hot dog.", {"dog", "hot dog"}),
        ("Teddy bears next to a wine glass", {"teddy bear", "wine glass"}),
        ("Two buses and three people in t-shirts.", {"bus", "person", "t-shirt"}),
        ("A T-shirt, knives, and butterflies by the traffic-light", {"t-shirt", "knife", "butterfly", "traffic light"}),
        ("A bearded man in a business suit.", set()),
    ],
)
def test_names_of_boxes_are_found_longest_first_in_the_singular_and_the_plural(text, mentioned):
    """Oracle: by hand, against a picture of all that is mentioned, and one of something else."""
    names = {
        "dog", "hot dog", "dining table", "table", "bear", "teddy bear", "wine glass", "bus", "person", "t-shirt", "knife",
        "butterfly", "traffic light",
    }  # fmt: skip
    row = {"boxes": [{"name": name} for name in sorted(mentioned)] or [{"name": "kite"}]}
    found = verdicts.described(row, text, names)
    assert (found.mentions, found.told, found.invented) == (len(mentioned), len(mentioned), 0)
    other = verdicts.described({"boxes": [{"name": "kite"}]}, text, names)
    assert (other.mentions, other.told, other.invented) == (len(mentioned), 0, len(mentioned))


def test_boxes_without_names_make_no_description():
    """Oracle: by hand."""
    assert verdicts.described({"boxes": [{"name": ""}]}, "A dog.").mentions == 0


def test_the_guesser_knows_the_commonest_answer_of_each_kind_of_question():
    """Oracle: counted by hand."""

    def row(text, value, kind="yes_no", template="place.is"):
        return {
            "language": "en", "template": template, "answer_type": kind, "answer_value": json.dumps(value),
            "messages": [user("?"), assistant(text)],
        }  # fmt: skip

    known = [row("No", False), row("No", False), row("Yes", True), row("Red", "red", "word", "attribute.colour")]
    known += [row("B", "cat", "choice", "place.what"), row("B", "car", "choice", "place.what")]
    asked = [
        row("Yes", True),
        row("Blue", "blue", "word", "attribute.colour"),
        row("A", "cat", "choice", "region.what"),
    ]
    assert verdicts.guesses(known, asked) == ["No", "Red", "B"]
    kind, template = "phrase", "comparison.further"
    first = [
        row("Ball", "ball", kind, template) | {"messages": [user("Which, the ball or the cat?"), assistant("Ball")]}
    ]
    then = row("Car", "car", kind, template) | {"messages": [user("Which, the tree or the car?"), assistant("Car")]}
    assert verdicts.guesses(first, [then]) == ["tree"]  # the first named, as among what is known


# --- the full-size recipe


def test_the_full_size_recipe_runs_on_tiny_weights_of_its_architectures(home, tmp_path):
    """Oracle: every step of the line, with a SigLIP and a Llama of its own and bf16 as written."""
    tiny_siglip(tmp_path / "siglip")
    sets = [
        f"source.build={home / 'questions' / 'out'}", "source.also=[]", f"models.vision={tmp_path / 'siglip'}",
        f"models.language={home / 'llama'}", 'student.align_on=["existence"]', "train.batch_size=4", "train.micro_batch=2",
        "train.phases.align.batch_size=4", "train.phases.align.steps=2", "train.phases.tune.steps=2", "evaluate.dev_rows=4", "evaluate.test_rows=6",
        "student.answer_tokens=4", "student.closed_tokens=4", "train.workers=0",
    ]  # fmt: skip
    result = distill(ROOT / "recipes" / "distill-vlm-smollm2.toml", tmp_path / "out", sets=sets, device="cpu")
    model = LlavaForConditionalGeneration.from_pretrained(result.out / "student")
    assert model.config.vision_config.model_type == "siglip_vision_model"
    assert model.config.vision_feature_select_strategy == "full"
    assert AutoProcessor.from_pretrained(result.out / "student").num_additional_image_tokens == 0
    assert np.isfinite(result.report["formats"]["safetensors"]["values"]["nll"])
