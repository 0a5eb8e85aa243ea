"""LoRA and prompt tuning, from recipe to saved folder. Each test names its oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_scorers import tiny_clip
from tiny_vlm import TEMPLATE, WORDS, small_questions, stock_inputs, student_recipe, tiny_llama, word_tokenizer, work_of
from transformers import CLIPVisionModelWithProjection, LlamaForCausalLM, LlavaForConditionalGeneration

from distill import batches, losses, trainer
from distill import recipe as recipes
from distill.adapters import adapted, merged, paced
from distill.checkpoints import trained_state
from distill.distilling import distill
from distill.evaluating import evaluate_student
from distill.tables import AdapterTable
from distill.testing import check_student, model_state
from distill.vlm import asking, joined
from distill.vlm.top_tokens import LOGPROBS, TAIL, TOP, TopTokens
from distill.vlm.vocabulary import Shared, shared
from distill.vlm.words import Words, begun
from limbeck.errors import RecipeError, RequestError
from limbeck.models.spec import ModelSpec
from limbeck.pictures import decode
from limbeck.turns import assistant, user

SOFT = 4
PROMPT = AdapterTable(kind="prompt", tokens=SOFT)
TUNED = f'train.adapter={{ kind = "prompt", tokens = {SOFT} }}'
LORA = 'train.adapter={ kind = "lora", rank = 2 }'
ENCODER = [
    "source.storybook.rows=60", "budget.labelled=10", "budget.unlabelled=10", "evaluate.test_rows=6",
    "evaluate.dev_rows=6", "train.steps=2", "views.count=1", "student.hidden_size=16",
    "student.intermediate_size=16", "student.layers=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A recipe, its build and its models, all tiny; `teacher` is a VLM of other weights."""
    folder = tmp_path_factory.mktemp("adapters")
    tiny_clip(folder / "clip")
    tiny_llama(folder / "llama")
    tiny_llama(folder / "spare", rows=800, tied=False)  # of 771 tokens and the soft ones: the rest is padding
    tiny_llama(folder / "other", seed=1)
    small_questions(folder / "questions")
    (folder / "recipe.toml").write_text(student_recipe(steps=3, test_rows=9, lr=0.05))
    sight = joined.Sight(str(folder / "clip"))
    words = joined.words_of(str(folder / "other"), sight)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        joined.save(joined.joined(sight, str(folder / "other"), words), words, sight, folder / "teacher")
    return folder


@pytest.fixture(scope="module")
def tuned(home):
    """A student whose prompt was tuned for three steps."""
    return distill(home / "recipe.toml", home / "tuned", sets=[TUNED], device="cpu")


def adapted_model(work, table, phase="tune", spread=0.3):
    """An adapted model in evaluation mode, its adapters' weights moved away from where they begin."""
    torch.manual_seed(0)
    model = work.student.build(work)
    work.student.begin(model, phase, work)
    model = adapted(model, table).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(spread * torch.randn_like(parameter))
    return model


# --- prompt tuning


def by_hand(model, learnt, ids, pictures, pixels, image_id):
    """(T, V) logits of one conversation without soft tokens, with learnt vectors put in front of its embeddings."""
    rows = model.get_input_embeddings().weight[torch.tensor(ids)].detach().clone()
    if pictures:
        seen = model.model.get_image_features(
            pixel_values=pixels([decode(i) for i in pictures])["pixel_values"],
            vision_feature_layer=model.config.vision_feature_layer,
            vision_feature_select_strategy=model.config.vision_feature_select_strategy,
            return_dict=True,
        ).pooler_output
        rows[torch.tensor(ids) == image_id] = torch.cat(tuple(seen)).detach()
    states = model.model.language_model(inputs_embeds=torch.cat([learnt, rows])[None]).last_hidden_state
    return model.lm_head(states)[0, len(learnt) :]


