"""The leading singular vectors of a matrix: exact by its Gram matrix, or refined from those of a nearby matrix."""

import functools
from dataclasses import dataclass
from math import exp, inf, log

import torch
from torch import Tensor

SMALL = 64
"""Up to this many rows or columns the exact decomposition is fast enough."""
TOLERANCE = 1e-4
"""Factors are accepted when the objective can fall by at most this fraction, by estimate."""
ROUNDING = 1e-14
"""... or by at most this fraction of ||W||^2 for each unit of rank: the rounding of float32 factors."""
OVERFLOW = 1e-6, 1e6
"""Where ||W||^2 lies outside, W is scaled, since float32 must hold its square."""
SLACK = 1.5
"""Estimates are multiplied by this, since they may be too low."""
ROUNDS = 3
"""At most this many rounds of alternation. More would take as long as the other methods."""
ENERGY = 1e-6
"""The relative error of a sum of squares."""
PROBES = 32
POWERS = 4
MISSED = 4.7
"""The energy of a direction in PROBES normal vectors is below its mean by more than this factor once in a million."""
KRYLOV = 16
"""With at least this many rows for each unit of rank, a Krylov space is cheaper than the full space."""
BLOCKS = (3, 5, 7, 9)
"""Sizes of the Krylov space, in blocks, at which its accuracy is checked."""


@dataclass(frozen=True, eq=False)
class Decomposition:
    """u (m, r) diag(s) vt (r, n), with s descending, and the dtype of the decomposed matrix."""

    u: Tensor
    s: Tensor
    vt: Tensor
    dtype: torch.dtype

    def halves(self) -> tuple[Tensor, Tensor]:
        """left (m, r), right (r, n), in the matrix's dtype, with the singular values shared evenly."""
        root = self.s.sqrt()
        return _stored(self.u * root, self.dtype), _stored(root[:, None] * self.vt, self.dtype)

    def truncated(self, rank: int) -> "Decomposition":
        """The first `rank` of the singular values and vectors."""
        return Decomposition(self.u[:, :rank], self.s[:rank], self.vt[:rank], self.dtype)


