"""Replaces weights that are computed from other parameters, as with weight_norm, by plain ones."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
from torch.nn.utils.weight_norm import WeightNorm

from lc_core.parameters import parameter_name
from lc_core.training.modes import modes_kept

NAMES = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm", "_Orthogonal": "orthogonal"}
"""The classes of torch's parametrizations, and the functions that a user knows them by."""


def computed_weights(model: nn.Module) -> dict[str, str]:
    """Name of each weight of `model` that is computed from other parameters -> what computes it, as "weight_norm"."""
    return {
        parameter_name(name, kind): by
        for name, module in model.named_modules()
        for kind, by in (*_parametrized(module), *_hooked(module))
    }


@torch.no_grad()
def fold(model: nn.Module) -> dict[str, str]:
    """Makes each computed weight of `model` a parameter of its own, in place. Returns the `computed_weights`.

    It knows the parametrizations of torch (`torch.nn.utils.parametrize`: weight_norm, spectral_norm, orthogonal and the
    user's own), the older `torch.nn.utils.weight_norm` and `spectral_norm`, and the masks of `torch.nn.utils.prune`.
    The outputs in evaluation mode do not change. A weight trains if it trained before.
    """
    found = computed_weights(model)
    modules = list(model.modules()) if found else []
    with modes_kept(model):
        for module in modules:
            module.training = False  # in training mode spectral_norm moves with every read
        for module in modules:
            _fold_new(module)
            _fold_old(module)
    return found


def _parametrized(module: nn.Module) -> Iterator[tuple[str, str]]:
    if parametrize.is_parametrized(module):
        for kind, steps in module.parametrizations.items():  # type: ignore[union-attr, operator]
            classes = [type(step).__name__ for step in steps]
            yield kind, " and ".join(NAMES.get(name, name) for name in classes)


def _hooked(module: nn.Module) -> Iterator[tuple[str, str]]:
    for hook in module._forward_pre_hooks.values():
        match hook:
            case WeightNorm(name=kind):
                yield kind, "weight_norm"
            case SpectralNorm(name=kind):
                yield kind, "spectral_norm"
            case prune.BasePruningMethod(_tensor_name=kind):
                yield kind, "a mask of torch.nn.utils.prune"


def _fold_new(module: nn.Module) -> None:
    for kind, _ in list(_parametrized(module)):
        trains = any(parameter.requires_grad for parameter in module.parametrizations[kind].parameters(recurse=False))  # type: ignore[index, union-attr]
        parametrize.remove_parametrizations(module, kind, leave_parametrized=True)
        _settle(module, kind, trains=trains)


def _fold_old(module: nn.Module) -> None:
    for hook in list(module._forward_pre_hooks.values()):
        match hook:
            case WeightNorm(name=kind):
                trains = module.get_parameter(f"{kind}_v").requires_grad
                remove_weight_norm(module, kind)
            case SpectralNorm(name=kind):
                trains = module.get_parameter(f"{kind}_orig").requires_grad
                remove_spectral_norm(module, kind)
                _forget_loading(module, kind)
            case prune.BasePruningMethod(_tensor_name=kind):
                trains = module.get_parameter(f"{kind}_orig").requires_grad
                prune.remove(module, kind)
            case _:
                continue
        _settle(module, kind, trains=trains)


def _forget_loading(module: nn.Module, kind: str) -> None:
    """Removes the hook with which spectral_norm loads a state_dict. torch 2.13 wraps it, and then does not find it."""
    for key, hook in list(module._load_state_dict_pre_hooks.items()):
        loading = getattr(hook, "hook", hook)
        if isinstance(loading, SpectralNormLoadStateDictPreHook) and loading.fn.name == kind:
            del module._load_state_dict_pre_hooks[key]


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