@pytest.mark.parametrize("share", [1, 64])
@pytest.mark.parametrize("language", ["llama", "spare"])
def test_loss_and_gradient_are_those_of_vectors_put_in_front_by_hand(home, tmp_path, language, share):
    """Oracle: the plain model row by row, learnt vectors concatenated before its embeddings, no soft tokens."""
    sets = [TUNED, f"models.language={language}", "models.teacher=teacher", "student.teacher=teacher", "student.top=9"]
    work = work_of(home, tmp_path / "out", *sets, f"student.share_pictures={share}")
    student, model = work.student, adapted_model(work, PROMPT)
    (learnt,) = [p for p in model.parameters() if p.requires_grad]
    assert learnt.shape == (SOFT, 24)
    rows = work.dataset.rows(work.dataset.splits["train"][:12])
    items = [
        batches.Item(row, work.cache.target(row["id"]), batches.View(), True, np.random.default_rng(0)) for row in rows
    ]
    batch = student.batch(items, "tune", work)
    assert ("begin_ids" in batch) == (share > 1)
    found = student.losses(model, batch, "tune", work)
    sum(found.values()).backward()

    plain = joined.words_of(str(home / language), student.parts(work).sight)
    assert len(plain) == len(student.parts(work).words) == 771
    torch.manual_seed(0)
    base, vectors = student.build(work).eval(), learnt.detach().clone().requires_grad_()
    expected = {"answers": torch.zeros(()), "tokens": torch.zeros(())}
    for item in items:
        for c in student._conversations(item, work):
            ids, learns = c.encoded.ids[SOFT:], c.encoded.learnt[SOFT:]
            assert not {*ids} & {*student.parts(work).words.soft_ids}
            if c.labelled:
                assert ids == plain.encode(item.row["messages"]).ids
            logits = by_hand(base, vectors, ids, c.images, student.parts(work).pixels, plain.image_id)
            at = torch.tensor([i - 1 for i, learn in enumerate(learns) if learn])
            if c.labelled:
                said = logits[at, :771].log_softmax(-1)
                expected["answers"] = expected["answers"] - said[range(len(at)), torch.tensor(ids)[at + 1]].sum()
            if c.target is not None:
                top, logprobs, tail = (torch.from_numpy(np.array(c.target[n])) for n in (TOP, LOGPROBS, TAIL))
                kl = losses.topk_tail_kl(logits[at], top.long(), logprobs.float(), tail.float(), vocabulary=771)
                expected["tokens"] = expected["tokens"] + kl.sum()
    assert {*found} == {*expected}
    assert all(found[name].item() == pytest.approx(expected[name].item(), rel=1e-5) for name in found)
    sum(expected.values()).backward()
    assert vectors.grad.norm() > 0.1
    assert torch.allclose(learnt.grad, vectors.grad, rtol=1e-3, atol=1e-5 * float(vectors.grad.norm()))


def test_a_tuned_prompt_is_part_of_the_saved_folder(home, tmp_path):
    """Oracle: the model before merging; inputs and model by transformers alone."""
    work = work_of(home, tmp_path / "out", TUNED)
    model, row = adapted_model(work, PROMPT), work.dataset.row(0)
    words, folder = work.student.parts(work).words, tmp_path / "student"
    ids = torch.tensor([words.prompt(asking.question(row).messages)])
    pixels = work.student.parts(work).pixels([decode(i) for i in row["images"]])["pixel_values"]
    with torch.no_grad():
        before = model(input_ids=ids, pixel_values=pixels).logits
    work.student.save(merged(model), folder, work)
    inputs, loaded = stock_inputs(folder, row), LlavaForConditionalGeneration.from_pretrained(folder).eval()
    assert inputs["input_ids"].tolist() == ids.tolist()
    assert ids[0, :SOFT].tolist() == words.soft_ids == [771, 772, 773, 774]
    with torch.no_grad():
        after = loaded(**inputs).logits
        assert torch.allclose(before, after, atol=1e-5)
        assert not torch.allclose(before[:, SOFT:], loaded(ids[:, SOFT:], pixel_values=pixels).logits, atol=0.1)


def test_a_prompt_is_all_that_changes_and_limbeck_judges_with_it(home, tuned):
    """Oracle: the towers' own weights, and the line's scores against those of its files, read once more."""
    model = LlavaForConditionalGeneration.from_pretrained(tuned.out / "student")
    language = LlamaForCausalLM.from_pretrained(home / "llama").model
    for name, before in language.named_parameters():
        after = model.model.language_model.get_parameter(name)
        assert torch.equal(before, after[: len(before)] if name == "embed_tokens.weight" else after), name
    work = work_of(home, home / "tuned", TUNED)
    torch.manual_seed(work.seed)
    fresh = work.student.build(work)
    words = work.student.parts(work).words
    old, new = (m.get_input_embeddings().weight[words.soft_ids] for m in (fresh, model))
    assert all(any(torch.equal(row, token) for token in language.embed_tokens.weight[:770]) for row in old)
    assert not torch.isclose(old, new).any(1).all()
    for name, before in fresh.model.multi_modal_projector.named_parameters():  # alignment trains it in full
        assert not torch.equal(before, model.model.multi_modal_projector.get_parameter(name)), name
    found = evaluate_student(tuned.out, device="cpu")["formats"]["safetensors"]["values"]
    assert found == tuned.report["trainings"][0]["values"]


