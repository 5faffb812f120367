"""Which compression a plan gives to which weights."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lc_core import (
    SMALL,
    Cast,
    Chain,
    Codebook,
    CompressionTask,
    Governed,
    GroupPruning,
    Joint,
    L0Pruning,
    LowRank,
    plan_tasks,
)
from lc_core.parameters import frozen
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
    with pytest.raises(
        ValueError, match=r"^fc\.weight: size: expected at most 4, .* got 5; give it a smaller codebook, or leave it"
    ):
        task.check()


def tied_pair():
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5))
    model[2].weight = model[0].weight
    return model


def test_a_tied_parameter_has_one_task_under_its_first_name_by_any_of_its_layers():
    for pattern in ("0", "2", "0.weight", "2.weight"):
        assert names(tied_pair(), {pattern: Codebook(size=2)}) == [("0.weight",)]
    assert names(tied_pair(), {"*": Codebook(size=2)}) == [("0.weight",), ("1.weight",)]
    assert names(tied_pair(), {"*": Joint(Codebook(size=2))}) == [("0.weight", "1.weight")]
    with pytest.raises(ValueError, match="the pattern '2' matches no remaining layer"):
        names(tied_pair(), {"0": Codebook(size=2), "2": Codebook(size=2)})


def test_a_layer_that_stands_under_two_names_has_one_task():
    layer = nn.Linear(4, 4)
    assert names(nn.ModuleDict({"a": layer, "b": layer}), {"b": Codebook(size=2)}) == [("a.weight",)]


def test_structured_pruning_refuses_a_tied_weight():
    with pytest.raises(ValueError, match=r"^0\.weight: structured pruning .* got that of Embedding, Linear; "):
        plan_tasks(tied_pair(), {"2": GroupPruning(keep=0.5)})


def test_a_layer_without_weights_is_refused_by_name():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = nn.Parameter(torch.empty(0, 4))
    with pytest.raises(ValueError, match=r"1\.weight: expected weights, got none: shape \(0, 4\)"):
        plan_tasks(model, {"0": L0Pruning(keep=0.5)})


KINDS = {
    "linear": (lambda: nn.Linear(3, 4), ["weight"]),
    "bilinear": (lambda: nn.Bilinear(3, 4, 5), ["weight"]),
    "embedding": (lambda: nn.Embedding(7, 3), ["weight"]),
    "bag": (lambda: nn.EmbeddingBag(7, 3), ["weight"]),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), ["weight"]),
    "up1d": (lambda: nn.ConvTranspose1d(2, 3, 2), ["weight"]),
    "up2d": (lambda: nn.ConvTranspose2d(2, 3, 2), ["weight"]),
    "up3d": (lambda: nn.ConvTranspose3d(2, 3, 2), ["weight"]),
    "lstm": (lambda: nn.LSTM(3, 4, proj_size=2), ["weight_ih_l0", "weight_hh_l0", "weight_hr_l0"]),
    "gru": (
        lambda: nn.GRU(3, 4, num_layers=2),
        ["weight_ih_l0", "weight_hh_l0", "weight_ih_l1", "weight_hh_l1"],
    ),
    "rnn": (
        lambda: nn.RNN(3, 4, bidirectional=True),
        ["weight_ih_l0", "weight_hh_l0", "weight_ih_l0_reverse", "weight_hh_l0_reverse"],
    ),
    "cell": (lambda: nn.LSTMCell(3, 4), ["weight_ih", "weight_hh"]),
    "attention": (lambda: nn.MultiheadAttention(8, 2), ["in_proj_weight", "out_proj.weight"]),
    "cross": (
        lambda: nn.MultiheadAttention(8, 2, kdim=3, vdim=5),
        ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_star_takes_every_weight_of_a_layer_and_none_of_its_biases(kind):
    build, expected = KINDS[kind]
    assert names(nn.ModuleDict({"layer": build()}), {"*": Codebook(size=2)}) == [
        (f"layer.{each}",) for each in expected
    ]
    assert names(build(), {"*": Codebook(size=2)}) == [(each,) for each in expected]


def test_a_layer_of_several_weights_is_named_whole_or_weight_by_weight():
    model = nn.ModuleDict({"lstm": nn.LSTM(3, 4), "head": nn.Linear(4, 2)})
    inner, outer = ("lstm.weight_ih_l0",), ("lstm.weight_hh_l0",)
    assert names(model, {"lstm": Codebook(size=2)}) == [inner, outer]
    assert names(model, {"lstm.weight_hh*": Codebook(size=2)}) == [outer]
    assert names(model, {"lstm.weight_hh_l0": L0Pruning(keep=0.5), "*": Codebook(size=2)}) == [
        outer,
        inner,
        ("head.weight",),
    ]
    assert names(model, {"*": Joint(Codebook(size=2))}) == [(*inner, *outer, "head.weight")]


class Positions(nn.Module):
    """A table of its own, a norm, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm, self.head = nn.Parameter(randn(5, 4)), nn.LayerNorm(4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.norm(x + self.table))


def test_a_parameter_of_any_module_can_be_named_in_full_alone():
    assert names(Positions(), {"*": Codebook(size=2)}) == [("head.weight",)]
    plan = {"table": Codebook(size=2), "head.bias": Codebook(size=2), "head.weight": Codebook(size=2)}
    assert names(Positions(), plan) == [("table",), ("head.bias",), ("head.weight",)]
    with pytest.raises(ValueError, match=r"the pattern 'tab\*' matches no remaining layer"):
        names(Positions(), {"tab*": Codebook(size=2)})
    with pytest.raises(ValueError, match=r"got two for head\.bias"):
        names(Positions(), {"head.bias": Codebook(size=2), "head": GroupPruning(keep=0.5)})


