"""Conversations to ids, vocabularies of two models, what is cached of a teacher.

Oracles: ids worked out by hand over a vocabulary of twelve words; log-softmax by hand; bytes counted.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny_vlm import CHATML, TEMPLATE, WORDS, word_tokenizer

from distill import losses
from distill.teacher import encoded, ragged
from distill.vlm.collating import Conversation, collated
from distill.vlm.top_tokens import ANSWER, LOGPROBS, TAIL, TOP, top_tokens
from distill.vlm.vocabulary import Shared, VocabulariesDiffer, shared
from distill.vlm.words import IMAGE, Words
from limbeck.errors import ModelNotFound, RequestError
from limbeck.turns import assistant, user

PAD, END, USER, BOT, IS, IT, RED, WHY, YES, NO, SO, MARK = range(12)
PICTURE = 12  # <image> comes after the twelve words


@pytest.fixture
def words() -> Words:
    return Words(word_tokenizer(), per_picture=3)


def test_prompts_and_pictures_are_masked_and_answers_learnt_up_to_their_end_token(words):
    """Oracle: ids by hand."""
    found = words.encode([user(0, "is it red?"), assistant("yes"), user("why?"), assistant("so red")])
    asked = [USER, PICTURE, PICTURE, PICTURE, IS, IT, RED, MARK, END, BOT]
    again = [USER, WHY, MARK, END, BOT]
    assert found.ids == [*asked, YES, END, *again, SO, RED, END]
    assert found.learnt == [False] * 10 + [True] * 2 + [False] * 5 + [True] * 3


def test_what_follows_the_end_token_is_not_learnt():
    """Oracle: in ChatML a line break (8) comes after the end token (1), and nobody says it; ids by hand."""
    vocabulary = ("<pad>", "<|im_end|>", "<|im_start|>", "user", "assistant", "is", "it", "yes", "\n")
    tokenizer = word_tokenizer(vocabulary, CHATML)
    tokenizer.eos_token = "<|im_end|>"
    found = Words(tokenizer, 2).encode([user("is it"), assistant("yes"), user("it"), assistant("is")])
    assert found.ids == [2, 3, 8, 5, 6, 1, 8, 2, 4, 8, 7, 1, 8, 2, 3, 8, 6, 1, 8, 2, 4, 8, 5, 1]
    assert [i for i, learnt in enumerate(found.learnt) if learnt] == [10, 11, 22, 23]


def test_a_prompt_is_the_beginning_of_what_is_trained(words):
    """Oracle: the trained ids themselves."""
    turns = [user("is it red?", 0), assistant("no")]
    whole = words.encode(turns)
    assert whole.ids == [*words.prompt(turns[:1]), *words.answer("no")]
    assert whole.ids.count(PICTURE) == 3


def test_a_template_that_rewrites_earlier_turns_is_refused():
    """Oracle: one that drops every answer but the last, as those of models that think do."""
    forgetful = TEMPLATE.replace("+ m['content'] +", "+ (m['content'] if loop.last or m['role'] == 'user' else 'so') +")
    words = Words(word_tokenizer(template=forgetful), 3)
    with pytest.raises(ModelNotFound, match="begins like the other"):
        words.encode([user("is it"), assistant("yes"), user("why"), assistant("no")])
    unending = TEMPLATE.replace(" <end>' }}", "' }}")
    with pytest.raises(ModelNotFound, match="an answer ends with '<end>'"):
        Words(word_tokenizer(template=unending), 3).encode([user("is it"), assistant("yes")])


@pytest.mark.parametrize("text", ["is <end> it", f"is {IMAGE} it"])
def test_control_tokens_in_a_text_are_refused(words, text):
    with pytest.raises(RequestError, match="control token"):
        words.encode([user(text), assistant("yes")])


def conversations(words):
    short = [user("is it"), assistant("yes")]
    long = [user("is it red?"), assistant("no"), user("why?"), assistant("so")]
    return [Conversation("a", words.encode(short), (), True), Conversation("b", words.encode(long), (), True)]


def test_labels_are_at_the_place_before_their_token(words):
    """Oracle: by hand.

    0 user 1 is 2 it 3 end 4 bot 5 yes 6 end; and 0 user 1 is 2 it 3 red 4 ? 5 end 6 bot 7 no 8 end, 9 user 10 why 11 ?
    12 end 13 bot 14 so 15 end.
    """
    batch = collated(conversations(words), words, pixels=None)
    assert batch["input_ids"][0].tolist() == [USER, IS, IT, END, BOT, YES, END] + [PAD] * 9
    assert batch["attention_mask"].sum(1).tolist() == [7, 16]
    keep = batch["keep"].tolist()
    assert keep == [4, 5, 6, 7, 13, 14]
    places = [(at // len(keep), keep[at % len(keep)]) for at in batch["answer_at"].tolist()]
    assert places == [(0, 4), (0, 5), (1, 6), (1, 7), (1, 13), (1, 14)]
    assert batch["answer_ids"].tolist() == [YES, END, NO, END, SO, END]
    assert batch["answer_of"].tolist() == [0, 0, 1, 1, 1, 1]


def test_a_shorter_sham_target_teaches_as_many_places_as_it_has(words):
    """Oracle: one target of one place, put on an answer of two."""
    target = {
        ANSWER: np.array([YES]),
        TOP: np.array([[YES, NO]]),
        LOGPROBS: np.log([[0.5, 0.25]]),
        TAIL: np.log([0.25]),
    }
    first = conversations(words)[0]
    batch = collated([Conversation("a", first.encoded, (), False, target)], words, pixels=None)
    assert batch["taught_at"].tolist() == [0]
    assert len(batch["answer_ids"]) == 0
    assert batch["top_ids"].tolist() == [[YES, NO]]


# --- vocabularies


def test_padding_rows_and_other_control_tokens_are_no_difference():
    """Oracle: the twelve words are common; what follows them isn't."""
    own = Words(word_tokenizer(), 3).tokenizer
    theirs = word_tokenizer((*WORDS, "<tool>", "<more>"))
    assert shared(own, theirs, ("a", "b")) == Shared(12, END, END)


