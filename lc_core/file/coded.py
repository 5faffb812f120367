"""The codes and supports among a Theta's arrays as symbols at their places in the layers, for the adaptive coder.

The walk over the forms is the same for writing and for reading. What it needs of the arrays it asks an `Exchange` for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lc_core.coding.layout import WIDEST, Layout, Places, Symbols, layout_of
from lc_core.compression import Form, FormError, numel, outline_tensor, stored
from lc_core.compressions.pruning import stored_pattern
from lc_core.numerics.packing import DamagedError, code_width, pack_codes, unpack_codes
from lc_core.numerics.support import pack_support, unpack_support

Parts = Sequence[Symbols]
"""Symbols, a part for each layer."""
Known = Callable[[Parts], Symbols | None]
"""The parts before one -> what is known of its columns beforehand."""


@dataclass(frozen=True)
class Coded:
    """Arrays that hold symbols.

    Attributes:
        names: the arrays.
        layouts: of the parts.
        known: of the columns of each part.
        to_arrays: the symbols of all parts -> the arrays, by name. DamagedError where no arrays have such symbols.
        to_symbols: the inverse. DamagedError where the arrays are damaged.
    """

    names: Sequence[str]
    layouts: Sequence[Layout]
    known: Known
    to_arrays: Callable[[Symbols], dict[str, Tensor]]
    to_symbols: Callable[[Mapping[str, Tensor]], Symbols]


def _nothing(_: Parts) -> Symbols | None:
    return None


class Exchange(Protocol):
    """Writes the symbols of arrays, or reads them."""

    arrays: dict[str, Tensor]

    def symbols(self, coded: Coded) -> Symbols:
        """The symbols of all parts of `coded`."""
        ...


@dataclass(frozen=True)
class Layers:
    """The layers whose weights a Theta has, one after the other.

    Attributes:
        shapes: of the layers.
        places: ascending flat places of the weights that Theta has of them; None for all.
        known: of each layer, what is known of its columns beforehand.
    """

    shapes: Sequence[tuple[int, ...]]
    places: Places | None = None
    known: Sequence[Symbols | None] = ()

    def layouts(self, width: int) -> list[Layout]:
        """The layout of symbols in each layer."""
        ends = np.cumsum([0, *map(numel, self.shapes)])
        found = []
        for shape, (first, end) in zip(self.shapes, pairwise(ends), strict=True):
            inside = None
            if self.places is not None:
                low, high = np.searchsorted(self.places, (first, end))
                inside = np.ascontiguousarray(self.places[low:high] - first)
            found.append(layout_of(shape, width=width, places=inside))
        return found


class Walk:
    """Walks over the Thetas of a file, in order, and exchanges their symbols."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._outputs: Symbols | None = None

    def over(self, form: Form, prefix: str, layers: Layers) -> None:
        """Exchanges the symbols of a Theta of `form` whose arrays begin with `prefix`."""
        match form["form"]:
            case "sparse":
                whole = layers if layers.places is None else Layers([tuple(form["shape"])])
                self.over(form["values"], f"{prefix}values.", self._sparse(form, prefix, whole))
            case "codebook":
                book = self._exchange.arrays.get(f"{prefix}codebook")
                self._codes(form, prefix, code_width(0 if book is None else book.numel()), layers)
            case "uniform":
                self._codes(form, prefix, form["bits"], layers)
            case "groups":
                self._support(form["count"], prefix, [layout_of((_groups(form),), width=1)])
                self._children([part["values"] for part in form["parts"]], prefix)
            case "sum":
                for number, term in enumerate(form["terms"]):
                    self.over(term, f"{prefix}{number}.", layers)
            case "cp":
                self._children(form["factors"], prefix)
            case _:
                for name in ("core", "left", "right", "vectors"):
                    if name in form:
                        self.over(form[name], f"{prefix}{name}.", Layers([tuple(form[name]["shape"])]))

    def _children(self, forms: Sequence[Form], prefix: str) -> None:
        for number, form in enumerate(forms):
            self.over(form, f"{prefix}{number}.", Layers([tuple(form["shape"])]))

    def _codes(self, form: Form, prefix: str, width: int, layers: Layers) -> None:
        """Codes of more than WIDEST bits, or of none, stay as they are packed."""
        name, count = f"{prefix}codes", numel(form["shape"])
        if not 1 <= width <= WIDEST:
            return
        layouts, known = layers.layouts(width), layers.known or [None] * len(layers.shapes)
        _check_count(layouts, count)
        self._packed(name, layouts, lambda before: known[len(before)])

    def _sparse(self, form: Form, prefix: str, layers: Layers) -> Layers:
        """Exchanges the support of a sparse Theta. The layers of its values."""
        if "pattern" in form:
            return replace(layers, places=self._pattern(form, prefix))
        layouts = layers.layouts(1)
        _check_count(layouts, numel(form["shape"]))
        last = self._outputs

        def known(before: Parts) -> Symbols | None:
            outputs = _outputs(before[-1], layouts[len(before) - 1]) if before else last
            return _inputs(outputs, layouts[len(before)])

        symbols = self._support(form["count"], prefix, layouts, known)
        parts = np.split(symbols, np.cumsum([layout.count for layout in layouts])[:-1])
        self._outputs = _outputs(parts[-1], layouts[-1])
        known_of_each = [known(parts[:number]) for number in range(len(parts))]
        return Layers(layers.shapes, np.flatnonzero(symbols), known_of_each)

    def _support(self, count: int, prefix: str, layouts: Sequence[Layout], known: Known = _nothing) -> Symbols:
        """Which of all weights stay, `count` of them: a 1 each."""
        universe = sum(layout.count for layout in layouts)
        if count > universe:
            raise FormError(f"expected a support of at most {universe} weights, got {count}")
        names = [*pack_support(outline_tensor(count, dtype=torch.int64), universe=universe)]

        def to_arrays(symbols: Symbols) -> dict[str, Tensor]:
            kept = np.flatnonzero(symbols)
            if kept.size != count:
                raise DamagedError(f"expected {count} weights on a support, got {kept.size}: the index is damaged")
            packed = pack_support(torch.from_numpy(kept), universe=universe)
            return {f"{prefix}{name}": array for name, array in packed.items()}

        def to_symbols(arrays: Mapping[str, Tensor]) -> Symbols:
            packed = {name: arrays[f"{prefix}{name}"] for name in names}
            kept = unpack_support(packed, count=count, universe=universe).numpy()
            symbols = np.zeros(universe, np.uint8)
            symbols[kept] = 1
            return symbols

        prefixed = [f"{prefix}{name}" for name in names]
        return self._exchange.symbols(Coded(prefixed, layouts, known, to_arrays, to_symbols))

    def _pattern(self, form: Form, prefix: str) -> Places:
        """The ascending places of the weights that stay by an N:M pattern."""
        shape, pattern, arrays = tuple(form["shape"]), stored_pattern(form), {}
        for name, rows, groups, width in pattern.layouts(shape):
            if 1 <= width <= WIDEST:
                layout = layout_of((rows, groups), width=width)
                codes = torch.from_numpy(self._packed(f"{prefix}{name}", [layout], _nothing))
                arrays[name] = pack_codes(codes, width=width)
            else:
                arrays[name] = stored(self._exchange.arrays, f"{prefix}{name}")
        return pattern.unpack(arrays, shape=shape).numpy()

    def _packed(self, name: str, layouts: Sequence[Layout], known: Known) -> Symbols:
        """Exchanges the codes in the array `name`."""
        width, count = layouts[0].width, sum(layout.count for layout in layouts)
        return self._exchange.symbols(
            Coded(
                [name],
                layouts,
                known,
                lambda symbols: {name: pack_codes(torch.from_numpy(symbols), width=width)},
                lambda arrays: _bytes(unpack_codes(arrays[name], width=width, count=count)),
            )
        )


