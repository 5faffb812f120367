"""Packed arrays back to Theta. A stored form names one of a fixed set: loading runs no code that a file brings."""

from collections.abc import Mapping

from torch import Tensor

from lc_core.compression import Compressed, Dense, Form, unprefixed
from lc_core.lowrank import Factored
from lc_core.pruning import Sparse
from lc_core.quantization import Quantized


def unpack(form: Form, arrays: Mapping[str, Tensor]) -> Compressed:
    """Theta from its `form()` and the arrays of its `pack()`.

    Raises:
        ValueError: the form is unknown, or the arrays do not fit it.
    """
    try:
        return _unpack(form, arrays)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        raise ValueError(f"the arrays {sorted(arrays)} do not fit the form {form}: {error}") from error


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
        case "factors":
            return Factored.unpack(form, arrays, left=child("left"), right=child("right"))
        case other:
            raise ValueError(f"form: expected dense, sparse, codebook or factors, got {other!r}")