def leading(matrix: Tensor, *, rank: int) -> Decomposition:
    """The `rank` largest singular values and their vectors, float64. Exact.

    For float32 and narrower, from the eigenvectors of the smaller Gram matrix in float64, which keeps all digits of
    float32. That is two to three times as fast as a decomposition of `matrix` itself, which float64 needs.
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

    In float32, first by alternation (`_alternated`), which is fast where the spectrum falls after the r-th singular
    value. Where it is flat there, as in the first LC steps, by the Rayleigh-Ritz method (`_projected`). Neither ends
    worse than `left` and `right`. None where no estimate bounds the remaining gain by TOLERANCE of the objective, for
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
    with torch.inference_mode():  # many small products: the overhead of autograd would count
        found = _alternated(w, right.float())
        if found is None:
            if not OVERFLOW[0] < float(_energy(w)) < OVERFLOW[1]:
                scale = float(w.abs().max())
            found = _projected(w / scale, left.T.float()) if scale else None
    if found is None:
        return None
    u, root, p = found
    length = torch.linalg.vector_norm(u, dim=1).sqrt()
    wide, high = length.reciprocal(), length[:, None]
    if scale != 1.0:
        wide, high = wide * scale**0.5, high * scale**0.5
    balanced = torch.mul(u.T, wide, out=u.new_empty(m, rank))
    return _stored(balanced, matrix.dtype), _stored((root * high) @ p, matrix.dtype)


def _alternated(w: Tensor, p: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """u (r, m), a (r, r), p (r, n) of least ||w - u^T a p||^2 from the span of p, with the rows of a p orthonormal.
    None where that takes long.

    Least squares for u, then for p, and so on, is subspace iteration (Golub and Van Loan, "Matrix Computations",
    section 8.2.4): the objective never rises. Let theta be the least of the r captured energies and tail the largest
    remaining one. The remaining gain shrinks by tail / theta or more each time, so that the last gain bounds it.
    """
    u, energy = (w @ p.T).T, float(_energy(w))
    for rounds_left in reversed(range(ROUNDS)):
        q = _orthonormal(u)
        if q is None:
            return None
        p = q @ w
        gram = p @ p.T
        triangle, failed = torch.linalg.cholesky_ex(gram)
        caught = float(gram.trace())
        if failed or not OVERFLOW[0] < caught < OVERFLOW[1]:
            return None
        root = _inverse(triangle)
        inverse = root.T @ root
        theta = float(torch.linalg.vector_norm(inverse @ inverse)) ** -0.5
        left_over = LeftOver(w, q, energy=energy - caught, error=ENERGY * energy, theta=theta)
        u = root @ (w @ p.T).T
        gain, least = float(_energy(torch.addmm(u, triangle.T, q, alpha=-1))), len(p) * ROUNDING * caught
        if left_over.settles(gain, least, steps=1):
            return u, root, p
        if not left_over.settles(gain, least, steps=2 * rounds_left + 1):
            return None
    return None


class LeftOver:
    """The part c of a matrix w (m, n) that is orthogonal to orthonormal rows q (r, m).

    Its energy ||c||_F^2, known up to an error, bounds ||c||_2^2. Random rows z give tighter bounds: z^T (c c^T)^k z is
    on average the trace of (c c^T)^k, which is at least ||c||_2^2k. With the factor MISSED it is a bound that also sees
    directions outside all that was spanned. It is tight for large k. Each k costs two products with w, so it is raised
    only while that may decide the question.

    Attributes:
        energy: a lower estimate of ||c||_F^2.
        tail: an upper estimate of ||c||_2^2; infinite where it is known to exceed half of theta.
    """

    def __init__(self, w: Tensor, q: Tensor, *, energy: float, error: float, theta: float) -> None:
        self._w, self._q, self._theta = w, q, theta
        self.energy, self.tail = max(energy - error, 0.0), max(energy, 0.0) + error
        self._power, self._logarithm = 0, 0.0
        self._rows: tuple[Tensor, Tensor] | None = None

    def settles(self, gain: float, least: float, *, steps: int) -> bool:
        """Whether the remaining gain is at most TOLERANCE of the energy plus `least`, after `steps` more least squares
        of which the first gains `gain`."""
        while not self._bounded(gain, least, steps):
            if not self._tightened():
                return False
        return True

    def _bounded(self, gain: float, least: float, steps: int) -> bool:
        if not self.tail < self._theta:
            return False
        rate, enough = self.tail / self._theta, TOLERANCE * self.energy / SLACK + least
        return bool(gain * rate**steps <= enough * (1 - rate))

    def _tightened(self) -> bool:
        """Whether random rows, or another power of c c^T, gave a tighter tail. Not tried where it could not."""
        if self._rows is None:
            self._rows = self._seen()
            return True
        if self._power == POWERS or self.tail <= self._theta / 8 or self.tail == inf:
            return False
        self._power += 1
        probes, across = self._rows
        before = float(torch.linalg.vector_norm(probes))
        probes = _apart(across @ self._w.T, self._q)
        size = max(float(torch.linalg.vector_norm(probes)), 1e-30)
        if size > self._theta / 2 * before:
            self.tail = inf
            return False
        self._logarithm += log(size)
        self.tail = min(self.tail, exp((self._logarithm + log(MISSED / PROBES) / 2) / self._power))
        probes = probes / size
        self._rows = probes, probes @ self._w
        return True

    def _seen(self) -> tuple[Tensor, Tensor]:
        """Random rows (PROBES, m) and their products (PROBES, n) with c. They give estimates of its energy and tail."""
        probes = _apart(_normal(PROBES, self._w.shape[0]).to(self._w), self._q)
        across = probes @ self._w
        pairs = across @ across.T
        self.energy = float(pairs.trace()) / PROBES
        squares = float(torch.linalg.vector_norm(pairs.fill_diagonal_(0.0))) / (PROBES * (PROBES - 1)) ** 0.5
        self.tail = min(self.tail, MISSED * min(self.energy, squares))
        return probes, across


@functools.cache
def _normal(rows: int, columns: int) -> Tensor:
    """Normal numbers of a fixed seed."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))


def _apart(probes: Tensor, q: Tensor) -> Tensor:
    """The part of the rows `probes` (few, m) that is orthogonal to the rows of `q`."""
    return torch.addmm(probes, probes @ q.T, q, alpha=-1)