def _groups(form: Form) -> int:
    """The number of groups of which a form keeps some. FormError where a part lacks the axis of its groups."""
    if any(part["axis"] >= len(part["shape"]) for part in form["parts"]):
        raise FormError(f"expected groups along an axis of their parts, got {str(form['parts'])[:80]}")
    groups: int = max(part["first"] + part["shape"][part["axis"]] for part in form["parts"])
    return groups


def _bytes(codes: Tensor) -> Symbols:
    return codes.numpy().astype(np.uint8)


def _check_count(layouts: Sequence[Layout], count: int) -> None:
    if sum(layout.count for layout in layouts) != count:
        raise FormError(f"expected symbols of {count} weights, got {sum(layout.count for layout in layouts)}")


def _outputs(kept: Symbols, layout: Layout) -> Symbols:
    """What is known of the outputs of a layer whose weights stay as `kept` says: the bits of the number that stay."""
    counts = kept.reshape(-1, layout.columns).sum(axis=1, dtype=np.int64)
    return np.array([count.bit_length() for count in counts.tolist()], np.uint8)


def _inputs(outputs: Symbols | None, layout: Layout) -> Symbols | None:
    """`outputs` of the layer before as what is known of the columns of `layout`; None where they do not fit."""
    if outputs is None or outputs.size < 2 or layout.columns % outputs.size:
        return None
    return np.repeat(outputs, layout.columns // outputs.size)
