"""The parameters of a model: which of them are weights that can be compressed, which are tied, which are frozen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

ONE_WEIGHT = (
    *(nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag),
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
)
"""The layers whose one weight can be compressed. A plan names the layer."""
PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""The weights of `nn.MultiheadAttention` besides its output projection, which is a linear layer of its own."""
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
"""The types of the weights that can be compressed."""


@dataclass(frozen=True, eq=False)
class ModelWeight:
    """A parameter that a pattern of a plan can match.

    Attributes:
        name: the parameter's full name, the first of those that it has.
        parameter: the parameter.
        layers: the names of the modules that hold it; several where it is tied.
        labels: what a pattern is compared with: the name of a layer of one weight; of a layer of several weights, the
            full name of the weight and the name of the layer.
    """

    name: str
    parameter: nn.Parameter
    layers: tuple[str, ...]
    labels: tuple[str, ...]

    def matches(self, pattern: str) -> bool:
        """Whether `pattern` is a glob that matches a label, or the parameter's full name."""
        return pattern == self.name or any(fnmatchcase(label, pattern) for label in self.labels)


def parameter_name(module: str, kind: str) -> str:
    """The full name of parameter `kind` of `module`: "fc1.weight", or "weight" where the module is the model itself."""
    return f"{module}.{kind}" if module else kind


def weights_of(model: nn.Module) -> dict[str, ModelWeight]:
    """The weights of all layers that can be compressed, by full name. A tied weight is there once.

    Raises:
        ValueError: a weight is computed from other parameters, as with weight_norm, or has no values.
    """
    first = first_names(model)
    found: dict[str, ModelWeight] = {}
    for layer, module in model.named_modules(remove_duplicate=False):
        for kind, labels in _labels(layer, module):
            weight = module._parameters.get(kind)
            if weight is None:
                raise ValueError(
                    f"{parameter_name(layer, kind)}: expected a parameter, got a tensor that others give, as with "
                    "weight_norm; call lc_core.fold(model) first"
                )
            name = first[parameter_name(layer, kind)]
            if not weight.numel():
                raise ValueError(f"{name}: expected weights, got none: shape {tuple(weight.shape)}")
            if weight.dtype in DTYPES:
                before = found.get(name, ModelWeight(name, weight, (), ()))
                found[name] = ModelWeight(name, weight, (*before.layers, layer), (*before.labels, *labels))
    return found


def named_weight(model: nn.Module, name: str) -> ModelWeight | None:
    """The parameter of this full name, whatever its layer; None where there is none that can be compressed."""
    parameter = dict(model.named_parameters(remove_duplicate=False)).get(name)
    if parameter is None or parameter.dtype not in DTYPES or not parameter.numel():
        return None
    return ModelWeight(first_names(model)[name], parameter, (name.rpartition(".")[0],), (name,))


def first_names(model: nn.Module) -> dict[str, str]:
    """Name of a parameter or buffer -> the first of the names that it has in `model`; itself where it is not tied."""
    first: dict[int, str] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in named}


def tied_names(model: nn.Module) -> dict[str, str]:
    """Each further name of a tied parameter or buffer of `model` -> its first name; empty where nothing is tied."""
    return {name: first for name, first in first_names(model).items() if name != first}


def frozen(model: nn.Module) -> list[str]:
    """The names of the parameters that do not train (requires_grad is False). A glob of a plan leaves them out."""
    return [name for name, parameter in model.named_parameters() if not parameter.requires_grad]


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Writes `weights` into `model`. A tied tensor has the value of its first name. RuntimeError as load_state_dict."""
    tied = {name: weights[first] for name, first in tied_names(model).items() if first in weights}
    model.load_state_dict({**weights, **tied})


def _labels(layer: str, module: nn.Module) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The weights of `module` by their names in it, each with its labels."""
    if isinstance(module, ONE_WEIGHT):
        yield "weight", (layer,)
        return
    kinds: list[str] = []
    if isinstance(module, nn.RNNBase):
        kinds = [kind for each in module._all_weights for kind in each if kind.startswith("weight")]
    elif isinstance(module, nn.RNNCellBase):
        kinds = ["weight_ih", "weight_hh"]
    elif isinstance(module, nn.MultiheadAttention):
        kinds = [kind for kind in PROJECTIONS if getattr(module, kind, None) is not None]
    yield from ((kind, (parameter_name(layer, kind), layer)) for kind in kinds)
