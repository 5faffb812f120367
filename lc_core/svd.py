"""The leading singular vectors of a matrix: exact through its Gram matrix, or refined from those of a matrix nearby."""

from dataclasses import dataclass
from math import exp, inf, log

import torch
from torch import Tensor

SMALL = 64
"""Up to this many rows or columns the exact decomposition is fast enough."""
TOLERANCE = 1e-4
"""Factors will do once the objective has no more than this part of it left to fall, by estimate."""
ROUNDING = 1e-14
"""... or than this part of ||W||^2 for each unit of the rank: what float32 factors cost."""
SLACK = 1.5
"""Estimates are held to be too low by this."""
ROUNDS = 3
"""At most this many rounds of alternation; more would take as long as what is done without."""
PROBES = 16
POWERS = 4
MISSED = 9.0
"""A direction's part in PROBES normal ones falls below its mean by more than this once in a million."""
KRYLOV = 16
"""At least this many rows for each unit of the rank make a Krylov space cheaper than the whole one."""
UNSURE = 3.0
"""A gain is hardly ever further above what PROBES random directions say of it."""
BLOCKS = (3, 5, 7, 9)
"""Sizes of the Krylov space, in blocks, at which it is asked whether it is large enough."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """u (m, r) diag(s) vt (r, n), s falling, and the dtype of the matrix that it is of."""

    u: Tensor
    s: Tensor
    vt: Tensor
    dtype: torch.dtype

    def halves(self) -> tuple[Tensor, Tensor]:
        """left (m, r), right (r, n), in the matrix's dtype, the singular values shared evenly."""
        root = self.s.sqrt()
        return _stored(self.u * root, self.dtype), _stored(root[:, None] * self.vt, self.dtype)

    def truncated(self, rank: int) -> "Decomposition":
        """The first `rank` of the singular values and vectors."""
        return Decomposition(self.u[:, :rank], self.s[:rank], self.vt[:rank], self.dtype)


def leading(matrix: Tensor, *, rank: int) -> Decomposition:
    """The `rank` largest singular values and their vectors, float64. Exact.

    Of float32 and shorter from the eigenvectors of the smaller Gram matrix, in float64, whose squares keep what float32
    has of digits; at two to three times the speed of a decomposition of `matrix` itself, which float64 needs.
    """
    if matrix.dtype == torch.float64:
        u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
        return Decomposition(u, s, vt, matrix.dtype).truncated(rank)
    if matrix.shape[0] > matrix.shape[1]:
        turned = leading(matrix.T.contiguous(), rank=rank)
        return Decomposition(turned.vt.T, turned.s, turned.u.T, matrix.dtype)
    exact = matrix.double()
    u = torch.linalg.eigh(exact @ exact.T).eigenvectors.flip(1)[:, :rank]
    projected = u.T @ exact
    s = torch.linalg.vector_norm(projected, dim=1)
    return Decomposition(u, s, projected / torch.where(s > 0, s, 1.0)[:, None], matrix.dtype)


def refined(matrix: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor] | None:
    """Factors (m, r), (r, n) of nearly least ||matrix - left right||^2, found from `left` and `right`, or None.

    In float32, first by alternation (`_alternated`), as fast as the spectrum falls after the r-th singular value; where
    it is level there, as in the first LC steps, by the Rayleigh-Ritz method (`_projected`). Neither ends worse than
    `left` and `right`. None where no estimate says that at most TOLERANCE of the objective is left to gain, for
    float64, for small matrices, and for a rank so high that the exact solution costs no more.
    """
    m, n = matrix.shape
    rank = left.shape[1]
    if matrix.dtype == torch.float64 or min(m, n) <= SMALL or 3 * rank > min(m, n) or not rank:
        return None
    if m > n:
        turned = refined(matrix.T.contiguous(), right.T, left.T)
        return (turned[1].T.contiguous(), turned[0].T.contiguous()) if turned else None
    w, scale = matrix.float(), 1.0
    if not 1e-6 < float(_energy(w)) < 1e6:
        scale = float(w.abs().max())
        if not scale:
            return None
        w = w / scale
    found = _alternated(w, right.float()) or _projected(w, left.T.float())
    if found is None:
        return None
    u, p = found
    root = (torch.linalg.vector_norm(p, dim=1) * scale / torch.linalg.vector_norm(u, dim=1)).sqrt()[:, None]
    return _stored((u * root).T, matrix.dtype), _stored(p * (scale / root), matrix.dtype)


