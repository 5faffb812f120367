"""Follows the channels of a model through its graph."""

import operator
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn
from torch.fx import Node
from torch.nn import functional as F

from lc_core.graph import LAYERS, NORMS
from lc_core.structure.channels import Channels, Follower, Mixer, layer_constants, norm_constants
from lc_core.structure.tracing import Traced
from lc_core.training.nest import cloned

SAME = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
"""In evaluation mode these return their input."""
ACTIVATIONS = (
    *(nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid),
    *(nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh),
)
"""NaN passes through each of them, and through the functions below: unknown values stay unknown."""
POOLS = {
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveMaxPool1d, nn.AvgPool1d, nn.MaxPool1d), 1),
    **dict.fromkeys((nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AvgPool2d, nn.MaxPool2d), 2),
    **dict.fromkeys((nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d, nn.AvgPool3d, nn.MaxPool3d), 3),
}
"""Pooling layer -> the number of dimensions that it pools over."""
ELEMENTWISE_FUNCTIONS = {
    *("add", "clamp", "clone", "contiguous", "div", "dropout", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh"),
    *("leaky_relu", "mish", "mul", "neg", "relu", "relu6", "round", "selu", "sigmoid", "silu", "softplus", "sub"),
    *("tanh", "truediv"),
}
POOL_FUNCTIONS = {f"{kind}_pool{n}d": n for kind in ("adaptive_avg", "adaptive_max", "avg", "max") for n in (1, 2, 3)}


class Flow(torch.fx.Interpreter):
    """Follows the channels through a traced model in evaluation mode, by running it once.

    Operations that it does not know keep all channels that they read: the slots of these are `pinned`.

    Attributes:
        mixers: layers, in the order in which they run.
        followers: depthwise convolutions and batch norms, in the order in which they run.
        pinned: slots that must stay.
    """

    def __init__(self, traced: Traced) -> None:
        super().__init__(traced.graph)
        self.mixers: list[Mixer] = []
        self.followers: list[Follower] = []
        self.pinned: list[int] = []
        self._channels: dict[Node, Channels] = {}
        self._parents: list[int] = []
        self._uses = _count_uses(traced.graph)
        with torch.no_grad():
            self.run(*cloned(traced.given), enable_io_processing=False)  # a model may write into its inputs

    def classes(self) -> Tensor:
        """(slots,) int64: slots with the same number are removed together. The number is one of these slots."""
        return torch.tensor([self._root(slot) for slot in range(len(self._parents))], dtype=torch.int64)

    def run_node(self, n: Node) -> Any:
        """Runs the node and records the channels of its result."""
        result = super().run_node(n)
        known = self._follow(n, result) if isinstance(result, Tensor) else None
        if known is not None:
            self._channels[n] = known
        elif not self._asks_other_sizes(n):
            for node in n.all_input_nodes:
                self._pin(node)
        if len(n.users) > 1 and any(_writes_into_input(user, self.submodules) for user in n.users):
            self._pin(n)  # its other users may read the written values
            self._channels.pop(n, None)
        return result

    def _follow(self, node: Node, result: Tensor) -> Channels | None:
        """The channels of the node's result; None for unknown operations."""
        match node.op, node.target:
            case "call_module", str() as name:
                return self._follow_module(name, node, result)
            case "call_method", str() as name:
                return self._follow_function(name, node, result)
            case "call_function", function:
                name = getattr(function, "__name__", "")
                if function in [getattr(place, name, None) for place in (torch, F, operator)]:
                    return self._follow_function(name, node, result)
        return None

    def _follow_module(self, name: str, node: Node, result: Tensor) -> Channels | None:
        module, taken = self.submodules[name], node.args[0] if len(node.args) == 1 else None
        if not isinstance(taken, Node) or node.kwargs or module._forward_hooks or module._forward_pre_hooks:
            return None
        if any(self._uses[id(tensor)] > 1 for tensor in (*module.parameters(), *module.buffers())):
            return None
        kind = type(module)  # a subclass may compute something else
        if kind in LAYERS:
            return self._follow_layer(name, module, taken, result)
        if kind in NORMS:
            return self._follow_norm(module, taken)
        if kind in (*SAME, *ACTIVATIONS):
            return self._follow_elementwise(module, node, result)
        if kind in POOLS:
            return self._follow_pool(taken, dims=POOLS[kind])
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            return self._follow_flatten(taken, result)
        return None

    def _follow_function(self, name: str, node: Node, result: Tensor) -> Channels | None:
        taken, *rest = node.args or (None,)
        if name.rstrip("_") in ELEMENTWISE_FUNCTIONS:
            return self._follow_elementwise(node.target, node, result)
        if name == "cat":
            return self._follow_cat(taken, rest[0] if rest else node.kwargs.get("dim", 0), result)
        if not isinstance(taken, Node):
            return None
        if name in POOL_FUNCTIONS:
            return self._follow_pool(taken, dims=POOL_FUNCTIONS[name])
        if name == "mean":
            return self._follow_mean(taken, rest[0] if rest else node.kwargs.get("dim"))
        if name == "flatten" and [*rest, *node.kwargs.values()] in ([1], [1, -1]):
            return self._follow_flatten(taken, result)
        if name in ("view", "reshape") and len(rest) == 2 and rest[0] != -1 and rest[1] == -1:
            return self._follow_flatten(taken, result)
        return None

    def _follow_layer(self, name: str, layer: Any, taken: Node, result: Tensor) -> Channels | None:
        outputs, inputs = layer.weight.shape[:2]
        if isinstance(layer, nn.Linear) or (layer.groups == 1 and result.ndim == layer.weight.ndim):
            dim = result.ndim - 1 if isinstance(layer, nn.Linear) else 1
            known = self._input(taken, dim=dim, size=inputs, like=layer.weight)
            given = Channels(dim, self._fresh(outputs), layer_constants(layer, known.values[None]))
            self.mixers.append(Mixer(name, layer, known, given))
            return given
        if layer.groups == layer.in_channels and result.ndim == layer.weight.ndim:
            known, each = self._input(taken, dim=1, size=layer.groups, like=layer.weight), outputs // layer.groups
            values = layer_constants(layer, known.values.repeat_interleave(each)[:, None])
            given = Channels(1, known.slots.repeat_interleave(each), values)
            self.followers.append(Follower(layer, known, given))
            return given
        return None

    def _follow_norm(self, norm: Any, taken: Node) -> Channels | None:
        if norm.running_mean is None:
            return None
        known = self._input(taken, dim=1, size=norm.num_features, like=norm.running_mean)
        given = Channels(1, known.slots, norm_constants(norm, known.values))
        self.followers.append(Follower(norm, known, given))
        return given

    def _follow_elementwise(self, function: Any, node: Node, result: Tensor) -> Channels | None:
        tensors = [each for each in node.all_input_nodes if isinstance(self.env[each], Tensor) and self.env[each].ndim]
        known = [self._channels[each] for each in tensors if each in self._channels]
        if not known or any(self.env[each].ndim != result.ndim for each in tensors):
            return None
        dim, size = known[0].dim, len(known[0].slots)
        if any(self.env[each].shape[dim] != size for each in tensors):
            return None
        operands = {each: self._input(each, dim=dim, size=size, like=known[0].values) for each in tensors}
        first, *others = operands.values()
        for other in others:
            self._join(first.slots, other.slots)

        def constant(each: Node) -> Any:
            return operands[each].values.clone() if each in operands else self.env[each]

        if isinstance(function, SAME):
            return first
        args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), constant)
        given = getattr(torch.Tensor, function) if isinstance(function, str) else function
        return Channels(dim, first.slots, given(*args, **kwargs))

    def _follow_pool(self, taken: Node, *, dims: int) -> Channels | None:
        """Channels after pooling over the last `dims` dimensions. Borders and divisors can change a constant, but not
        0."""
        known = self._channels.get(taken)
        if known is None or known.dim != 1 or self.env[taken].ndim != dims + 2:
            return None
        return Channels(1, known.slots, known.values.masked_fill(known.values != 0, torch.nan))

    def _follow_mean(self, taken: Node, over: Any) -> Channels | None:
        known, rank = self._channels.get(taken), self.env[taken].ndim
        dims = [over] if isinstance(over, int) else over
        if known is None or not isinstance(dims, list | tuple) or not dims:
            return None
        return known if all(isinstance(dim, int) and dim % rank > known.dim for dim in dims) else None

    def _follow_flatten(self, taken: Node, result: Tensor) -> Channels | None:
        """Channels after joining all dimensions but the batch."""
        known = self._channels.get(taken)
        if known is None or known.dim != 1 or result.ndim != 2 or len(result) != len(self.env[taken]):
            return None
        times = result.shape[1] // len(known.slots)
        return Channels(1, known.slots.repeat_interleave(times), known.values.repeat_interleave(times))

    def _follow_cat(self, parts: Any, dim: Any, result: Tensor) -> Channels | None:
        if not isinstance(parts, list | tuple) or not isinstance(dim, int):
            return None
        known, dim = [self._channels[part] for part in parts if part in self._channels], dim % result.ndim
        if not known:
            return None
        sizes, like = [self.env[part].shape[dim] for part in parts], known[0].values
        each = [self._input(part, dim=dim, size=size, like=like) for part, size in zip(parts, sizes, strict=True)]
        return Channels(dim, torch.cat([part.slots for part in each]), torch.cat([part.values for part in each]))

    def _asks_other_sizes(self, node: Node) -> bool:
        """Whether the node reads only sizes of a tensor other than its number of channels."""
        taken = node.args[0] if node.args else None
        if not isinstance(taken, Node) or taken not in self._channels:
            return False
        if node.target == "size" and len(node.args) == 2:
            wanted = [node.args[1]]
        elif node.target == "size" or (node.target is getattr and node.args[1] == "shape"):
            wanted = [user.args[1] if user.target is operator.getitem else None for user in node.users if user.users]
        else:
            return False
        rank, dim = self.env[taken].ndim, self._channels[taken].dim
        return all(isinstance(index, int) and index % rank != dim for index in wanted)

    def _input(self, node: Node, *, dim: int, size: int, like: Tensor) -> Channels:
        """The channels of `node` along `dim`. Where they are not known, new ones that must stay."""
        known = self._channels.get(node)
        if known is not None and known.dim == dim and len(known.slots) == size:
            return Channels(dim, known.slots, known.values.to(like))
        self._pin(node)
        slots = self._fresh(size)
        self.pinned += slots.tolist()
        return Channels(dim, slots, like.detach().new_full((size,), torch.nan))

    def _fresh(self, count: int) -> Tensor:
        slots = range(len(self._parents), len(self._parents) + count)
        self._parents += slots
        return torch.tensor(slots, dtype=torch.int64)

    def _pin(self, node: Node) -> None:
        if node in self._channels:
            self.pinned += self._channels[node].slots.tolist()

    def _join(self, first: Tensor, second: Tensor) -> None:
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            self._parents[self._root(b)] = self._root(a)

    def _root(self, slot: int) -> int:
        while self._parents[slot] != slot:
            self._parents[slot] = self._parents[self._parents[slot]]
            slot = self._parents[slot]
        return slot


def _count_uses(traced: torch.fx.GraphModule) -> Counter[int]:
    """Identity of a parameter or buffer -> how often the graph uses it."""
    uses: Counter[int] = Counter()
    for node in traced.graph.nodes:
        if node.op == "call_module":
            module = traced.get_submodule(node.target)
            uses.update(id(tensor) for tensor in (*module.parameters(), *module.buffers()))
        elif node.op == "get_attr":
            uses[id(operator.attrgetter(node.target)(traced))] += 1
    return uses


def _writes_into_input(node: Node, modules: Mapping[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return name.endswith("_") or bool(node.kwargs.get("inplace"))
