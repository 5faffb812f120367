"""Packed arrays back to Theta. A stored form names one of a fixed set: loading runs no code that a file brings."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from lc_core.compression import Compressed, Dense, Form, unprefixed
from lc_core.compressions.cast import Rounded
from lc_core.compressions.circulant import Circulated
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.pruning import Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.compressions.structured import Grouped
from lc_core.compressions.sums import Summed
from lc_core.compressions.tucker import Tucker
from lc_core.compressions.uniform import Uniform


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

    def numbered(forms: Sequence[Form]) -> list[Compressed]:
        return _of_one_type([_unpack(each, unprefixed(str(i), arrays)) for i, each in enumerate(forms)])

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
            values = numbered([part["values"] for part in form["parts"]])
            return Grouped.unpack(form, arrays, values=values)
        case "sum":
            return Summed.unpack(form, terms=numbered(form["terms"]))
        case "factors":
            left, right = _of_one_type([child("left"), child("right")])
            return Factored.unpack(form, arrays, left=left, right=right)
        case "tucker":
            core, left, right = _of_one_type([child("core"), child("left"), child("right")])
            return Tucker.unpack(form, core=core, left=left, right=right)
        case "cp":
            return Kruskal.unpack(form, factors=numbered(form["factors"]))
        case "circulant":
            return Circulated.unpack(form, vectors=child("vectors"))
        case other:
            raise ValueError(f"form: expected one that lc_core knows, got {other!r}")


def _of_one_type(parts: list[Compressed]) -> list[Compressed]:
    """`parts`, which go into one Theta. ValueError where their types differ."""
    found = {part.dtype for part in parts}
    if len(found) > 1:
        raise ValueError(f"expected parts of one type, got {sorted(map(str, found))}")
    return parts