def test_nobody_says_a_soft_token(home, tmp_path):
    """Oracle: soft rows of an untied output that outshine all others, generated by transformers and by limbeck."""
    work = work_of(home, tmp_path / "out", TUNED)
    model, words, row = adapted_model(work, PROMPT), work.student.parts(work).words, work.dataset.row(0)
    plain = merged(model)
    with torch.no_grad():
        plain.get_output_embeddings().weight[words.soft_ids] = 50 * torch.randn(SOFT, 24)
    work.student.save(plain, tmp_path / "student", work)
    loaded = LlavaForConditionalGeneration.from_pretrained(tmp_path / "student").eval()
    inputs = stock_inputs(tmp_path / "student", row)
    with torch.no_grad():
        assert int(loaded(**inputs).logits[0, -1].argmax()) in words.soft_ids
    said = loaded.generate(**inputs, max_new_tokens=5, do_sample=False)[0, inputs["input_ids"].shape[1] :].tolist()
    assert said
    assert not {*said} & {*words.soft_ids}
    theirs, question = joined.tokenizer_of(str(tmp_path / "student")), asking.question(row)
    own = joined.words_of(str(home / "llama"), work.student.parts(work).sight)
    common = shared(own.tokenizer, theirs, ("a", "b"))
    assert common == Shared(771, own.end_id, own.end_id) == shared(words.tokenizer, theirs, ("a", "b"))
    teacher = TopTokens(ModelSpec(id=str(tmp_path / "student")), tmp_path, own, common, k=5, of="own", longest=5)
    teacher.load()
    answer = teacher.targets([row], [batches.View()])["answer_ids"][0].tolist()
    pixels = work.student.parts(work).pixels
    assert words.decode(answer) == asking.answers(loaded, words, pixels, [question], [5])[0]
    assert words.decode(answer) == words.decode(said[: len(answer)])


def test_soft_tokens_come_first_behind_a_begin_of_text_token():
    """Oracle: ids by hand over twelve words, `<image>` and two soft tokens; their names in a text are refused."""
    words = Words(word_tokenizer(), 3, soft=2)
    assert words.soft_ids == [13, 14]
    turns = [user("is it"), assistant("yes"), user("why"), assistant("so")]
    plain = Words(word_tokenizer(), 3).encode(turns)
    found = words.encode(turns)
    assert found.ids == [13, 14, *plain.ids]
    assert found.learnt == [False, False, *plain.learnt]
    with pytest.raises(RequestError, match="control token"):
        words.prompt([user("is <|soft-1|> it")])
    again = Words(words.tokenizer, 3)
    assert (len(again), again.soft_ids, again.prompt(turns[:1])) == (13, [13, 14], words.prompt(turns[:1]))
    tokenizer = word_tokenizer((*WORDS, "<s>"), "{% set messages = messages[:9] %}\n{{ bos_token }}" + TEMPLATE + "\n")
    tokenizer.bos_token = "<s>"
    led = Words(tokenizer, 3, soft=2)
    assert led.encode(turns).ids == [12, 14, 15, *plain.ids]
    assert begun("is", "so ") == begun("is\n", "so ")


@pytest.mark.parametrize("use", ["encoder", "classifier", "editor", "fast_editor", "motion"])
def test_students_without_a_language_model_refuse_prompt_tuning_by_name(use):
    """Oracle: the recipe's problems, before any row is read; in one phase alone too."""
    path = f"recipes/distill-{'editor-fast' if use == 'fast_editor' else use}.toml"
    sets = ["models.teacher=mini:editor"] if use == "fast_editor" else []
    with pytest.raises(RecipeError) as error:
        recipes.load(path, sets=[*sets, 'train.adapter={ kind = "prompt" }'])
    (problem,) = error.value.problems
    assert problem.key == "train.adapter.kind"
    assert problem.found == f"the student {use!r} has no 'prompt' adapter"
    assert ("expected none" if use == "motion" else 'expected "lora"') in problem.remedy
    phase = recipes.load(path, sets=sets).student.phases[-1]
    with pytest.raises(RecipeError, match=rf"train\.phases\.{phase}\.adapter\.kind"):
        recipes.load(path, sets=[*sets, f'train.phases.{phase}.adapter={{ kind = "prompt" }}'])


def test_prompts_that_could_teach_nothing_are_refused(home, tmp_path):
    """Oracle: a projector that no phase trains; two lengths of one prompt; a model without soft tokens."""
    with pytest.raises(RequestError, match=r"the projector learns nothing; set student\.align = true"):
        work_of(home, tmp_path / "a", TUNED, "student.align=false")
    longer = 'train.phases.tune.adapter={ kind = "prompt", tokens = 5 }'
    with pytest.raises(RequestError, match="align of 4, tune of 5 tokens"):
        work_of(home, tmp_path / "b", TUNED, longer)
    with pytest.raises(RequestError, match="Linear has no soft tokens"):
        adapted(torch.nn.Linear(2, 2), PROMPT)


