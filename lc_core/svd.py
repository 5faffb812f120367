"""The leading singular vectors of a matrix: exact through its Gram matrix, or refined from those of a matrix nearby."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

SMALL = 64
"""Up to this many rows or columns the exact decomposition is fast enough."""
ROUNDS = 6
"""At most this many rounds of refinement; more would take as long as the exact decomposition."""
TOLERANCE = 1e-4
"""A refinement ends when the objective has no more than this part of it left to fall, by estimate."""
ROUNDING = 1e-14
"""... or than this part of ||W||^2: what float32 factors cost."""
PROBES = 8
MARGIN = 1.5
"""What is left over, as probed in PROBES random directions, is rarely further below the truth than this."""


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
    """Factors (m, r), (r, n) near `left`, `right` of least ||matrix - left right||^2, or None where that takes long.

    Subspace iteration (Golub and Van Loan, "Matrix Computations", section 8.2.4): Q = orth(W W^T Q), right = Q^T W. The
    objective ||W - Q Q^T W||^2 never rises. With theta the least of the r energies caught and tail the largest left
    over, what it has left to fall shrinks by (tail / theta)^2 a round or faster, so that the last round's gain bounds
    it. tail is at most the objective, which is estimated from fixed random directions; where that says too little,
    power iteration on them probes tail, which also finds what entered the matrix apart from all that `left` spans.
    None too for float64, for small matrices, and for rank so high that the exact solution costs no more.
    """
    m, n = matrix.shape
    rank = left.shape[1]
    if matrix.dtype == torch.float64 or min(m, n) <= SMALL or 3 * rank > min(m, n) or not rank:
        return None
    if m > n:
        turned = refined(matrix.T.contiguous(), right.T, left.T)
        return (turned[1].T.contiguous(), turned[0].T.contiguous()) if turned else None
    w, scale = matrix.float(), 1.0
    if not 1e-20 < float(_energy(w)) < 1e20:
        scale = float(w.abs().max())
        if not scale:
            return None
        w = w / scale
    found = _iterate(w, left.T.float())
    if found is None:
        return None
    q, p = found
    root = (torch.linalg.vector_norm(p, dim=1, keepdim=True) * scale).sqrt()
    return _stored((q * root).T, matrix.dtype), _stored(p * (scale / root), matrix.dtype)


def _iterate(w: Tensor, start: Tensor) -> tuple[Tensor, Tensor] | None:
    """Orthonormal rows q (r, m) and p = q w (r, n)."""
    probes = torch.randn(PROBES, w.shape[0], generator=torch.Generator().manual_seed(0)).to(w)
    powered = probes
    q = _orthonormal(start)
    if q is None:
        return None
    p = q @ w
    for number in range(1, ROUNDS + 1):
        gram = p @ p.T
        triangle, failed = torch.linalg.cholesky_ex(gram)
        if failed:
            return None
        inverse = torch.cholesky_inverse(triangle)
        # (p p^T)^-1 p w^T is near q, so near orthonormal; the rows of p w^T would be nearly parallel.
        before, q = q, _orthonormal((inverse @ p) @ w.T)
        if q is None:
            return None
        p = q @ w
        moved = q - (q @ before.T) @ before
        gained = float((gram * (moved @ moved.T)).sum())
        error = float(_energy(_apart(probes, q) @ w)) / PROBES
        enough = TOLERANCE * error / MARGIN + ROUNDING * float(gram.trace())
        theta, tail = 1 / float(torch.linalg.vector_norm(inverse)), MARGIN * error
        if _to_gain(gained, theta, tail) > enough:
            powered, probed = _largest_apart(w, q, powered)
            theta, tail = float(torch.linalg.eigvalsh(p @ p.T)[0]), min(tail, MARGIN * probed)
        to_gain = _to_gain(gained, theta, tail)
        if to_gain <= enough:
            # q is orthonormal to rounding; this p is the best for it: (q q^T)^-1 p, to first order.
            return q, 2 * p - (q @ q.T) @ p
        if to_gain == inf or to_gain * (tail / theta) ** (2 * (ROUNDS - number)) > enough:
            return None
    return None


def _to_gain(gained: float, theta: float, tail: float) -> float:
    """At most what rounds to come gain after one that gained so much, each (tail / theta)^2 of the one before."""
    rate = (tail / theta) ** 2 if tail < theta else 1.0
    return gained * rate / (1 - rate) if rate < 1 else inf


def _apart(probes: Tensor, q: Tensor) -> Tensor:
    """What of the rows `probes` (few, m) is orthogonal to the rows of `q`."""
    return probes - (probes @ q.T) @ q


def _largest_apart(w: Tensor, q: Tensor, probes: Tensor) -> tuple[Tensor, float]:
    """`probes` (few, m) two steps of power iteration on, apart from the rows of `q`; the largest energy seen."""
    for _ in range(2):
        probes = _apart(probes, q)
        probes = probes / torch.linalg.vector_norm(probes, dim=1, keepdim=True).clamp_min(torch.finfo(w.dtype).tiny)
        across = probes @ w
        probes = across @ w.T
    return probes, float(torch.linalg.vector_norm(across, dim=1).max()) ** 2


def _orthonormal(rows: Tensor) -> Tensor | None:
    """An orthonormal basis of the span of `rows` (r, m) by Cholesky's decomposition of their Gram matrix, or None where
    they are too far from orthogonal for that; those of a refinement are near it once they have length one."""
    rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    triangle, failed = torch.linalg.cholesky_ex(rows @ rows.T)
    if failed or not float(triangle.diagonal().min()) > 0.1:
        return None
    inverse = torch.linalg.solve_triangular(triangle, torch.eye(len(rows)).to(rows), upper=False)
    basis: Tensor = inverse @ rows
    return basis


def _energy(x: Tensor) -> Tensor:
    """The squared norm of a tensor whose numbers lie in a row."""
    return torch.dot(x.reshape(-1), x.reshape(-1))


def _stored(factor: Tensor, dtype: torch.dtype) -> Tensor:
    # Row by row, as it comes back from a file: a product's rounding depends on how its factors lie in memory.
    return factor.to(dtype).contiguous()
