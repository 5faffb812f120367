"""The content of a compressed model's layers, against its own numbers."""

import json

import pytest
import torch
from torch import nn

from lc_core import CP, Chain, Codebook, GroupPruning, Joint, L0Pruning, LowRank, Separable, Sum, Tucker2
from lc_core.structure.contents import BINS, LARGEST_CODEBOOK, layer_contents
from tests.lc_core.models import compressed, conv_net, mlp, seeded


def of(model, plan):
    """The layers by name, and Delta(Theta) by name."""
    tasks, thetas = compressed(model, plan)
    governed = [task.governed for task in tasks]
    found = layer_contents(governed, thetas, model.state_dict())
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    deltas = {}
    for each, theta in zip(governed, thetas, strict=True):
        deltas |= each.scatter(theta.decompress())
    return {layer["name"]: layer for layer in found}, deltas, thetas


def test_what_is_kept_and_which_values_there_are_are_those_of_the_weights():
    layers, deltas, thetas = of(mlp(), {"*": Joint(Chain(L0Pruning(keep=0.4), Codebook(size=3)))})
    assert list(layers) == ["0.weight", "2.weight"]
    for name, delta in deltas.items():
        layer = layers[name]
        assert layer["shape"] == list(delta.shape)
        assert layer["kept"] == int((delta != 0).sum())
        values, times = delta.unique(return_counts=True)
        assert [pair[1] for pair in layer["values"]] == times.tolist()
        assert [pair[0] for pair in layer["values"]] == pytest.approx(values.tolist(), rel=1e-5)
        assert layer["bits"] == pytest.approx(thetas[0].storage_bits() / (48 + 24), rel=1e-5)  # both share one Theta
        assert layer["ranks"] == []


def test_a_layer_of_many_values_has_no_codebook():
    wide = seeded(lambda: nn.Linear(40, 40), seed=1)
    assert of(wide, {"*": L0Pruning(keep=0.9)})[0]["weight"]["values"] == []
    assert len(of(wide, {"*": Codebook(size=LARGEST_CODEBOOK)})[0]["weight"]["values"]) == LARGEST_CODEBOOK
    # The first entries alone have few values here.
    late = nn.Linear(40, 60, bias=False)
    with torch.no_grad():
        late.weight.copy_(torch.arange(2400.0).clamp(min=1200).reshape(60, 40))
    assert of(late, {"*": L0Pruning(keep=1.0)})[0]["weight"]["values"] == []


def test_ranks_are_those_of_the_factors():
    assert of(mlp(), {"0": LowRank(2)})[0]["0.weight"]["ranks"] == [2]
    assert of(mlp(), {"0": Sum(LowRank(1), LowRank(2))})[0]["0.weight"]["ranks"] == [1, 2]
    plan = {"stem.0": Tucker2((3, 2)), "body.0": CP(4), "head": Chain(GroupPruning(0.7, axis="input"), LowRank(1))}
    layers = of(conv_net(), plan)[0]
    assert [layers[name]["ranks"] for name in ("stem.0.weight", "body.0.weight", "head.weight")] == [[3, 2], [4], [1]]
    assert of(conv_net(), {"body.0": Separable(2)})[0]["body.0.weight"]["ranks"] == [2]


def test_the_histogram_counts_every_weight_of_the_reference():
    model = conv_net()
    for name, layer in of(model, {"*": Codebook(size=2)})[0].items():
        weights, seen = model.state_dict()[name], layer["histogram"]
        assert len(seen["counts"]) == BINS
        assert sum(seen["counts"]) == weights.numel()
        assert (seen["low"], seen["high"]) == pytest.approx((float(weights.min()), float(weights.max())), rel=1e-5)
        middle = sum(seen["counts"][: BINS // 2])
        assert middle == pytest.approx(int((weights < (seen["low"] + seen["high"]) / 2).sum()), abs=2)


def test_equal_weights_have_a_histogram_too():
    flat = nn.Linear(5, 4)
    nn.init.constant_(flat.weight, 0.25)
    assert sum(of(flat, {"*": Codebook(size=2)})[0]["weight"]["histogram"]["counts"]) == 20
