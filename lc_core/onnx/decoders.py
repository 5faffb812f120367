"""ONNX nodes that decode the weights of a packed file."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from onnx import NodeProto, TensorProto, helper
from torch import Tensor

from lc_core.compression import Compressed, Dense, numel
from lc_core.compressions.cast import Rounded
from lc_core.compressions.circulant import Circulated
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.pruning import Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.compressions.separable import Separated
from lc_core.compressions.sums import Summed
from lc_core.compressions.tucker import Tucker
from lc_core.compressions.uniform import Uniform
from lc_core.numerics.packing import code_width, elias_fano_width, pack_codes, unpack_combinations
from lc_core.numerics.support import pack_support
from lc_core.onnx.functions import DOMAIN, aligned
from lc_core.structure.weights import Weight

DTYPES = {
    torch.float32: TensorProto.FLOAT,
    torch.float64: TensorProto.DOUBLE,
    torch.float16: TensorProto.FLOAT16,
    torch.bfloat16: TensorProto.BFLOAT16,
    torch.float8_e4m3fn: TensorProto.FLOAT8E4M3FN,
    torch.float8_e5m2: TensorProto.FLOAT8E5M2,
    torch.uint8: TensorProto.UINT8,
    torch.uint16: TensorProto.UINT16,
    torch.int32: TensorProto.INT32,
    torch.int64: TensorProto.INT64,
}
VALUE = "_"
"""The prefix of the names of intermediate values."""
LARGEST_TABLE = 1024
"""The largest table of the groups of an N:M pattern, in bytes. Above it the support is stored as a bitmap."""
Attributes = Mapping[str, int | str | Sequence[int]]


@dataclass(eq=False)
class Decoder:
    """Collects the nodes that decode the weights of one model. Its methods add to it and return names of values.

    Attributes:
        nodes: the nodes, in the order in which they run.
        initializers: name -> a constant.
        functions: names of the functions of `lc_core.onnx.functions` that the nodes call.
    """

    nodes: list[NodeProto] = field(default_factory=list)
    initializers: dict[str, TensorProto] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    _decoded: dict[int, str] = field(default_factory=dict)
    _constants: dict[bytes, str] = field(default_factory=dict)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def weight(self, name: str, weight: Weight) -> str:
        """The name of the value of `weight`. An uncompressed weight is an initializer called `name`."""
        if isinstance(weight.theta, Dense) or not numel(weight.shape):
            self.initializers[name] = tensor_proto(name, weight.tensor())
            return name
        known = self._decoded.get(id(weight.theta))
        if known is None:
            known = self._decoded[id(weight.theta)] = self._theta(weight.theta)
        value, shape = known, weight.theta.shape
        if weight.seen != shape:
            value = self._part(value, shape, first=weight.first, seen=weight.seen)
            shape = weight.seen
        if weight.order:
            value = self._op("Transpose", [value], {"perm": weight.order})
            shape = tuple(shape[axis] for axis in weight.order)
        for axis, picked in weight.picked.items():
            value = self._pick(value, shape, axis, picked)
            shape = (*shape[:axis], picked.numel(), *shape[axis + 1 :])
        return self._reshape(value, weight.shape) if shape != weight.shape else value

    def _theta(self, theta: Compressed) -> str:
        """The value Delta(Theta)."""
        match theta:
            case Dense(values=values):
                return self._constant(values)
            case Rounded(values=values, dtype=dtype):
                return self._op("Cast", [self._constant(values)], {"to": DTYPES[dtype]})
            case Quantized():
                return self._quantized(theta)
            case Uniform():
                return self._uniform(theta)
            case Sparse():
                return self._sparse(theta)
            case Summed(terms=terms):
                total, *others = [self._theta(term) for term in terms]
                for other in others:
                    total = self._op("Add", [total, other])
                return total
            case Factored():
                return self._factored(theta)
            case Tucker(core=core, left=left, right=right):
                factors = [self._theta(factor) for factor in (core, left, right)]
                along = "xyz"[: len(core.shape) - 2]
                return self._op("Einsum", factors, {"equation": f"st{along},ns,mt->nm{along}"})
            case Separated(shape=(n, m, *kernel), multiplier=r):
                filters = self._reshape(self._theta(theta.depthwise), (m, r, *kernel))
                weights = self._reshape(self._theta(theta.pointwise), (n, m, r))
                along = "xyz"[: len(kernel)]
                return self._op("Einsum", [weights, filters], {"equation": f"nmr,mr{along}->nm{along}"})
            case Kruskal(factors=factors):
                letters = "nmxyz"[: len(factors)]
                equation = ",".join(f"{letter}r" for letter in letters) + f"->{letters}"
                return self._op("Einsum", [self._theta(factor) for factor in factors], {"equation": equation})
            case Circulated():
                return self._circulated(theta)
        raise ValueError(f"ONNX: expected a form that lc_core knows, got {type(theta).__name__}")

    def _quantized(self, theta: Quantized) -> str:
        codes = self._codes(theta.pack()["codes"], width=code_width(theta.codebook.numel()), count=numel(theta.shape))
        flat = self._op("Gather", [self._constant(theta.codebook), codes])
        return self._reshape(flat, theta.shape)

    def _uniform(self, theta: Uniform) -> str:
        arrays = theta.pack()
        codes = self._codes(arrays["codes"], width=theta.bits, count=numel(theta.shape))
        channels = (theta.scale.numel(), *[1] * (len(theta.shape) - 1))
        seen = channels if theta.scale.numel() > 1 else (1,)
        steps = self._op("Cast", [self._reshape(codes, theta.shape)], {"to": DTYPES[theta.dtype]})
        zero = theta.zero if theta.zero is not None else torch.tensor([(1 << theta.bits - 1) - 1], dtype=torch.uint8)
        zeros = self._op("Cast", [self._constant(zero)], {"to": DTYPES[theta.dtype]})
        if zero.numel() > 1:
            zeros = self._reshape(zeros, channels)
        moved = self._op("Sub", [steps, zeros])
        return self._op("Mul", [moved, self._constant(theta.scale.reshape(seen))])

    def _sparse(self, theta: Sparse) -> str:
        count, size = theta.support.numel(), numel(theta.shape)
        if not count:
            return self._constant(torch.zeros(1, dtype=theta.dtype), expanded=theta.shape)
        values = self._theta(theta.values)
        if theta.pattern is not None and (bits := self._pattern_bits(theta)) is not None:
            return self._call("Bitmap", [bits, values], {"shape": theta.shape})
        index = pack_support(theta.support, universe=size)
        if "bitmap" in index:
            bits = self._call("Bits", [self._constant(index["bitmap"])], {"count": [size]})
            return self._call("Bitmap", [bits, values], {"shape": theta.shape})
        places = self._elias_fano(index["low"], index["high"], count=count, universe=size)
        return self._call("Scatter", [places, values], {"size": [size], "shape": theta.shape})

    def _elias_fano(self, low: Tensor, high: Tensor, *, count: int, universe: int) -> str:
        bits = self._call("Bits", [self._constant(high)], {"count": [8 * high.numel()]})
        highs = self._call("Unary", [bits], {"slots": [count + 1]})
        width = elias_fano_width(count, universe)
        if not width:
            return highs
        lows = self._op("Cast", [self._codes(low, width=width, count=count)], {"to": TensorProto.INT64})
        shifted = self._op("Mul", [highs, self._constant(torch.tensor([1 << width]))])
        return self._op("Add", [shifted, lows])

    def _pattern_bits(self, theta: Sparse) -> str | None:
        """The support as bits, decoded from a code for each group; None where a table of the groups is too large."""
        assert theta.pattern is not None
        (n, m), (outputs, inputs, *kernel) = (theta.pattern.n, theta.pattern.m), theta.shape
        groups = math.comb(m, n)
        if inputs % m or groups * m > LARGEST_TABLE:
            return None
        ranks = pack_codes(torch.arange(groups), width=code_width(groups))
        table = unpack_combinations(ranks, groups=groups, size=m, count=n).to(torch.uint8)
        packed = theta.pattern.pack(theta.support, shape=theta.shape)["groups"]
        codes = self._codes(packed, width=code_width(groups), count=numel(theta.shape) // m)
        bits = self._reshape(self._op("Gather", [self._constant(table), codes]), (outputs, *kernel, inputs))
        if kernel:
            bits = self._op("Transpose", [bits], {"perm": [0, len(kernel) + 1, *range(1, len(kernel) + 1)]})
        return self._reshape(bits, (-1,))

    def _factored(self, theta: Factored) -> str:
        matrix = self._op("MatMul", [self._theta(theta.left), self._theta(theta.right)])
        if theta.scheme == "channel":
            return self._reshape(matrix, theta.shape) if len(theta.shape) > 2 else matrix
        n, m, height, width = theta.shape
        return self._op("Transpose", [self._reshape(matrix, (n, height, m, width))], {"perm": [0, 2, 1, 3]})

    def _circulated(self, theta: Circulated) -> str:
        (n, m, *kernel), block = theta.shape, theta.block
        rows, columns = theta.vectors.shape[:2]
        down = self._constant(torch.arange(block, dtype=torch.int32).reshape(-1, 1))
        across = self._constant(torch.arange(block, dtype=torch.int32))
        places = self._op("Mod", [self._op("Sub", [down, across]), self._constant(torch.tensor([block]).int())])
        axis = len(kernel) + 2
        blocks = self._op("Gather", [self._theta(theta.vectors), places], {"axis": axis})
        ordered = self._op("Transpose", [blocks], {"perm": [0, axis, 1, axis + 1, *range(2, axis)]})
        value = self._reshape(ordered, (rows * block, columns * block, *kernel))
        if (rows * block, columns * block) == (n, m):
            return value
        ends = [self._constant(torch.tensor(each)) for each in ([0, 0], [n, m], [0, 1])]
        return self._op("Slice", [value, *ends])

    def _codes(self, packed: Tensor, *, width: int, count: int) -> str:
        """Codes of `lc_core.numerics.packing.pack_codes`, int32 (count,)."""
        if not width:
            return self._constant(torch.zeros(1, dtype=torch.int32), expanded=(count,))
        attributes = {"count": [count]} if aligned(width) else {"bits": [count * width]}
        return self._call(f"Codes{width}", [self._constant(packed)], attributes)

    def _part(self, value: str, shape: tuple[int, ...], *, first: int, seen: tuple[int, ...]) -> str:
        """From the entry `first` on, flat, as many as `seen` has, in that shape."""
        if numel(seen) < numel(shape):
            flat = value if len(shape) == 1 else self._reshape(value, (-1,))
            ends = [self._constant(torch.tensor([each])) for each in (first, first + numel(seen))]
            value = self._op("Slice", [flat, *ends])
        return self._reshape(value, seen)

    def _pick(self, value: str, shape: tuple[int, ...], axis: int, picked: Tensor) -> str:
        """The slices `picked` along `axis`, with zeros for -1."""
        size = shape[axis]
        if bool((picked < 0).any()):
            pads = torch.zeros(2 * len(shape), dtype=torch.int64)
            pads[len(shape) + axis] = 1
            value = self._op("Pad", [value, self._constant(pads)])
        stored = next(dtype for dtype in (torch.uint8, torch.uint16, torch.int32) if size <= torch.iinfo(dtype).max)
        places = self._op("Cast", [self._constant((picked % (size + 1)).to(stored))], {"to": TensorProto.INT32})
        return self._op("Gather", [value, places], {"axis": axis})

    def _reshape(self, value: str, shape: Sequence[int]) -> str:
        return self._op("Reshape", [value, self._constant(torch.tensor(shape, dtype=torch.int64))])

    def _constant(self, values: Tensor, *, expanded: tuple[int, ...] | None = None) -> str:
        """An initializer of `values`, shared by equal tensors; repeated over the shape `expanded`."""
        if expanded is not None:
            return self._op("Expand", [self._constant(values), self._constant(torch.tensor(expanded))])
        proto = tensor_proto("", values)
        key = proto.SerializeToString()
        if key not in self._constants:
            proto.name = self._constants[key] = self._name()
            self.initializers[proto.name] = proto
        return self._constants[key]

    def _call(self, function: str, inputs: Sequence[str], attributes: Attributes) -> str:
        self.functions.add(function)
        return self._op(function, inputs, attributes, domain=DOMAIN)

    def _op(self, kind: str, inputs: Sequence[str], attributes: Attributes | None = None, *, domain: str = "") -> str:
        name = self._name()
        node = helper.make_node(kind, inputs, [name], domain=domain or None)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in (attributes or {}).items())
        self.nodes.append(node)
        return name

    def _name(self) -> str:
        return f"{VALUE}{next(self._numbers)}"


def tensor_proto(name: str, values: Tensor) -> TensorProto:
    """A constant of `values`. Denormal numbers become zero, since they slow a processor down."""
    flat = values.detach().cpu().contiguous()
    if flat.dtype in (torch.float32, torch.float64):
        flat = torch.where(flat.abs() < torch.finfo(flat.dtype).tiny, 0.0, flat)
    proto = TensorProto(name=name, data_type=DTYPES[flat.dtype], dims=list(flat.shape))
    proto.raw_data = flat.reshape(-1).view(torch.uint8).numpy().tobytes()
    return proto
