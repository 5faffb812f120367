"""Two compressions in a row: the second compresses what the first keeps."""

from dataclasses import dataclass

from torch import Tensor

from lc_core.compression import Compressed, Compression, objective
from lc_core.compressions.pairs import Pair, pair
from lc_core.compressions.sums import descend


@dataclass(frozen=True)
class Chain:
    """min over Theta of ||w - Delta(Theta)||^2, where `then` compresses what `first` keeps (`pairs.py`).

    It alternates: `first` for fixed parameters of `then`, then `then` for fixed parameters of `first`. The objective
    never rises. It ends no higher than at `previous` or, without it, than one compression after the other. A local
    optimum.

    Allowed pairs: pruning (`L0Pruning`, `NMPruning`, `GroupPruning`), then `Codebook`,
    `UniformQuantization` or `Cast`; `GroupPruning`, then `LowRank`; `LowRank` or `Tucker2`, then one of the three for
    each of its factors.

    Attributes:
        first: the pruning or factorization.
        then: the compression of the kept weights, or of the factors.
    """

    first: Compression
    then: Compression

    def __post_init__(self) -> None:
        pair(self.first, self.then)

    def check(self, shape: tuple[int, ...]) -> None:
        self._pair.check(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Compressed:
        w = w.detach()
        return descend(
            self._pair.start(w, mu=mu, previous=previous),
            step=lambda theta: self._pair.step(w, mu=mu, theta=theta),
            error=lambda theta: objective(self, w, theta, mu=mu),
        )

    def outline(self, shape: tuple[int, ...]) -> Compressed | None:
        return self._pair.outline(shape)

    @property
    def _pair(self) -> Pair:
        return pair(self.first, self.then)
