"""Folding of computed weights: the same outputs, plain parameters, and their names."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm

from lc_core import Codebook, fold, plan_tasks
from lc_core.parameters import frozen
from tests.lc_core.models import mlp, randn, seeded


class Positive(nn.Module):
    """A parametrization of the user's own."""

    def forward(self, w):
        return w.exp()


def old_weight_norm(layer, name="weight"):
    return nn.utils.weight_norm(layer, name)


def old_spectral_norm(layer, name="weight"):
    return nn.utils.spectral_norm(layer, name)


def pruned(layer, name="weight"):
    return prune.l1_unstructured(layer, name, 0.4)


def positive(layer, name="weight"):
    return parametrize.register_parametrization(layer, name, Positive())


def doubly(layer, name="weight"):
    return positive(weight_norm(layer, name), name)


KINDS = [weight_norm, spectral_norm, orthogonal, positive, doubly, old_weight_norm, old_spectral_norm, pruned]
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("training", [True, False])
def test_the_outputs_stay_and_the_weights_are_plain(kind, training):
    model = seeded(lambda: nn.Sequential(kind(nn.Conv2d(2, 4, 3)), nn.Flatten(), kind(nn.Linear(64, 5))), seed=3)
    inputs = randn(3, 2, 6, 6)
    model.train()
    model(inputs)
    with torch.no_grad():
        expected = model.eval()(inputs)
    model.train(training)
    assert list(fold(model)) == ["0.weight", "2.weight"]
    model.load_state_dict(model.state_dict())
    assert model.training == model[0].training == training
    assert model.state_dict().keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert frozen(model) == []
    assert not model[0]._forward_pre_hooks
    assert not parametrize.is_parametrized(model)
    torch.testing.assert_close(model.eval()(inputs), expected, rtol=1e-5, atol=1e-6)
    model(inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert len(plan_tasks(model, {"*": Codebook(size=2)})) == 2
    assert fold(model) == {}


@pytest.mark.parametrize("kind", [weight_norm, old_weight_norm], ids=lambda kind: kind.__name__)
def test_a_recurrent_layer_runs_with_the_weights_that_it_shows(kind):
    model = seeded(lambda: kind(nn.LSTM(3, 4), "weight_hh_l0"), seed=3)
    inputs = randn(5, 2, 3)
    expected = model(inputs)[0].detach()
    assert fold(model) == {"weight_hh_l0": "weight_norm"}
    torch.testing.assert_close(model(inputs)[0], expected)
    with torch.no_grad():
        model.weight_hh_l0.zero_()
    assert not torch.allclose(model(inputs)[0], expected)
    model(inputs)[0].sum().backward()
    assert model.weight_hh_l0.grad is not None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_frozen_weight_stays_frozen(kind):
    model = nn.Sequential(kind(nn.Linear(6, 4)), nn.Linear(4, 2))
    model[0].requires_grad_(requires_grad=False)
    fold(model)
    assert frozen(model) == ["0.bias", "0.weight"] or frozen(model) == ["0.weight", "0.bias"]


def test_a_plain_model_stays_as_it_is():
    model = mlp()
    before = dict(model.named_parameters())
    assert fold(model) == {}
    assert all(before[name] is parameter for name, parameter in model.named_parameters())
