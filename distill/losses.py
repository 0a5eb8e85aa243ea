"""Losses of distillation. Each gives one value for each item (or token), float32, never a mean.

The trainer divides sums by the true count over the whole batch, so "batchmean" is what everybody gets, and no loss
depends on how a batch was cut or padded. Masks are the caller's: multiply, or select before calling. Everything is
computed in float32, whatever comes in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import RequestError


def hinton(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Soft labels: T^2 KL(teacher || student), both softened by T.

    T^2 keeps the gradient's size when T changes: softened logits have gradients of 1 / T^2.

    Args:
        student: (B, C) logits.
        teacher: (B, C) logits.
        temperature: T.

    Returns:
        (B,), the sum over classes, whose mean over items is `batchmean`.

    Source: Hinton, Vinyals, Dean 2015, section 2.
    """
    log_p = F.log_softmax(teacher.float() / temperature, -1)
    log_q = F.log_softmax(student.float() / temperature, -1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(-1)


def dkd(
    student: Tensor, teacher: Tensor, labels: Tensor, *, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0
) -> Tensor:
    """Decoupled distillation: how sure of the right class, and how the rest is spread, each with a weight of its own.

    T^2 [alpha KL(b_t || b_s) + beta KL(p_t^ || p_s^)]: b are the two probabilities (right class, all others), p^ the
    distribution over the other classes alone. Plain KL is alpha = 1 and beta = the teacher's mass on the others.

    Args:
        student: (B, C) logits.
        teacher: (B, C) logits.
        labels: (B,) int64, the right classes.
        alpha: weight of the right class.
        beta: weight of the others.
        temperature: T.

    Returns:
        (B,).

    Source: Zhao et al. 2022, Decoupled Knowledge Distillation, eq. 7.
    Differs: the authors' code takes the other classes by subtracting 1000 from the right class's logit; here it is
    masked out, which is exact and safe in any dtype.
    """
    right = F.one_hot(labels, student.shape[-1]).bool()
    log_p = F.log_softmax(teacher.float() / temperature, -1)
    log_q = F.log_softmax(student.float() / temperature, -1)
    target = _kl_of_two(log_p[right], log_q[right])
    others = [log.masked_fill(right, -torch.inf).log_softmax(-1).masked_fill(right, 0.0) for log in (log_p, log_q)]
    weight = others[0].exp().masked_fill(right, 0.0)
    rest = (weight * (others[0] - others[1])).sum(-1)
    return temperature**2 * (alpha * target + beta * rest)


def _kl_of_two(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL of two Bernoulli distributions, from log-probabilities."""
    log_np, log_nq = _log1mexp(log_p), _log1mexp(log_q)
    return log_p.exp() * (log_p - log_q) + log_np.exp() * (log_np - log_nq)


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0, without cancellation and, at 0, without infinities."""
    x = x.clamp(max=-1e-7)
    return torch.where(x > -0.6931, torch.log(-torch.expm1(x)), torch.log1p(-x.exp()))


def average_teachers(logits: Sequence[Tensor]) -> Tensor:
    """Several teachers as one: log of their mean *probabilities*.

    Averaging logits instead gives the geometric mean, which a single sure teacher can veto.

    Args:
        logits: (B, C) of each teacher.

    Returns:
        (B, C) log-probabilities, which serve as logits.
    """
    stacked = torch.stack([F.log_softmax(x.float(), -1) for x in logits])
    return stacked.logsumexp(0) - torch.log(torch.tensor(float(len(logits))))


def feature_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine of two embeddings: (B, D) and (B, D) to (B,) in [0, 2]."""
    return 1 - (F.normalize(student.float(), dim=-1) * F.normalize(teacher.float(), dim=-1)).sum(-1)


def feature_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of two embeddings *brought to unit length*: (B, D) and (B, D) to (B,) in [0, 4].

    Raw features swamp whatever they are added to, at the scale of their own layer; unit ones don't, and the value is
    twice `feature_cosine`.

    Source: Yang et al. 2024, CLIP-KD, eq. 6.
    Differs: summed over D, where their code averages over D and multiplies by 2000.
    """
    return (F.normalize(student.float(), dim=-1) - F.normalize(teacher.float(), dim=-1)).square().sum(-1)


def bank_cross_entropy(
    student: Tensor, teacher: Tensor, bank: Tensor, scale: float, teacher_scale: float | None = None
) -> Tensor:
    """Soft cross-entropy over a fixed bank of text embeddings: which texts does the teacher think of, and how much?

    Args:
        student: (B, D) image embeddings.
        teacher: (B, D) image embeddings of the teacher.
        bank: (K, D) cached text embeddings of the teacher.
        scale: CLIP's logit scale (exp of what is learnt), of the student's similarities.
        teacher_scale: of the teacher's; the same by default.

    Returns:
        (B,), H(teacher, student) = -sum_k p_k log q_k.

    Source: Wu et al. 2023, TinyCLIP, eq. 4 (affinity mimicking); Vasu et al. 2024, MobileCLIP, eq. 4.
    Differs: against a bank that is the same at every step instead of the batch's own texts, so that it depends on no
    other row of the batch and gradients can be accumulated.
    """
    texts = F.normalize(bank.float(), dim=-1)
    p = F.softmax(F.normalize(teacher.float(), dim=-1) @ texts.T * (teacher_scale or scale), -1)
    return -(p * F.log_softmax(F.normalize(student.float(), dim=-1) @ texts.T * scale, -1)).sum(-1)


def bank_sigmoid(student: Tensor, teacher: Tensor, bank: Tensor, scale: float, bias: float) -> Tensor:
    """The same of a SigLIP teacher: each text of the bank is a yes or no of its own, with scale *and bias*.

    A row softmax of SigLIP's similarities is not what it was trained for; without the bias (about -10 to -17)
    every sigmoid is near 1.

    Args:
        student: (B, D) image embeddings.
        teacher: (B, D) image embeddings of the teacher.
        bank: (K, D) cached text embeddings of the teacher.
        scale: SigLIP's logit scale, exp of what is learnt.
        bias: SigLIP's logit bias.

    Returns:
        (B,), the binary cross-entropies summed over the bank.

    Source: Zhai et al. 2023, Sigmoid Loss for Language Image Pre-Training, eq. 1, with soft targets.
    """
    texts = F.normalize(bank.float(), dim=-1)
    wanted = torch.sigmoid(F.normalize(teacher.float(), dim=-1) @ texts.T * scale + bias)
    logits = F.normalize(student.float(), dim=-1) @ texts.T * scale + bias
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(-1)


def topk_tail_kl(
    student: Tensor, ids: Tensor, logprobs: Tensor, tail: Tensor, *, vocabulary: int | None = None
) -> Tensor:
    """KL over k + 1 buckets: the teacher's k likeliest tokens, and all others together.

    Both sides are normalised over the whole vocabulary. (Normalising the teacher over its top k alone, against a
    student over everything, pushes mass onto the top k that the teacher never gave them.)

    Args:
        student: (N, V) logits, one row a token; rows of padding have to be taken out before.
        ids: (N, k) int64, the teacher's likeliest tokens, distinct within a row.
        logprobs: (N, k) their log-probabilities at T = 1, over the whole vocabulary.
        tail: (N,) log of the mass of all other tokens.
        vocabulary: tokens that exist; logits past it are padding rows of the embedding matrix and left out.

    Returns:
        (N,).

    Source: a tail bucket as in the note on distillation, section 3; unbiased alternatives in arXiv 2503.16870.
    """
    logits = student[:, :vocabulary].float()
    if ids.numel() and int(ids.max()) >= logits.shape[-1]:
        raise RequestError(
            f"the teacher speaks of token {int(ids.max())}, the student knows {logits.shape[-1]}",
            expected="one vocabulary",
        )
    log_q = logits - logits.logsumexp(-1, keepdim=True)
    inside = log_q.gather(-1, ids)
    rest = log_q.scatter(-1, ids, -torch.inf).logsumexp(-1)
    logprobs, tail = logprobs.float(), tail.float()
    kl = (logprobs.exp() * (logprobs - inside)).sum(-1)
    # a teacher that is sure has no tail: 0 * log 0 is 0
    some = tail > -torch.inf
    there = torch.where(some, tail, torch.zeros_like(tail))
    return kl + torch.where(some, there.exp() * (there - torch.where(some, rest, torch.zeros_like(rest))), 0.0)
