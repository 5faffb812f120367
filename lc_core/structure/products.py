"""Counts the multiply-accumulates that torch runs, by torch's flop counter, and names the operators that it misses."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

OWN_NAMESPACES = ("aten", "prim", "prims")
"""Operators of any other namespace are those of extensions, which nothing can count."""
MISSED = (
    *("_cudnn_rnn", "_grouped_mm", "_int_mm", "_native_multi_head_attention", "_sparse", "_thnn", "_weight_int"),
    *("_transformer_encoder_layer", "fft_", "_fft_", "grid_sampler", "linalg_", "_linalg", "cholesky", "miopen_rnn"),
    *("lu_", "mkldnn_", "triangular_solve"),
)
"""How the names of operators begin that multiply and accumulate, and that the counter does not know."""


@dataclass(eq=False)
class Products:
    """What ran while `counting`.

    Attributes:
        counter: torch's, of floating-point operations: two for each multiply-accumulate.
        uncounted: names of operators that it does not know and that multiply and accumulate.
    """

    counter: FlopCounterMode
    uncounted: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        """Multiply-accumulates of all that ran."""
        return self.counter.get_total_flops() // 2

    def within(self, root: str) -> dict[str, int]:
        """Name of a module -> the multiply-accumulates of its runs, with its children's.

        Args:
            root: name of the class of the model.
        """
        counts = {name.partition(f"{root}.")[2]: counts for name, counts in self.counter.get_flop_counts().items()}
        return {name: sum(each.values()) // 2 for name, each in counts.items() if name}


@contextlib.contextmanager
def counting() -> Iterator[Products]:
    """Counts what runs in its body on this thread, without gradients.

    Attention and recurrent layers run as the matrix products that they consist of, not as single fused operators that
    the counter does not know.
    """
    products = Products(FlopCounterMode(display=False, custom_mapping=FORMULAS))
    fast, onednn = (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.mkldnn.set_flags(False, _fp32_precision=None),
    )
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            torch.no_grad(),
            torch.backends.cudnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            products.counter,
            _Missed(products.uncounted),
        ):
            yield products
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.set_flags(onednn[0], _fp32_precision=None)


class _Missed(TorchDispatchMode):
    """Notes the names of the operators that multiply and accumulate, and that the counter does not know."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, _, name = str(getattr(func, "_name", func)).partition("::")
        kind = name.partition(".")[0]
        if namespace not in OWN_NAMESPACES or kind.startswith(MISSED):
            self._names.add(f"{namespace}::{kind}" if kind else namespace)
        return func(*args, **(kwargs or {}))


def _first(*shapes: Sequence[int], **_: Any) -> int:
    return 2 * math.prod(shapes[0])


def _second(*shapes: Sequence[int], **_: Any) -> int:
    return 2 * math.prod(shapes[1])


def _distances(*shapes: Sequence[int], **_: Any) -> int:
    return 2 * math.prod(shapes[0]) * shapes[1][-2]


def _trilinear(*given: Sequence[int], **_: Any) -> int:
    """One for each product of three: `nn.Bilinear` applies its whole weight to each example."""
    sizes: list[list[int]] = []
    for shape, places in zip(given[:3], given[3:6], strict=True):
        whole = list(shape)
        for place in sorted(places):
            whole.insert(place, 1)
        sizes.append(whole)
    broadcast: list[int] = [max(each) for each in zip(*sizes, strict=True)]
    return 2 * math.prod(broadcast)


FORMULAS = {
    torch.ops.aten.mv: _first,
    torch.ops.aten.addmv: _second,
    torch.ops.aten.dot: _first,
    torch.ops.aten.vdot: _first,
    torch.ops.aten._trilinear: _trilinear,
    torch.ops.aten._cdist_forward: _distances,
}
"""Floating-point operations of operators that torch's counter leaves out, by the shapes of their arguments."""