def _alternated(w: Tensor, p: Tensor) -> tuple[Tensor, Tensor] | None:
    """Rows u (r, m) and p (r, n) of least ||w - u^T p||^2 from p, or None where that takes long.

    Least squares for u, then for p, and so on, is subspace iteration (Golub and Van Loan, "Matrix Computations",
    section 8.2.4): the objective never rises. With theta the least of the r energies caught and tail the largest left
    over, what it has left to fall shrinks by tail / theta each time, or faster, so that a gain bounds it: the last one,
    or the next, which is tr(c^T c p^T (p p^T)^-1 p), c what is left over, and so is known from random rows of c.
    """
    rank = len(p)
    triangle, failed = torch.linalg.cholesky_ex(p @ p.T)
    if failed:
        return None
    u = (w @ (torch.cholesky_inverse(triangle) @ p).T).T
    for number in range(1, ROUNDS + 1):
        q = _orthonormal(u)
        if q is None:
            return None
        p = q @ w
        gram = p @ p.T
        triangle, failed = torch.linalg.cholesky_ex(gram)
        if failed:
            return None
        inverse = torch.cholesky_inverse(triangle)
        theta = 1 / float(torch.linalg.vector_norm(inverse))
        seen, error, tail = _left_over(w, q, theta)
        rate = tail / theta
        if not rate < 1:
            return None
        rounding = rank * ROUNDING * float(gram.trace())
        enough = TOLERANCE * error / SLACK + rounding
        across = p @ seen.T
        if UNSURE * float((across * (inverse @ across)).sum()) / PROBES <= enough * (1 - rate):
            return q, p
        u = inverse @ (w @ p.T).T
        moved = u - q
        gained = float((gram * (moved @ moved.T)).sum())
        to_gain = gained * rate / (1 - rate)
        enough = TOLERANCE * (error - gained) / SLACK + rounding
        if to_gain <= enough:
            return u, p
        if to_gain * rate ** (2 * (ROUNDS - number)) > enough:
            return None
    return None


def _left_over(w: Tensor, q: Tensor, theta: float) -> tuple[Tensor, float, float]:
    """z c of normal rows z, and estimates of ||c||_F^2 and, from above, ||c||_2^2; c is what of w is orthogonal to q.

    z^T (c c^T)^k z is the trace of (c c^T)^k on average, at least ||c||_2^2k; MISSED makes a bound of it that also sees
    what entered the matrix apart from all that was spanned. The bound is tight for large k, and sought until it is an
    eighth of theta, or found to be more than half of it.
    """
    probes = torch.randn(PROBES, w.shape[0], generator=torch.Generator().manual_seed(0)).to(w)
    probes = _apart(probes, q)
    seen = across = probes @ w
    error = float(_energy(seen)) / PROBES
    tail, logarithm, before = MISSED * error, 0.0, float(torch.linalg.vector_norm(probes))
    for power in range(1, POWERS + 1):
        if tail <= theta / 8:
            break
        probes = _apart(across @ w.T, q)
        size = max(float(torch.linalg.vector_norm(probes)), 1e-30)
        if size > theta / 2 * before:
            return seen, error, inf
        logarithm += log(size)
        tail = min(tail, exp((logarithm + log(MISSED / PROBES) / 2) / power))
        across, before = (probes / size) @ w, 1.0
    return seen, error, tail


def _apart(probes: Tensor, q: Tensor) -> Tensor:
    """What of the rows `probes` (few, m) is orthogonal to the rows of `q`."""
    return probes - (probes @ q.T) @ q


