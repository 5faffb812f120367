"""One compression after another: what the first leaves, the second compresses."""

from dataclasses import dataclass

from torch import Tensor

from lc_core.compression import Compressed, Compression, objective
from lc_core.compressions.pairs import Pair, pair
from lc_core.compressions.sums import descend


@dataclass(frozen=True)
class Chain:
    """min over Theta of ||w - Delta(Theta)||^2, where `then` compresses what `first` leaves (`pairs.py`).

    Alternating: `first` for the parameters of `then`, `then` for those of `first`. The objective never rises, and ends
    no higher than that of `previous` or, without it, of one compression after the other. A local optimum.

    The pairs that mean something: pruning (`L0Pruning`, `NMPruning`, `GroupPruning`), then `Codebook`,
    `UniformQuantization` or `Cast`; `GroupPruning`, then `LowRank`; `LowRank` or `Tucker2`, then one of the three for
    each of its factors.

    Attributes:
        first: prunes or factors.
        then: compresses the weights that stay, or the factors.
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
