"""The sum of several compressions, and the descent loop of all alternating forms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lc_core.compression import (
    Compressed,
    Compression,
    Dense,
    Form,
    FormError,
    OrDense,
    Penalized,
    Use,
    dense_macs,
    objective,
    prefixed,
)
from lc_core.compressions.pruning import L0Pruning, Sparse
from lc_core.compressions.quantization import Codebook, Quantized, encode, sorted_array
from lc_core.compressions.structured import GroupPruning
from lc_core.numerics.kernels import Singles
from lc_core.numerics.lookup import between
from lc_core.numerics.sorted_values import Ordered
from lc_core.numerics.trimmed import bounds_of_staying, trimmed_centres, trimmed_of_sorted

ROUNDS = 20
FEW_CODES = 8
"""With so few codes, comparing every weight with the bounds of each run is fast."""
Theta = TypeVar("Theta", bound=Compressed)


def descend(start: Theta, *, step: Callable[[Theta], Theta], error: Callable[[Theta], float]) -> Theta:
    """The last of `start`, step(start), step(step(start)), ... before `error` no longer falls; at most ROUNDS steps."""
    theta, least = start, error(start)
    for _ in range(ROUNDS):
        moved = step(theta)
        moved_error = error(moved)
        if not moved_error < least:
            break
        theta, least = moved, moved_error
    return theta


@dataclass(frozen=True, eq=False)
class Summed(OrDense):
    """The sum of what several Thetas decompress to.

    Attributes:
        terms: all of one shape and dtype, in the order in which they are added.
    """

    terms: tuple[Compressed, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.terms[0].shape

    @property
    def dtype(self) -> torch.dtype:
        return self.terms[0].dtype

    def decompress(self) -> Tensor:
        return _total([term.decompress() for term in self.terms])

    def macs(self, use: Use) -> int:
        return min(sum(term.macs(use) for term in self.terms), dense_macs(self.shape, use))

    def own_arrays(self) -> dict[str, Tensor]:
        return {
            name: array
            for number, term in enumerate(self.terms)
            for name, array in prefixed(str(number), term.pack()).items()
        }

    def own_form(self) -> Form:
        return {"form": "sum", "shape": list(self.shape), "terms": [term.form() for term in self.terms]}

    @staticmethod
    def unpack(form: Form, terms: Sequence[Compressed]) -> "Summed":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        if any(term.shape != tuple(form["shape"]) for term in terms):
            raise FormError(f"expected terms of shape {form['shape']}, got {[term.shape for term in terms]}")
        return Summed(tuple(terms))

    def own_bits(self) -> int:
        return sum(term.storage_bits() for term in self.terms)


@dataclass(frozen=True, init=False)
class Sum:
    """min over Theta_1, ..., Theta_T of ||w - sum_t Delta_t(Theta_t)||^2, each Theta_t of its own compression.

    It alternates: each term's C step compresses the residual of the others, so that the objective never rises. It
    starts from `previous`, or from the terms in order, each on the residual of those before it, and ends when the
    objective no longer falls. A local optimum. `L0Pruning` and `Codebook` are solved together, which is faster and ends
    lower (`numerics/trimmed.py`). Idelbayev and Carreira-Perpinan, "More general and effective model compression via an
    additive combination of compressions", ECML 2021, section 4. Terms that are penalty forms add their alpha C(Theta_t)
    to mu/2 times the objective.

    Attributes:
        terms: the compressions, two or more: `Sum(L0Pruning(keep=0.01), Codebook(size=2))`.
    """

    terms: tuple[Compression, ...]

    def __init__(self, *terms: Compression) -> None:
        if len(terms) < 2:
            raise ValueError(f"sum: expected two compressions or more, got {len(terms)}")
        if any(isinstance(term, GroupPruning) for term in terms):
            raise ValueError("sum: expected terms that see a layer's weight alone, got GroupPruning")
        object.__setattr__(self, "terms", terms)

    def check(self, shape: tuple[int, ...]) -> None:
        for term in self.terms:
            term.check(shape)

    def cost(self, theta: Compressed) -> float:
        """The sum of alpha C(Theta) over the terms that have one."""
        assert isinstance(theta, Summed)
        pairs = zip(self.terms, theta.terms, strict=True)
        return sum((term.cost(part) for term, part in pairs if isinstance(term, Penalized)), 0.0)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Summed:
        w = w.detach()
        before = self._before(previous, tuple(w.shape))
        match self.terms:
            case (L0Pruning() as pruning, Codebook() as codebook):
                return Summed(_corrected(w, pruning, codebook, before[1]))
            case (Codebook() as codebook, L0Pruning() as pruning):
                return Summed(_corrected(w, pruning, codebook, before[0])[::-1])
        return descend(
            self._round(w, mu, before),
            step=lambda theta: self._round(w, mu, theta.terms),
            error=lambda theta: objective(self, w, theta, mu=mu),
        )

    def outline(self, shape: tuple[int, ...]) -> Summed | None:
        outlines = [term.outline(shape) for term in self.terms]
        known = [outline for outline in outlines if outline is not None]
        return Summed(tuple(known)) if len(known) == len(self.terms) else None

    def _before(self, previous: Compressed | None, shape: tuple[int, ...]) -> Sequence[Compressed | None]:
        """The terms of `previous`, if these compressions make such terms; else None for each."""
        if isinstance(previous, Summed) and len(previous.terms) == len(self.terms):
            outlines = [term.outline(shape) for term in self.terms]
            pairs = zip(outlines, previous.terms, strict=True)
            if all(outline is None or type(outline) is type(term) for outline, term in pairs):
                return previous.terms
        return (None,) * len(self.terms)

    def _round(self, w: Tensor, mu: float, before: Sequence[Compressed | None]) -> Summed:
        """Compresses every term once, on the residual of the others. Terms that are None count as zero."""
        terms = list(before)
        for number, compression in enumerate(self.terms):
            others = [term.decompress() for term in terms[:number] + terms[number + 1 :] if term is not None]
            left = w - _total(others) if others else w
            terms[number] = compression.compress(left, mu=mu, previous=terms[number])
        return Summed(tuple(term for term in terms if term is not None))


def _corrected(
    w: Tensor, pruning: L0Pruning, codebook: Codebook, previous: Compressed | None
) -> tuple[Sparse, Quantized]:
    """A codebook, and corrections of the weights that are farthest from their code."""
    left_out, start = pruning.count(tuple(w.shape)), codebook.start(previous)
    single = w.device.type == "cpu" and w.dtype == torch.float32
    if not 0 < left_out < w.numel():
        quantized = codebook.compress(w, mu=0.0, previous=previous)
        return pruning.compress(w - quantized.decompress(), mu=0.0), quantized
    if single:
        found = trimmed_centres(w.reshape(-1).numpy(), size=codebook.size, left_out=left_out, start=start)
    else:
        found = trimmed_of_sorted(sorted_array(w), size=codebook.size, left_out=left_out, start=start)
    centres, ordered = found
    quantized = encode(w, codebook=torch.from_numpy(centres).to(w))
    few = single and codebook.size <= FEW_CODES
    corrections = _farthest(w.reshape(-1).numpy(), ordered, quantized, left_out) if few else None
    return corrections or pruning.compress(w - quantized.decompress(), mu=0.0), quantized


def _farthest(values: Singles, ordered: Ordered, quantized: Quantized, left_out: int) -> Sparse | None:
    """Corrections of the values that are farthest from their codes. None where a tie leaves open which these are."""
    codebook = quantized.codebook.numpy()
    bounds = bounds_of_staying(ordered, codebook.astype(np.float64), left_out)
    support = np.flatnonzero(~between(values, bounds)) if bounds is not None else np.zeros(0, np.int64)
    if support.size != left_out:
        return None
    corrections = torch.from_numpy(values[support] - codebook[quantized.codes.numpy()[support]])
    return Sparse(quantized.shape, torch.from_numpy(support), Dense(corrections))


def _total(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
