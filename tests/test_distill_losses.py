"""Losses of distillation. Oracles: values worked out by hand, torch's own losses, plain KL over whole vocabularies."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from distill import losses
from limbeck.errors import RequestError


def test_hinton_by_hand():
    """Teacher (3/4, 1/4), student (1/2, 1/2), T = 1: 3/4 log(3/2) + 1/4 log(1/2)."""
    found = losses.hinton(torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]]))
    assert found.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_hinton_at_a_temperature_by_hand():
    """Logits log 9 and 0 at T = 2 are softened to (3/4, 1/4); the value is 4 times that of the test above."""
    found = losses.hinton(torch.zeros(1, 2), torch.tensor([[math.log(9.0), 0.0]]), temperature=2.0)
    assert found.item() == pytest.approx(4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)))


def test_t_squared_keeps_the_gradients_size():
    """At high T the gradient is (student - teacher) / C for centred logits, whatever T; without T^2 it would vanish."""
    student, teacher = torch.tensor([[0.5, -0.5]], requires_grad=True), torch.tensor([[-0.25, 0.25]])
    losses.hinton(student, teacher, temperature=100.0).sum().backward()
    assert student.grad[0, 0].item() == pytest.approx((0.5 + 0.25) / 2, rel=1e-3)


def test_hinton_is_a_sum_over_classes_so_that_its_mean_is_batchmean():
    """`reduction="mean"` would divide by the number of classes too."""
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    expected = F.kl_div(F.log_softmax(student, -1), F.softmax(teacher, -1), reduction="batchmean")
    assert torch.allclose(losses.hinton(student, teacher).mean(), expected)


def test_dkd_with_kls_own_weights_is_kl():
    """KL = alpha-term + (1 - p_right) * beta-term: Zhao et al. 2022, eq. 5."""
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(1, 6), torch.randn(1, 6), torch.tensor([2])
    others = 1 - F.softmax(teacher / 2, -1)[0, 2].item()
    found = losses.dkd(student, teacher, labels, alpha=1.0, beta=others, temperature=2.0)
    assert torch.allclose(found, losses.hinton(student, teacher, 2.0), atol=1e-6)


def test_dkd_by_hand():
    """Teacher (1/2, 1/4, 1/4), student (1/3, 1/3, 1/3), right class 0.

    Target part: 1/2 log(3/2) + 1/2 log(3/4); the others are equally likely for both, so their part is 0.
    """
    teacher = torch.tensor([[math.log(2.0), 0.0, 0.0]])
    found = losses.dkd(torch.zeros(1, 3), teacher, torch.tensor([0]), alpha=3.0, beta=8.0, temperature=1.0)
    assert found.item() == pytest.approx(3 * (0.5 * math.log(1.5) + 0.5 * math.log(0.75)), rel=1e-5)


def test_dkd_of_a_very_sure_teacher_is_finite():
    found = losses.dkd(torch.randn(2, 4), torch.tensor([[1000.0, 0, 0, 0], [0, 0, 0, 0]]), torch.tensor([0, 1]))
    assert torch.isfinite(found).all()


def test_teachers_are_averaged_as_probabilities():
    """(0.9, 0.1) and (0.5, 0.5) are (0.7, 0.3) together; averaged logits would say (0.75, 0.25)."""
    logits = [torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()]
    assert torch.allclose(losses.average_teachers(logits).exp(), torch.tensor([[0.7, 0.3]]))


def test_features_are_compared_at_unit_length():
    """At right angles: cosine loss 1, squared distance 2; lengths don't matter, so that raw scales swamp nothing."""
    a, b = torch.tensor([[1000.0, 0.0]]), torch.tensor([[0.0, 0.001]])
    assert losses.feature_cosine(a, b).item() == pytest.approx(1.0)
    assert losses.feature_mse(a, b).item() == pytest.approx(2.0)


def test_half_precision_features_are_compared_in_float32():
    """In float16, 300^2 overflows."""
    a = torch.full((1, 512), 300.0, dtype=torch.float16)
    for loss in (losses.feature_cosine, losses.feature_mse):
        found = loss(a, a)
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(0.0, abs=1e-5)


def test_bank_cross_entropy_by_hand():
    """Two texts at right angles, teacher on the first, student between: at scale log 3, p = (3/4, 1/4), q = 1/2 each."""
    bank = torch.eye(2)
    found = losses.bank_cross_entropy(torch.tensor([[5.0, 5.0]]), torch.tensor([[2.0, 0.0]]), bank, scale=math.log(3))
    assert found.item() == pytest.approx(math.log(2))


def test_bank_cross_entropy_is_least_at_the_teachers_own_place():
    """There its value is the entropy of the teacher's distribution; anywhere else it is more."""
    torch.manual_seed(1)
    bank, teacher = F.normalize(torch.randn(20, 8), dim=-1), torch.randn(3, 8)
    p = F.softmax(F.normalize(teacher, dim=-1) @ bank.T * 10, -1)
    entropy = -(p * p.log()).sum(-1)
    assert torch.allclose(losses.bank_cross_entropy(teacher, teacher, bank, 10.0), entropy, atol=1e-5)
    assert (losses.bank_cross_entropy(torch.randn(3, 8), teacher, bank, 10.0) > entropy).all()