def _projected(w: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
    """As `_alternated`, but the best with the rows of u in a subspace of R^m. None if the subspace is too small.

    The space is all of R^m or, where r is small against m, a Krylov space (`_krylov`) that contains `start`. Rounding
    errors eta of w w^T cost at most 2 sum_i eta^2 / max(g_i, eta), where g_i is the gap between the i-th eigenvalue and
    the (r+1)-th.
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
    p = q @ w
    lengths = torch.linalg.vector_norm(p, dim=1)
    return q * lengths[:, None], lengths.reciprocal().diag(), p


def _krylov(w: Tensor, start: Tensor, energy: float) -> tuple[Tensor, Tensor, float] | None:
    """Ascending Ritz values of w w^T in a Krylov space, the vectors (r, m) of the r largest, and a bound of their loss.

    The space is the Krylov space from `start` and half as many random rows (Golub and Van Loan, section 10.3.6): the
    missing directions may be orthogonal to `start`, as in the first LC steps. The residuals b_i of the Ritz vectors lie
    in the block after the last; sum_i ||b_i||^2 / (theta_r - c) bounds the loss, where c is the largest eigenvalue that
    the space misses. The Ritz value half a block below theta_r is the estimate of c. By the same estimate the half
    block below theta_r may rise past it.
    """
    rank = len(start)
    fresh = _normal((rank + 1) // 2, w.shape[0]).to(w)
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
            chosen, half = vectors[:, -rank:], size // 2
            tiny = torch.finfo(w.dtype).tiny
            gap = max(float(values[-rank] - values[-rank - half]), tiny)
            residuals = (r @ vectors[-size:, -rank - half :]).square().sum(dim=0)
            below = values[-rank - half : -rank]
            rising = below + residuals[:half] / (below - values[-rank - 2 * half : -rank - half]).clamp_min(tiny)
            loss = float(residuals[half:].sum()) / gap + float((rising - values[-rank]).clamp_min(0.0).sum())
            if SLACK * loss <= TOLERANCE * (energy - float(values[-rank:].sum())):
                return values, chosen.T @ basis, loss
        if not bool((r.diagonal().abs() > 1e-3 * torch.linalg.vector_norm(image, dim=1)).all()):
            return None  # the rows are nearly dependent: their basis would not be orthogonal to the earlier blocks
        block = block.T
        basis = torch.cat([basis, block])
    return None


def _gram(w: Tensor) -> Tensor:
    """w w^T; each symmetric block is computed once."""
    half = len(w) // 2
    upper, lower = w[:half], w[half:]
    across = lower @ upper.T
    return torch.cat([torch.cat([upper @ upper.T, across.T], 1), torch.cat([across, lower @ lower.T], 1)])


def _orthonormal(rows: Tensor) -> Tensor | None:
    """An orthonormal basis of the span of `rows` (r, m) by Cholesky decomposition of their Gram matrix; twice where
    they are far from orthogonal. None where they are nearly dependent."""
    for least in (0.01, 0.1):
        gram = rows @ rows.T
        triangle, failed = torch.linalg.cholesky_ex(gram)
        if failed:
            return None
        independent = float((triangle.diagonal().square() / gram.diagonal()).min())
        if not independent > least**2:
            return None
        rows = _inverse(triangle) @ rows
        if independent > 0.1**2:
            return rows
    return None


def _inverse(triangle: Tensor) -> Tensor:
    """The inverse of a lower triangle. For few rows, inverse and product are faster than solving for many columns."""
    inverse: Tensor = torch.linalg.solve_triangular(triangle, _identity(len(triangle)).to(triangle), upper=False)
    return inverse


@functools.cache
def _identity(size: int) -> Tensor:
    return torch.eye(size)


def _energy(x: Tensor) -> Tensor:
    """The squared norm of a contiguous tensor."""
    return torch.dot(x.reshape(-1), x.reshape(-1))


def _stored(factor: Tensor, dtype: torch.dtype) -> Tensor:
    # Row by row, as a file gives it back: the rounding of a product depends on the memory layout of its factors.
    return factor.to(dtype).contiguous()
