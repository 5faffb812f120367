"""Replaces weights that are computed from other parameters, as with weight_norm, by plain ones."""

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from lc_core.parameters import parameter_name


@torch.no_grad()
def fold(model: nn.Module) -> list[str]:
    """Makes each computed weight of `model` a parameter of its own, in place. Returns the names of these parameters.

    It knows the parametrizations of torch (`torch.nn.utils.parametrize`: weight_norm, spectral_norm, orthogonal and the
    user's own), the older `torch.nn.utils.weight_norm` and `spectral_norm`, and the masks of `torch.nn.utils.prune`.
    The outputs in evaluation mode do not change. A weight trains if it trained before.
    """
    found: list[str] = []
    for name, module in model.named_modules():
        training = module.training
        module.eval()  # in training mode spectral_norm moves with every read
        found += [parameter_name(name, kind) for kind in (*_fold_new(module), *_fold_old(module))]
        module.train(training)
    return found


def _fold_new(module: nn.Module) -> list[str]:
    if not parametrize.is_parametrized(module):
        return []
    kinds = list(module.parametrizations)  # type: ignore[arg-type]
    for kind in kinds:
        trains = any(parameter.requires_grad for parameter in module.parametrizations[kind].parameters(recurse=False))  # type: ignore[index, union-attr]
        parametrize.remove_parametrizations(module, kind, leave_parametrized=True)
        _settle(module, kind, trains=trains)
    return kinds


def _fold_old(module: nn.Module) -> list[str]:
    kinds: list[str] = []
    for hook in list(module._forward_pre_hooks.values()):
        match hook:
            case WeightNorm(name=kind):
                trains = module.get_parameter(f"{kind}_v").requires_grad
                remove_weight_norm(module, kind)
            case SpectralNorm(name=kind):
                trains = module.get_parameter(f"{kind}_orig").requires_grad
                remove_spectral_norm(module, kind)
            case prune.BasePruningMethod(_tensor_name=kind):
                trains = module.get_parameter(f"{kind}_orig").requires_grad
                prune.remove(module, kind)
            case _:
                continue
        _settle(module, kind, trains=trains)
        kinds.append(kind)
    return kinds


def _settle(module: nn.Module, kind: str, *, trains: bool) -> None:
    """Makes the tensor `kind` a parameter with memory of its own."""
    values = getattr(module, kind).detach().clone()
    if kind not in module._parameters:
        delattr(module, kind)
        module.register_parameter(kind, nn.Parameter(values, requires_grad=trains))
    else:
        parameter = module.get_parameter(kind)
        parameter.data, parameter.grad = values, None
        parameter.requires_grad_(trains)
    if isinstance(module, nn.RNNBase):
        module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]
