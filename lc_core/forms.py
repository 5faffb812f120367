"""Packed arrays back to Theta. A stored form names one of a fixed set: loading runs no code that a file brings."""

from collections.abc import Mapping

from torch import Tensor

from lc_core.cast import Rounded
from lc_core.circulant import Circulated
from lc_core.combination import Summed
from lc_core.compression import Compressed, Dense, Form, unprefixed
from lc_core.cp import Kruskal
from lc_core.lowrank import Factored
from lc_core.pruning import Sparse
from lc_core.quantization import Quantized
from lc_core.structured import Grouped
from lc_core.tensors import Tucker
from lc_core.uniform import Uniform


def unpack(form: Form, arrays: Mapping[str, Tensor]) -> Compressed:
    """Theta from its `form()` and the arrays of its `pack()`.

    Raises:
        ValueError: the form is unknown, or the arrays do not fit it.
    """
    try:
        return _unpack(form, arrays)
    except (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, StopIteration, TypeError) as error:
        shown = str(form)[:80]
        raise ValueError(f"the arrays {sorted(arrays)[:9]} do not fit the form {shown}: {error}") from error


def _unpack(form: Form, arrays: Mapping[str, Tensor]) -> Compressed:
    def child(name: str) -> Compressed:
        return _unpack(form[name], unprefixed(name, arrays))

    match form["form"]:
        case "dense":
            return Dense.unpack(form, arrays)
        case "sparse":
            return Sparse.unpack(form, arrays, values=child("values"))
        case "codebook":
            return Quantized.unpack(form, arrays)
        case "uniform":
            return Uniform.unpack(form, arrays)
        case "cast":
            return Rounded.unpack(form, arrays)
        case "groups":
            values = [_unpack(part["values"], unprefixed(str(i), arrays)) for i, part in enumerate(form["parts"])]
            return Grouped.unpack(form, arrays, values=values)
        case "sum":
            terms = [_unpack(term, unprefixed(str(i), arrays)) for i, term in enumerate(form["terms"])]
            return Summed.unpack(form, terms=terms)
        case "factors":
            return Factored.unpack(form, arrays, left=child("left"), right=child("right"))
        case "tucker":
            return Tucker.unpack(form, core=child("core"), left=child("left"), right=child("right"))
        case "cp":
            factors = [_unpack(factor, unprefixed(str(i), arrays)) for i, factor in enumerate(form["factors"])]
            return Kruskal.unpack(form, factors=factors)
        case "circulant":
            return Circulated.unpack(form, vectors=child("vectors"))
        case other:
            raise ValueError(f"form: expected one that lc_core knows, got {other!r}")
