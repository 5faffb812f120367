"""A budget: every layer gets the compression that suits it, of least total error within so many bytes or MACs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from lc_core.compression import Compressed, Compression, Use, numel
from lc_core.compressions.allotted import Allotted
from lc_core.compressions.ladder import Ladder, check_choice, ladder_of, squared_error
from lc_core.fields import check_numbers
from lc_core.numerics.kernels import Floats
from lc_core.numerics.knapsack import allocate

Choose = Literal["always", "once"]
Importance = Literal["even", "magnitude", "relative"]
ROUNDING = 1e-12
"""A choice gives way where another's error is less by more than this fraction of the weights' squares."""


@dataclass(frozen=True)
class Layer:
    """One layer under a budget.

    Attributes:
        name: of its weight in the model.
        shape: of its weight.
        uses: the sizes of its runs on one example, for a budget of MACs.
        sensitivity: s_l, the factor of its squared error.
        dtype: in which its values are stored.
    """

    name: str
    shape: tuple[int, ...]
    uses: tuple[Use, ...] = (Use(),)
    sensitivity: float = 1.0
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Budget:
    """min over c_1, c_2, ... and Theta of sum_l s_l ||w_l - Delta(Theta_l)||^2 subject to sum_l C(Theta_l) <= N.

    c_l is one of the compressions in `of` or none, Theta_l is a Theta of c_l, and C is its stored bytes or its
    multiply-accumulates, which the layer's shape and c_l tell. For given c_l each layer's Theta is its own C step, so
    that the choice is a multiple-choice knapsack: `numerics/knapsack.py` solves it, mostly exactly, and else states how
    far it may be off (`Allotted.gap`). The errors that it takes are exact for pruning, ranks and groups, and upper
    bounds for codebooks (`ladder.py`). The choice of the C step before is kept unless another has less error, so that
    a step never ends worse than it began. Choosing costs one sort and one singular value decomposition a layer, and a
    dynamic programme for each codebook; then only the chosen compressions run.

    Where mu is small the choice can move from step to step. As mu grows, w comes close to Delta(Theta), where the
    choice at hand has almost no error, and it settles. The choice once, from the reference, by sensitivities is how
    automatic mixed precision does it (Yao et al., "HAWQ-V3", ICML 2021, section 3.4, by integer programming).

    Attributes:
        bytes: N, the most bytes of the weights together. They count as stored before zstd, without the file's header.
        macs: N, the most multiply-accumulates of the layers together; instead of `bytes`. Groups count as cut, also in
            a model whose channels cannot be cut.
        of: the compressions to choose from. Dense weights are always among them. A layer leaves out those that it
            cannot take. Input groups can be chosen, output groups cannot: they take a bias and a norm with them.
        uses: name of a layer's weight -> the sizes with which it runs (`accounting.layer_uses`), for `macs`. By default
            a single position, as for a linear layer.
        sensitivity: name of each layer's weight -> s_l, above 0; 1 for all where it is empty.
        choose: "always", or "once": the first C step's choice stays.
        importance: how a squared error counts in the choice, though not in the C steps of the layers: "even"; times the
            "magnitude" of its weight; or "relative", times that magnitude over the mean one of its layer.
        layers: the layers, in order, as a plan gives them; empty for the weight of one layer.
    """

    bytes: int | None = None
    macs: int | None = None
    of: tuple[Compression, ...] = ()
    uses: Mapping[str, Sequence[Use]] = field(default_factory=dict)
    sensitivity: Mapping[str, float] = field(default_factory=dict)
    choose: Choose = "always"
    importance: Importance = "even"
    layers: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self)
        if (self.bytes is None) == (self.macs is None):
            raise ValueError(f"budget: expected bytes or macs, got bytes={self.bytes}, macs={self.macs}")
        if not self.of:
            raise ValueError("of: expected the compressions to choose from, got none")
        if self.choose not in get_args(Choose):
            raise ValueError(f'choose: expected "always" or "once", got {self.choose!r}')
        if self.importance not in get_args(Importance):
            raise ValueError(f'importance: expected "even", "magnitude" or "relative", got {self.importance!r}')
        for each in self.of:
            check_choice(each)
        for name, factor in self.sensitivity.items():
            if not 0 < factor < float("inf"):
                raise ValueError(f"sensitivity: expected a number above 0 for {name}, got {factor}")

    @property
    def limit(self) -> int:
        """N."""
        limit = self.macs if self.bytes is None else self.bytes
        assert limit is not None
        return limit

    def governing(
        self, names: Sequence[str], shapes: Sequence[tuple[int, ...]], *, dtype: torch.dtype = torch.float32
    ) -> "Budget":
        """This budget over the layers of these weights, whose values are stored in `dtype`. ValueError where
        `sensitivity` lacks one of them."""
        if self.sensitivity and (lacking := [name for name in names if name not in self.sensitivity]):
            raise ValueError(f"sensitivity: expected a number for each weight, got none for {', '.join(lacking)}")
        layers = []
        for name, shape in zip(names, shapes, strict=True):
            uses = tuple(self.uses.get(name, ())) if self.uses else (Use(),)
            layers.append(Layer(name, shape, uses, float(self.sensitivity.get(name, 1.0)), dtype))
        return replace(self, layers=tuple(layers))

    def check(self, shape: tuple[int, ...]) -> None:
        if self.macs is not None and not self.uses and any(len(layer.shape) > 2 for layer in self._layers(shape)):
            raise ValueError("uses: expected how a convolution is used (`layer_uses`), which MACs depend on, got none")
        least = sum(int(ladder.costs.min()) for ladder in self._ladders(shape))
        if least > self.limit:
            what = "macs" if self.bytes is None else "bytes"
            raise ValueError(
                f"{what}: expected at least {least}, which the smallest compressions of the layers take, got "
                f"{self.limit}; give a larger budget, or smaller compressions"
            )

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Allotted:
        shape = tuple(w.shape)
        layers, ladders = self._layers(shape), self._ladders(shape)
        parts = w.detach().reshape(-1).split([numel(layer.shape) for layer in layers])
        weights = [part.reshape(layer.shape) for part, layer in zip(parts, layers, strict=True)]
        factors = [layer.sensitivity for layer in layers]
        if self.importance == "relative":
            means = [float(w.double().abs().mean()) for w in weights]
            factors = [factor / (mean or 1.0) for factor, mean in zip(factors, means, strict=True)]  # or all are zero
        step = _Step(factors, ladders, weights, mu, by_magnitude=self.importance != "even")
        old = self._choice_of(previous, shape)
        before = step.solved(old, warm=previous.thetas) if old and isinstance(previous, Allotted) else None
        if old and before and self.choose == "once":
            return step.allotted(shape, old, before, gap=0.0)
        errors = step.errors()
        found = allocate(errors, [ladder.costs for ladder in ladders], budget=self.limit)
        chosen, gap = found.chosen.tolist(), (found.error - found.bound) / found.error if found.error > 0 else 0.0
        if old is None or before is None:
            return step.allotted(shape, chosen, step.solved(chosen), gap=gap)
        known = [theta if new == last else None for theta, new, last in zip(before, chosen, old, strict=True)]
        moved = step.solved(chosen, known=known)
        if step.error(moved) < step.error(before) - ROUNDING * step.size():
            return step.allotted(shape, chosen, moved, gap=gap)
        return step.allotted(shape, old, before, gap=gap)

    def outline(self, shape: tuple[int, ...]) -> None:
        """None: the weights decide the choice. ValueError where the budget is too small for `shape`."""
        self.check(shape)

    def longest(self, shape: tuple[int, ...]) -> Allotted:
        """Theta without values, of the choice whose description in a file is longest, whatever it costs."""
        return Allotted(shape, tuple(ladder.longest() for ladder in self._ladders(shape)))

    def spent(self, theta: Allotted) -> int:
        """C of all layers: bytes or multiply-accumulates."""
        if self.bytes is not None:
            return theta.storage_bits() // 8
        pairs = zip(self._layers(theta.shape), theta.thetas, strict=True)
        return sum(each.macs(use) for layer, each in pairs for use in layer.uses)

    def _layers(self, shape: tuple[int, ...]) -> tuple[Layer, ...]:
        return self.layers or (Layer("", shape),)

    def _ladders(self, shape: tuple[int, ...]) -> list[Ladder]:
        uses_count = self.bytes is None
        return [
            ladder_of(self.of, layer.shape, dtype=layer.dtype, uses=layer.uses if uses_count else None)
            for layer in self._layers(shape)
        ]

    def _choice_of(self, previous: Compressed | None, shape: tuple[int, ...]) -> list[int] | None:
        """The places of the compressions of `previous`, where this budget could choose them for weights of `shape`."""
        ladders = self._ladders(shape)
        if not isinstance(previous, Allotted) or len(previous.chosen) != len(ladders) or previous.shape != shape:
            return None
        pairs = list(zip(ladders, previous.chosen, previous.thetas, strict=True))
        if any(label not in ladder.labels or theta.shape != ladder.shape for ladder, label, theta in pairs):
            return None
        places = [ladder.labels.index(label) for ladder, label, _ in pairs]
        cost = sum(int(ladder.costs[place]) for ladder, place in zip(ladders, places, strict=True))
        return places if cost <= self.limit else None


@dataclass(frozen=True)
class _Step:
    """One C step: the layers with their ladders, their weights and the factor of each one's squared error."""

    factors: Sequence[float]
    ladders: Sequence[Ladder]
    weights: Sequence[Tensor]
    mu: float
    by_magnitude: bool

    def errors(self) -> list[Floats]:
        """For each layer, its factor times the squared error of each of its compressions."""
        triples = zip(self.factors, self.ladders, self.weights, strict=True)
        return [factor * ladder.errors(w, mu=self.mu, by_magnitude=self.by_magnitude) for factor, ladder, w in triples]

    def solved(
        self,
        places: Sequence[int],
        *,
        warm: Sequence[Compressed] | None = None,
        known: Sequence[Compressed | None] | None = None,
    ) -> list[Compressed]:
        """Theta of each layer by the compressions at `places`, unless it is `known`."""
        nothing: list[Compressed | None] = [None] * len(self.weights)
        starts, solved = warm or nothing, known or nothing
        return [
            theta or ladder.compress(w, place, mu=self.mu, previous=start)
            for ladder, w, place, start, theta in zip(self.ladders, self.weights, places, starts, solved, strict=True)
        ]

    def error(self, thetas: Sequence[Compressed]) -> float:
        """sum_l s_l ||w_l - Delta(Theta_l)||^2, as the choice counts it."""
        triples = zip(self.factors, self.weights, thetas, strict=True)
        return sum(factor * squared_error(w, theta, by_magnitude=self.by_magnitude) for factor, w, theta in triples)

    def size(self) -> float:
        """The error of all zeros."""
        power = 3 if self.by_magnitude else 2
        pairs = zip(self.factors, self.weights, strict=True)
        return sum(factor * float(w.double().abs().pow(power).sum()) for factor, w in pairs)

    def allotted(
        self, shape: tuple[int, ...], places: Sequence[int], thetas: Sequence[Compressed], *, gap: float
    ) -> Allotted:
        labels = [ladder.labels[place] for ladder, place in zip(self.ladders, places, strict=True)]
        return Allotted(shape, tuple(thetas), tuple(labels), gap)