def test_a_task_tells_the_pattern_that_took_it():
    tasks = plan_tasks(mlp(), {"0": Codebook(size=2), "*": L0Pruning(keep=0.5)})
    assert [task.pattern for task in tasks] == ["0", "*"]


def test_a_star_leaves_frozen_weights_out_and_naming_one_is_refused():
    model = conv_net()
    model.stem.requires_grad_(requires_grad=False)
    assert names(model, {"*": Codebook(size=2)}) == [("body.0.weight",), ("head.weight",)]
    assert frozen(model) == ["stem.0.weight", "stem.1.weight", "stem.1.bias"]
    said = r"takes stem\.0\.weight, expected parameters that train, got frozen ones .* unfreeze them, or leave them out"
    for pattern in ("stem.0", "stem.0.weight", "stem.*"):
        with pytest.raises(ValueError, match=said):
            plan_tasks(model, {pattern: Codebook(size=2)})


def test_a_glob_leaves_out_layers_with_fewer_weights_than_the_codebook_has_values():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 4), nn.Linear(4, 2))
    assert names(model, {"*": Codebook(size=8)}) == [("0.weight",), ("1.weight",), ("2.weight",)]
    assert names(model, {"*": Codebook(size=9)}) == [("0.weight",), ("1.weight",)]
    assert names(model, {"[12]": Codebook(size=32), "*": Codebook(size=4)}) == [
        ("1.weight",),
        ("0.weight",),
        ("2.weight",),
    ]
    assert names(model, {"*": Joint(Codebook(size=9))}) == [("0.weight", "1.weight", "2.weight")]
    for plan in ({"2": Codebook(size=9)}, {"2.weight": Codebook(size=9)}, {"2*": Codebook(size=9)}):
        (task,) = plan_tasks(model, plan)
        with pytest.raises(ValueError, match=r"2\.weight: size: expected at most 8, the number of weights, got 9"):
            task.check()


def test_groups_that_hold_a_frozen_bias_are_refused_by_its_name():
    model = mlp()
    model[0].bias.requires_grad_(requires_grad=False)
    with pytest.raises(ValueError, match=r"the pattern '\*' takes 0\.bias, expected parameters that train"):
        plan_tasks(model, {"*": GroupPruning(keep=0.5)})
    assert plan_tasks(model, {"*": GroupPruning(keep=0.5, axis="input")})


@pytest.mark.parametrize(
    "layer", [nn.Embedding(4, 3), nn.ConvTranspose2d(4, 3, 2), nn.LSTM(4, 3), nn.MultiheadAttention(4, 2)], ids=str
)
def test_structured_pruning_refuses_layers_that_cannot_lose_channels(layer):
    said = rf"layer\.\w+: structured pruning takes the weight of one Linear, .* got that of {type(layer).__name__}; "
    for compression in (GroupPruning(keep=0.5), Chain(GroupPruning(keep=0.5), Codebook(size=2))):
        with pytest.raises(ValueError, match=said):
            plan_tasks(nn.ModuleDict({"layer": layer}), {"layer": compression})


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize(
    "normed", [weight_norm, nn.utils.weight_norm, nn.utils.spectral_norm], ids=["new", "old", "sn"]
)
def test_a_weight_that_other_parameters_give_is_refused_by_name(normed):
    with pytest.raises(ValueError, match=r"^1\.weight: expected a parameter, .* call lc_core\.fold\(model\) first$"):
        plan_tasks(nn.Sequential(nn.Linear(2, 3), normed(nn.Linear(3, 4))), {"*": Codebook(size=2)})
    with pytest.raises(ValueError, match=r"^weight_hh_l0: expected a parameter"):
        plan_tasks(normed(nn.LSTM(2, 3), "weight_hh_l0"), {"*": Codebook(size=2)})


NORMS = {"stem.1.weight", "stem.1.bias", "body.0.bias", "body.1.weight", "body.1.bias"}


def test_small_parameters_are_what_no_pattern_takes_and_no_weight():
    half = Cast("float16")
    *weights, small = names(conv_net(), {"*": Codebook(size=2), SMALL: Joint(half)})
    assert set(small) == NORMS | {"head.bias"}
    assert len(weights) == 3
    each = plan_tasks(conv_net(), {SMALL: half, "head.bias": Codebook(size=2), "*": Codebook(size=2)})
    assert {task.governed.names for task in each if task.pattern == SMALL} == {(name,) for name in NORMS}
    assert {task.compression for task in each if task.pattern == SMALL} == {half}


def test_small_parameters_that_groups_hold_or_that_are_frozen_are_left_out():
    model = conv_net()
    model.head.bias.requires_grad_(False)
    pruned = {"*.0": GroupPruning(keep=0.5)}
    with pytest.raises(ValueError, match="no bias, norm or table is left"):
        plan_tasks(model, pruned | {SMALL: Joint(Cast("float16"))})
    assert names(conv_net(), pruned | {SMALL: Joint(Cast("float16"))})[-1] == ("head.bias",)


def test_a_model_without_small_parameters_is_refused():
    with pytest.raises(ValueError, match=r"'<small>' matches no remaining parameter"):
        plan_tasks(nn.Linear(3, 3, bias=False), {"*": Codebook(size=2), SMALL: Cast("float16")})
