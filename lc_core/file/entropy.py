"""The size that a packed model's codes and supports would have with entropy coding, to compare with the real size.

Files of format 1 have fixed-length codes under zstd, files of format 2 adaptive ones. The figures leave out the table
of lengths or frequencies that a decoder would need: they are lower bounds for codes that do not adapt.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import zstandard
from torch import Tensor

from lc_core.compression import Compressed
from lc_core.compressions.circulant import Circulated
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.pruning import Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.compressions.separable import Separated
from lc_core.compressions.structured import Grouped
from lc_core.compressions.sums import Summed
from lc_core.compressions.tucker import Tucker
from lc_core.compressions.uniform import Uniform
from lc_core.file.frames import LEVEL
from lc_core.numerics.packing import byte_count

Kind = Literal["codes", "supports"]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sizes:
    """All codes of a model, or all supports.

    Attributes:
        packed_bytes: size in fixed-length codes.
        zstd_bytes: size of one zstd frame (level 19) of them alone.
        entropy_bytes: empirical order-0 entropy of the codes of each layer, or of one bit a position of each support.
        huffman_bytes: Huffman code of the codes of each layer, or of the gaps in each support.
    """

    packed_bytes: int
    zstd_bytes: int
    entropy_bytes: int
    huffman_bytes: int


def coded_sizes(thetas: Sequence[Compressed]) -> dict[Kind, Sizes]:
    """The sizes of the codes and the supports in `thetas`; a kind that does not occur is left out."""
    parts = [part for theta in thetas for part in _parts(theta)]
    kinds: tuple[Kind, ...] = ("codes", "supports")
    grouped = {kind: [part for part in parts if part.kind == kind and part.packed] for kind in kinds}
    return {kind: _sizes(found) for kind, found in grouped.items() if found}


def entropy_bits(counts: Counts) -> float:
    """Bits of symbols that occur `counts` times, by their order-0 empirical entropy: sum_i n_i log2(n / n_i)."""
    present = counts[counts > 0]
    return float((present * np.log2(present.sum() / present)).sum()) if present.size else 0.0


def huffman_bits(counts: Counts) -> int:
    """Bits of symbols that occur `counts` times, in the best prefix code: the sum of its inner nodes; 0 for a single
    symbol. Huffman 1952. O(n log n) for n symbols."""
    heap: list[int] = counts[counts > 0].tolist()
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        total += both
        heapq.heappush(heap, both)
    return total


@dataclass(frozen=True)
class _Part:
    """Packed arrays, and the counts of their symbols for the entropy and for the Huffman code."""

    kind: Kind
    packed: bytes
    occurrences: Sequence[Counts]
    symbols: Sequence[Counts]


def _sizes(parts: Sequence[_Part]) -> Sizes:
    packed = b"".join(part.packed for part in parts)
    entropy = sum(entropy_bits(counts) for part in parts for counts in part.occurrences)
    huffman = sum(huffman_bits(counts) for part in parts for counts in part.symbols)
    compressed = zstandard.ZstdCompressor(level=LEVEL).compress(packed)
    return Sizes(len(packed), len(compressed), byte_count(round(entropy)), byte_count(huffman))


def _parts(theta: Compressed) -> Iterator[_Part]:
    match theta:
        case Quantized() | Uniform():
            counts = _counts(theta.codes)
            yield _Part("codes", _bytes([theta.pack()["codes"]]), [counts], [counts])
        case Sparse(pattern=None, values=values):
            index = (array for name, array in theta.pack().items() if not name.startswith("values."))
            yield _support(index, theta.support, universe=theta.decompress().numel())
            yield from _parts(values)
        case Sparse(pattern=pattern, values=values) if pattern:
            index = (array for name, array in theta.pack().items() if not name.startswith("values."))
            groups = pattern.groups(theta.support, shape=theta.shape)
            chosen = [np.unique(each.numpy(), axis=0, return_counts=True)[1] for each in groups]
            yield _Part("supports", _bytes(index), chosen, chosen)
            yield from _parts(values)
        case Grouped(parts=parts, kept=kept, values=each):
            index = (array for name, array in theta.pack().items() if "." not in name)
            yield _support(index, kept, universe=max(part.first + part.groups for part in parts))
            for values in each:
                yield from _parts(values)
        case Summed(terms=children) | Kruskal(factors=children):
            for child in children:
                yield from _parts(child)
        case Factored(left=left, right=right):
            yield from [*_parts(left), *_parts(right)]
        case Separated(depthwise=depthwise, pointwise=pointwise):
            yield from [*_parts(depthwise), *_parts(pointwise)]
        case Tucker(core=core, left=left, right=right):
            yield from [*_parts(core), *_parts(left), *_parts(right)]
        case Circulated(vectors=vectors):
            yield from _parts(vectors)


def _support(arrays: Iterable[Tensor], support: Tensor, *, universe: int) -> _Part:
    kept = np.array([support.numel(), universe - support.numel()])
    gaps = np.diff(support.numpy(), prepend=-1)
    return _Part("supports", _bytes(arrays), [kept], [np.unique(gaps, return_counts=True)[1]])


def _counts(symbols: Tensor) -> Counts:
    return np.bincount(symbols.numpy())


def _bytes(arrays: Iterable[Tensor]) -> bytes:
    return b"".join(array.numpy().tobytes() for array in arrays)
