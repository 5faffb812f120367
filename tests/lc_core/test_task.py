"""Which compression a plan gives to which weights."""

import pytest
import torch
from torch import nn

from lc_core import Codebook, CompressionTask, Governed, Joint, L0Pruning, LowRank, plan_tasks
from tests.lc_core.models import conv_net, mlp, randn


def names(model, plan):
    return [task.governed.names for task in plan_tasks(model, plan)]


def test_a_pattern_names_layers_as_it_would_name_files():
    everything = [("stem.0.weight",), ("body.0.weight",), ("head.weight",)]
    assert names(conv_net(), {"*": Codebook(size=2)}) == everything
    assert names(conv_net(), {"stem.*": Codebook(size=2)}) == everything[:1]
    assert names(conv_net(), {"[sb]*.0": Codebook(size=2)}) == everything[:2]
    assert names(mlp(), {"2": Codebook(size=2)}) == [("2.weight",)]


def test_norms_activations_and_biases_are_never_governed():
    governed = {name for task in names(conv_net(), {"*": Codebook(size=2)}) for name in task}
    assert governed == {"stem.0.weight", "body.0.weight", "head.weight"}


def test_one_dimensional_convolutions_are_governed_and_a_lone_layer_has_no_prefix():
    assert names(nn.Conv1d(2, 3, 5), {"*": LowRank(rank=1)}) == [("weight",)]


def test_the_first_pattern_that_names_a_layer_gets_it():
    prune, quantize = L0Pruning(keep=0.5), Codebook(size=2)
    tasks = plan_tasks(conv_net(), {"body.*": prune, "*": quantize})
    assert [(task.governed.names, task.compression) for task in tasks] == [
        (("body.0.weight",), prune),
        (("stem.0.weight",), quantize),
        (("head.weight",), quantize),
    ]


def test_a_pattern_without_a_layer_is_refused_and_the_layers_are_listed():
    said = r"plan: the pattern 'fc\*' matches no remaining layer; the layers are \['stem.0', 'body.0', 'head'\]"
    with pytest.raises(ValueError, match=said):
        plan_tasks(conv_net(), {"fc*": Codebook(size=2)})
    with pytest.raises(ValueError, match="the pattern 'head' matches no remaining layer"):
        plan_tasks(conv_net(), {"*": Codebook(size=2), "head": L0Pruning(keep=0.5)})


def test_a_compression_without_meaning_for_a_shape_is_refused_by_the_layers_names():
    with pytest.raises(ValueError, match=r"0\.weight, 2\.weight: low rank: expected weights of a layer .*\(72,\)"):
        plan_tasks(mlp(), {"*": Joint(LowRank(rank=1))})


def test_joint_weights_are_one_vector_and_come_apart_again():
    (task,) = plan_tasks(conv_net(), {"*": Joint(L0Pruning(keep=0.1))})
    weights = dict(conv_net().state_dict())
    gathered = task.governed.gather(weights)
    assert task.governed.shape == tuple(gathered.shape) == (6 * 2 * 9 + 8 * 6 * 9 + 3 * 32,)
    scattered = task.governed.scatter(gathered)
    assert list(scattered) == ["stem.0.weight", "body.0.weight", "head.weight"]
    for name, tensor in scattered.items():
        assert torch.equal(tensor, weights[name])


def test_joint_weights_share_one_support():
    (task,) = plan_tasks(mlp(), {"*": Joint(L0Pruning(keep=0.25))})
    weights = {"0.weight": 0.1 * randn(8, 6), "2.weight": 100 * randn(3, 8)}
    theta = task.compress(task.governed.gather(weights), mu=0.0, previous=None)
    kept = {name: int(part.count_nonzero()) for name, part in task.governed.scatter(theta.decompress()).items()}
    assert kept == {"0.weight": 0, "2.weight": 18}


def test_a_single_layer_keeps_its_shape_also_when_joint():
    (task,) = plan_tasks(mlp(), {"0": Joint(LowRank(rank=1))})
    weights = dict(mlp().state_dict())
    assert task.governed.shape == (8, 6)
    assert task.governed.gather(weights) is weights["0.weight"]
    assert torch.equal(task.governed.scatter(weights["0.weight"])["0.weight"], weights["0.weight"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(bad):
    (task,) = plan_tasks(mlp(), {"2": Codebook(size=2)})
    w = torch.zeros(3, 8)
    w[1, 2] = bad
    with pytest.raises(ValueError, match=r"^2\.weight: expected finite weights, got NaN or infinity$"):
        task.compress(w, mu=1.0, previous=None)


def test_joint_weights_that_are_not_finite_are_refused_by_all_their_names():
    (task,) = plan_tasks(mlp(), {"*": Joint(Codebook(size=2))})
    with pytest.raises(ValueError, match=r"^0\.weight, 2\.weight: expected finite weights"):
        task.compress(torch.full((72,), torch.nan), mu=1.0, previous=None)


def test_check_names_the_layer():
    task = CompressionTask(Governed(("fc.weight",), ((2, 2),)), Codebook(size=5))
    with pytest.raises(ValueError, match=r"^fc\.weight: size: expected at most 4, .* got 5$"):
        task.check()


def test_tied_parameters_are_refused_by_both_names():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(ValueError, match=r"1\.weight: expected a parameter of its own, got one tied to 0\.weight"):
        plan_tasks(model, {"0": L0Pruning(keep=0.5)})


def test_a_layer_without_weights_is_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(torch.empty(0, 4))
    with pytest.raises(ValueError, match=r"1\.weight: expected weights, got none: shape \(0, 4\)"):
        plan_tasks(model, {"0": L0Pruning(keep=0.5)})