def test_another_vocabulary_is_refused_and_the_first_difference_named():
    theirs = word_tokenizer((*WORDS[:6], "blue", *WORDS[7:]))
    with pytest.raises(VocabulariesDiffer, match="token 6 is 'red' to a and 'blue' to b") as refused:
        shared(word_tokenizer(), theirs, ("a", "b"))
    assert refused.value.at == 6
    assert "labels" in refused.value.remedy
    with pytest.raises(VocabulariesDiffer, match="token 12 is nothing to a and 'blue' to b"):
        shared(word_tokenizer(), word_tokenizer((*WORDS, "blue")), ("a", "b"))


def test_each_sides_end_token_is_taken_for_the_others():
    """Oracle: the probabilities of both ends added up by hand."""
    theirs = word_tokenizer((*WORDS, "<over>"))
    theirs.eos_token = "<over>"
    common = shared(word_tokenizer(), theirs, ("a", "b"))
    assert common == Shared(12, END, 12)
    logits = torch.log(torch.tensor([[*[0.01] * 12, 0.2, 5.0]]))  # the teacher's <over>, and a row of padding
    logits[0, YES] = math.log(0.6)
    ids, logprobs, tail = top_tokens(logits, 2, common)
    total = 11 * 0.01 + 0.6 + 0.2
    assert ids.tolist() == [[YES, END]]
    assert logprobs.exp().tolist()[0] == pytest.approx([0.6 / total, 0.21 / total])
    assert tail.exp().item() == pytest.approx(10 * 0.01 / total)


def test_rows_of_padding_take_no_mass_on_either_side():
    """Oracle: log-softmax over the tokens that exist; 151,936 rows in the student and 152,064 in the teacher."""
    torch.manual_seed(0)
    common, k = Shared(151_665, 5, 5), 48
    teacher, student = torch.randn(3, 152_064), torch.randn(3, 151_936)
    teacher[:, 151_700], student[:, 151_700] = 50.0, 50.0
    ids, logprobs, tail = top_tokens(teacher, k, common)
    expected = teacher[:, : common.size].log_softmax(-1)
    assert torch.allclose(logprobs, expected.gather(-1, ids), atol=1e-5)
    assert torch.allclose(logprobs.exp().sum(-1) + tail.exp(), torch.ones(3), atol=1e-5)
    found = losses.topk_tail_kl(student, ids, logprobs, tail, vocabulary=common.size)
    q = student[:, : common.size].log_softmax(-1)
    rest = (1 - q.exp().gather(-1, ids).sum(-1)).log()
    by_hand = (logprobs.exp() * (logprobs - q.gather(-1, ids))).sum(-1) + tail.exp() * (tail - rest)
    assert torch.allclose(found, by_hand, atol=1e-4)


def test_a_token_of_an_answer_costs_at_most_300_bytes():
    """Oracle: Arrow's own count, for a vocabulary that needs four bytes an id."""
    n, k = 1000, 48
    columns = {
        ANSWER: (ragged(ANSWER, (), "int32"), [np.zeros(n)]),
        TOP: (ragged(TOP, (k,), "int32"), [np.zeros((n, k))]),
        LOGPROBS: (ragged(LOGPROBS, (k,)), [np.zeros((n, k))]),
        TAIL: (ragged(TAIL), [np.zeros(n)]),
    }
    size = sum(encoded(field, values).nbytes for field, values in columns.values())
    assert 290 < size / n <= 300
