"""Circulant blocks: each row of a block is the row above shifted by one, so that a product is a convolution."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lc_core.compression import (
    Compressed,
    Dense,
    Form,
    FormError,
    OrDense,
    Use,
    dense_macs,
    numel,
    outline_tensor,
    prefixed,
)
from lc_core.fields import check_numbers


@dataclass(frozen=True, eq=False)
class Circulated(OrDense):
    """Blocks of `block` x `block` weights, entry (i, j) of a block being its vector's entry (i - j) mod `block`.

    Rows are output channels and columns are input channels; a kernel has such a matrix at each position. Blocks that
    reach over the edge are cut there. The vectors are a Theta of their own. Where they take no fewer bits than the
    dense weights, these are stored and run instead.

    Attributes:
        shape: the shape of Delta(Theta), (n, m) or (n, m, d, ...).
        block: b, the size of a block.
        vectors: Theta of the blocks' first columns, (ceil(n / b), ceil(m / b), d, ..., b).
    """

    shape: tuple[int, ...]
    block: int
    vectors: Compressed

    @property
    def dtype(self) -> torch.dtype:
        return self.vectors.dtype

    def decompress(self) -> Tensor:
        vectors = self.vectors.decompress()
        n, m, *kernel = self.shape
        along = torch.arange(self.block, device=vectors.device)
        blocks = vectors[..., (along[:, None] - along) % self.block]  # (rows, columns, d, ..., b, b)
        rows, columns = blocks.shape[:2]
        whole = blocks.movedim((-2, -1), (1, 3)).reshape(rows * self.block, columns * self.block, *kernel)
        return whole[:n, :m].contiguous()

    def own_bits(self) -> int:
        return self.vectors.storage_bits()

    def macs(self, use: Use) -> int:
        """By FFT: one for each block of the input at each input position, one for each block of the output at each
        output position, and for every block of weights a product of two spectra at each output position.

        An FFT of b real numbers counts b ceil(log2 b): b/4 log2 b butterflies of one complex product, four multiply-
        accumulates each. A product of spectra counts 4 a frequency, 1 at those that are real: 2 b - 2 for even b, 2 b -
        1 for odd. The spectra of the weights are computed once, in advance.
        """
        dense = dense_macs(self.shape, use)
        if use.groups > 1 or self.stored_dense():
            return dense
        transform = self.block * (self.block - 1).bit_length()
        product = 2 * self.block - (2 if self.block % 2 == 0 else 1)
        rows, columns, *kernel, _ = self.vectors.shape
        outgoing = rows * (transform + columns * numel(tuple(kernel)) * product)
        return min(columns * transform * numel(use.inputs) + outgoing * use.positions, dense)

    def own_arrays(self) -> dict[str, Tensor]:
        return prefixed("vectors", self.vectors.pack())

    def own_form(self) -> Form:
        vectors = self.vectors.form()
        return {"form": "circulant", "shape": list(self.shape), "block": self.block, "vectors": vectors}

    @staticmethod
    def unpack(form: Form, vectors: Compressed) -> "Circulated":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape, block = tuple(form["shape"]), form["block"]
        if len(shape) < 2 or block < 1 or vectors.shape != _vectors_shape(shape, block):
            raise FormError(f"expected vectors of blocks of {block} for {shape} weights, got shape {vectors.shape}")
        return Circulated(shape, block, vectors)


@dataclass(frozen=True)
class Circulant:
    """min over C of ||W - C||^2, C in circulant blocks of `block` x `block` over output and input channels.

    Exact: the orthogonal projection is the mean of W along each wrapped diagonal of each block, over the entries that
    exist where a block reaches over the edge. O(n) for n weights. A kernel has blocks at each position, so that it runs
    as FFTs over channels (`Circulated.macs`). Cheng et al., "An exploration of parameter redundancy in deep networks
    with circulant projections", ICCV 2015, section 3; Ding et al., "CirCNN", MICRO 2017, section 3.

    Attributes:
        block: b, at least 1. 1 leaves the weights as they are.
    """

    block: int

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.block < 1:
            raise ValueError(f"block: expected at least 1, got {self.block}")

    def check(self, shape: tuple[int, ...]) -> None:
        _vectors_shape(shape, self.block)
        if self.block > max(shape[:2]):
            raise ValueError(f"block: expected at most {max(shape[:2])}, the larger side, got {self.block}")

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Circulated:
        _vectors_shape(tuple(w.shape), self.block)
        exact = w.detach().double()
        counts = self._along_diagonals(torch.ones_like(exact)).sum(dim=-1)
        means = self._along_diagonals(exact).sum(dim=-1) / counts.clamp_min(1)
        return Circulated(tuple(w.shape), self.block, Dense(means.to(w.dtype)))

    def outline(self, shape: tuple[int, ...]) -> Circulated:
        return Circulated(shape, self.block, Dense(outline_tensor(*_vectors_shape(shape, self.block))))

    def _along_diagonals(self, w: Tensor) -> Tensor:
        """(rows of blocks, columns of blocks, d, ..., diagonals, entries), zero over the edge."""
        n, m, *kernel = w.shape
        b = self.block
        padded = torch.nn.functional.pad(w, (0, 0) * len(kernel) + (0, -m % b, 0, -n % b))
        blocks = padded.unflatten(1, (-1, b)).unflatten(0, (-1, b)).movedim((1, 3), (-2, -1))
        along = torch.arange(b, device=w.device)
        diagonals: Tensor = blocks[..., along, (along - along[:, None]) % b]
        return diagonals


def _vectors_shape(shape: tuple[int, ...], block: int) -> tuple[int, ...]:
    if len(shape) < 2:
        raise ValueError(f"circulant: expected weights of a layer (two dimensions or more), got shape {shape}")
    n, m, *kernel = shape
    return (-(-n // block), -(-m // block), *kernel, block)
