"""Which layers can lose output channels."""

from collections import Counter

from torch import fx, nn

from lc_core.graph import LAYERS, NORMS, TraceError, trace
from lc_core.structure.flow import ACTIVATIONS, ELEMENTWISE_FUNCTIONS, POOL_FUNCTIONS, POOLS, SAME

FEW_CHANNELS = 4
"""A layer with fewer channels loses none."""
PASSES = (*NORMS, *SAME, *ACTIVATIONS, *POOLS, nn.Flatten)
PASSES_FUNCTIONS = ELEMENTWISE_FUNCTIONS | set(POOL_FUNCTIONS) | {"flatten", "mean"}
"""What hands each channel on by itself: one that is cut from its input is missing in its output, and nothing else."""


def cuttable(model: nn.Module) -> list[str]:
    """The layers whose output channels other layers alone read; none where torch.fx cannot trace the model."""
    try:
        graph = trace(model).graph
    except TraceError:
        return []
    modules = dict(model.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    return [
        str(node.target)
        for node in calls
        if times[node.target] == 1
        and _mixes(layer := modules[str(node.target)])
        and layer.weight.shape[0] >= FEW_CHANNELS
        and _goes_to_layers(node, modules)
    ]


def _goes_to_layers(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether every way from the node leads through what hands channels on to a layer that mixes them."""
    return bool(node.users) and all(
        _mixes_node(user, modules) or (_hands_on(user, modules) and _goes_to_layers(user, modules))
        for user in node.users
    )


def _mixes_node(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    return node.op == "call_module" and _mixes(modules[str(node.target)])


def _mixes(module: nn.Module) -> bool:
    """Whether it is a layer in which each output reads all inputs."""
    return isinstance(module, LAYERS) and getattr(module, "groups", 1) == 1


def _hands_on(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if len(node.all_input_nodes) != 1:
        return False
    if node.op == "call_module":
        module = modules[str(node.target)]
        depthwise = isinstance(module, LAYERS) and getattr(module, "groups", 1) == module.weight.shape[0]
        return depthwise or isinstance(module, PASSES)
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return node.op in ("call_function", "call_method") and name.rstrip("_") in PASSES_FUNCTIONS