def _projected(w: Tensor, start: Tensor) -> tuple[Tensor, Tensor] | None:
    """Orthonormal rows q (r, m) and p = q w (r, n), the best there are in a space of R^m, or None if it is too small.

    The space is all of R^m or, where r is small against m, a Krylov space (`_krylov`) that contains `start`. Rounding
    errors of eta in w w^T cost at most sum_i eta^2 / max(g_i, eta), but for a factor of 2, g_i how far the i-th
    eigenvalue is above the (r+1)-th.
    """
    rank = len(start)
    energy = float(_energy(w))
    eps = torch.finfo(w.dtype).eps
    if KRYLOV * rank <= len(w):
        found = _krylov(w, start, energy)
        if found is None:
            return None
        values, q, loss = found
    else:
        values, vectors = torch.linalg.eigh(_gram(w))
        q, loss = vectors[:, -rank:].T.contiguous(), 0.0
    eta = 8 * eps * float(values[-1])
    loss += 2 * float((eta**2 / (values[-rank:] - values[-rank - 1]).clamp_min(eta)).sum())
    if SLACK * loss > TOLERANCE * (energy * (1 - 8 * eps) - float(values[-rank:].sum())):
        return None
    return q, q @ w


def _krylov(w: Tensor, start: Tensor, energy: float) -> tuple[Tensor, Tensor, float] | None:
    """Ritz values of w w^T in a space, rising, the vectors (r, m) of the r largest, and what they lack in energy.

    The space is the Krylov space from `start` and half as many random rows (Golub and Van Loan, section 10.3.6): what
    `start` lacks it may be orthogonal to, as in the first LC steps. The residuals b_i of the Ritz vectors lie in the
    block after the last; sum_i ||b_i||^2 / (theta_r - c) bounds the loss, c the largest eigenvalue that the space has
    not found. Taken for it, as an estimate, is the Ritz value half a block below theta_r.
    """
    rank = len(start)
    fresh = torch.randn((rank + 1) // 2, w.shape[0], generator=torch.Generator().manual_seed(0)).to(w)
    block = torch.linalg.qr(torch.cat([start, fresh]).T).Q.T
    size = len(block)
    basis = block
    projected = w.new_zeros(size * BLOCKS[-1], size * BLOCKS[-1])
    for number in range(1, BLOCKS[-1] + 1):
        image = (block @ w) @ w.T
        inner = image @ basis.T
        projected[size * (number - 1) : size * number, : size * number] = inner
        image = _apart(image - inner @ basis, basis)
        block, r = torch.linalg.qr(image.T)
        if number in BLOCKS:
            values, vectors = torch.linalg.eigh(projected[: len(basis), : len(basis)])
            chosen = vectors[:, -rank:]
            gap = max(float(values[-rank] - values[-rank - size // 2]), torch.finfo(w.dtype).tiny)
            loss = float(_energy((r @ chosen[-size:]).contiguous())) / gap
            if SLACK * loss <= TOLERANCE * (energy - float(values[-rank:].sum())):
                return values, chosen.T @ basis, loss
        if not bool((r.diagonal().abs() > 1e-3 * torch.linalg.vector_norm(image, dim=1)).all()):
            return None  # rows too near to dependent for their basis to be orthogonal to all before
        block = block.T
        basis = torch.cat([basis, block])
    return None


def _gram(w: Tensor) -> Tensor:
    """w w^T, what is symmetric computed once."""
    half = len(w) // 2
    upper, lower = w[:half], w[half:]
    across = lower @ upper.T
    return torch.cat([torch.cat([upper @ upper.T, across.T], 1), torch.cat([across, lower @ lower.T], 1)])


def _orthonormal(rows: Tensor) -> Tensor | None:
    """An orthonormal basis of the span of `rows` (r, m) by Cholesky's decomposition of their Gram matrix, or None where
    they are too far from orthogonal for that."""
    gram = rows @ rows.T
    triangle, failed = torch.linalg.cholesky_ex(gram)
    if failed or not bool((triangle.diagonal() > 0.1 * gram.diagonal().sqrt()).all()):
        return None
    basis: Tensor = torch.linalg.solve_triangular(triangle, rows, upper=False)
    return basis


def _energy(x: Tensor) -> Tensor:
    """The squared norm of a tensor whose numbers lie in a row."""
    return torch.dot(x.reshape(-1), x.reshape(-1))


def _stored(factor: Tensor, dtype: torch.dtype) -> Tensor:
    # Row by row, as it comes back from a file: a product's rounding depends on how its factors lie in memory.
    return factor.to(dtype).contiguous()