def test_bank_sigmoid_by_hand():
    """Scale 10, bias -10: for the text that it is on, sigmoid(0) = 1/2; for the one at right angles, sigmoid(-10)."""
    bank, there = torch.eye(2), torch.tensor([[1.0, 0.0]])
    found = losses.bank_sigmoid(there, there, bank, scale=10.0, bias=-10.0)
    p = 1 / (1 + math.exp(10))
    assert found.item() == pytest.approx(math.log(2) - p * math.log(p) - (1 - p) * math.log(1 - p), rel=1e-4)


def test_the_bias_matters():
    """Without it all sigmoids of similarities above 0 are near 1, and both students below look alike."""
    bank = F.normalize(torch.tensor([[1.0, 0.2], [0.2, 1.0], [1.0, 1.0]]), dim=-1)
    teacher, near, far = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.1]]), torch.tensor([[0.4, 1.0]])

    def spread(bias):
        worse, better = (losses.bank_sigmoid(x, teacher, bank, scale=50.0, bias=bias).item() for x in (far, near))
        return worse - better

    assert spread(-45.0) > 10 * spread(0.0)


def _top(logits, k):
    log_p = F.log_softmax(logits, -1)
    values, ids = log_p.topk(k, -1)
    return ids, values, torch.log1p(-values.exp().sum(-1).clamp(max=1.0))


def test_topk_with_tail_by_hand():
    """Teacher (1/2, 1/4, 1/8, 1/8), k = 2; student uniform: 1/2 log 2 + 1/4 log 1 + 1/4 log(1/2)."""
    teacher = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    found = losses.topk_tail_kl(torch.zeros(1, 4), *_top(teacher, 2))
    assert found.item() == pytest.approx(0.5 * math.log(2) + 0.25 * math.log(1) + 0.25 * math.log(0.5))


def test_topk_of_everything_is_plain_kl():
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 11), torch.randn(6, 11)
    log_p = F.log_softmax(teacher, -1)
    values, ids = log_p.topk(11, -1)
    found = losses.topk_tail_kl(student, ids, values, torch.full((6,), -math.inf))
    assert torch.allclose(found, losses.hinton(student, teacher), atol=1e-5)


def test_topk_with_tail_is_a_lower_bound_that_vanishes_for_the_teacher_itself():
    """Merging tokens into a bucket can only lose information (the log-sum inequality)."""
    torch.manual_seed(0)
    student, teacher = torch.randn(50, 40), torch.randn(50, 40)
    found = losses.topk_tail_kl(student, *_top(teacher, 5))
    assert (found >= -1e-6).all()
    assert (found <= losses.hinton(student, teacher) + 1e-5).all()
    assert torch.allclose(losses.topk_tail_kl(teacher, *_top(teacher, 5)), torch.zeros(50), atol=1e-5)


def test_topk_does_not_push_mass_onto_the_top():
    """The gradient at the teacher's own logits is 0. A teacher normalised over its top k alone has another optimum."""
    teacher = torch.tensor([[2.0, 1.0, 0.0, 0.0, 0.0]])
    student = teacher.clone().requires_grad_()
    losses.topk_tail_kl(student, *_top(teacher, 2)).sum().backward()
    assert torch.allclose(student.grad, torch.zeros(1, 5), atol=1e-6)


def test_padding_rows_of_a_vocabulary_take_no_part():
    """The student's matrix has 8 rows, the vocabulary 5 tokens; whatever stands in the others changes nothing."""
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 5), torch.randn(3, 5)
    padded = torch.cat([student, torch.full((3, 3), 50.0)], -1).requires_grad_()
    found = losses.topk_tail_kl(padded, *_top(teacher, 2), vocabulary=5)
    assert torch.allclose(found, losses.topk_tail_kl(student, *_top(teacher, 2)))
    found.sum().backward()
    assert (padded.grad[:, 5:] == 0).all()


def test_a_token_that_the_student_does_not_know_is_an_error():
    with pytest.raises(RequestError, match="token 7, the student knows 5"):
        losses.topk_tail_kl(torch.zeros(1, 5), torch.tensor([[7]]), torch.zeros(1, 1), torch.full((1,), -math.inf))


def test_gradients_are_finite_where_the_teacher_is_sure():
    """log-probability 0 and no tail: 0 * log 0 is 0, and no NaN hides in its gradient."""
    student = torch.randn(1, 4, requires_grad=True)
    losses.topk_tail_kl(student, torch.tensor([[1]]), torch.zeros(1, 1), torch.full((1,), -math.inf)).sum().backward()
    assert torch.isfinite(student.grad).all()