def test_alignment_has_no_prompt_to_tune(home, tmp_path):
    """Oracle: names of what has gradients: the projector's, then the soft rows alone."""
    work = work_of(home, tmp_path / "out", TUNED)
    for phase, expected in (("align", "multi_modal_projector"), ("tune", "trainable_tokens_delta")):
        learning = [n for n, p in adapted_model(work, PROMPT, phase).named_parameters() if p.requires_grad]
        assert learning
        assert all(expected in name for name in learning)


# --- LoRA


def test_lora_of_the_vlm_is_merged_and_loads(home, tmp_path):
    """Oracle: logits before merging; the folder by transformers alone."""
    work = work_of(home, tmp_path / "out", LORA)
    model, row = adapted_model(work, work.recipe.train.adapter, spread=0.05), work.dataset.row(0)
    ids = torch.tensor([work.student.parts(work).words.prompt(asking.question(row).messages)])
    pixels = work.student.parts(work).pixels([decode(i) for i in row["images"]])["pixel_values"]
    torch.manual_seed(0)
    with torch.no_grad():
        before = model(input_ids=ids, pixel_values=pixels).logits
        fresh = work.student.build(work).eval()(input_ids=ids, pixel_values=pixels).logits
        work.student.save(merged(model), tmp_path / "student", work)
        loaded = LlavaForConditionalGeneration.from_pretrained(tmp_path / "student").eval()
        after = loaded(**stock_inputs(tmp_path / "student", row)).logits
    assert torch.allclose(before, after, atol=1e-4)
    assert not torch.allclose(before, fresh, atol=0.1)


def test_lora_of_the_encoder_is_merged_and_loads(tmp_path):
    """Oracle: embeddings before merging; the folder by transformers alone."""
    work = check_student("recipes/distill-encoder.toml", tmp_path / "out", sets=[*ENCODER, LORA])
    model = adapted_model(work, work.recipe.train.adapter, "train", spread=0.05)
    pixels = torch.randn(2, 3, work.student.image_size, work.student.image_size)
    with torch.no_grad():
        before = model(pixel_values=pixels).image_embeds
        work.student.save(merged(model), tmp_path / "student", work)
        loaded = CLIPVisionModelWithProjection.from_pretrained(tmp_path / "student").eval()
        assert torch.allclose(before, loaded(pixel_values=pixels).image_embeds, atol=1e-4)
        torch.manual_seed(0)
        assert not torch.allclose(before, work.student.build(work).eval()(pixel_values=pixels).image_embeds, atol=0.1)


def test_a_tower_keeps_its_pace_with_adapters(home, tmp_path):
    """Oracle: names of the parameters that a pace is given to, with adapters and without."""
    work = work_of(home, tmp_path / "out", LORA, "student.tune_vision=0.3")
    model = adapted_model(work, work.recipe.train.adapter)
    (start,) = paced(model, work.student.paces("tune"))
    learning = [n for n, p in model.named_parameters() if p.requires_grad]
    assert [n for n in learning if n.startswith(start)] == [n for n in learning if "vision_tower" in n] != []
    assert paced(merged(model), work.student.paces("tune")) == {"model.vision_tower.": 0.3}


# --- what is interrupted


@pytest.fixture(scope="module")
def undisturbed(home):
    """One training of two phases for each kind of adapter."""
    return {
        sets: distill(home / "recipe.toml", home / f"whole-{n}", sets=[sets], device="cpu")
        for n, sets in enumerate((LORA, TUNED))
    }


@pytest.mark.parametrize("sets", [LORA, TUNED])
@pytest.mark.parametrize("saves", [2, 3, 4])
def test_an_interrupted_training_with_adapters_ends_bit_equal(home, undisturbed, tmp_path, monkeypatch, sets, saves):
    """Oracle: the undisturbed training. Killed after so many checkpoints, of which each phase writes three."""
    made, save = [], trainer._Run._save

    def then_killed(run):
        save(run)
        made.append(run.step)
        if len(made) == saves:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trainer._Run, "_save", then_killed)
        with pytest.raises(KeyboardInterrupt):
            distill(home / "recipe.toml", tmp_path / "out", sets=[sets], device="cpu")
    assert made == [1, 2, 3, 1][:saves]
    again = distill(home / "recipe.toml", tmp_path / "out", sets=[sets], device="cpu")
    a, b = (model_state(result.out / "student") for result in (undisturbed[sets], again))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("table", "name"), [(LORA, "lora_"), (TUNED, "trainable_tokens_delta")])
def test_a_checkpoint_holds_adapters_alone(home, tmp_path, table, name):
    """Oracle: names; a tied output is no buffer, and not in it either."""
    work = work_of(home, tmp_path / "out", table)
    state = trained_state(adapted_model(work, work.recipe.train.adapter))
    assert state
    assert all(name in key for key in state)
