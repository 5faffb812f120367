"""Group pruning of whole models: the parameters of a group, joint pruning, an LC run, and a packed file."""

import pytest
import torch
import zstandard
from torch import nn

from lc_core import Chain, Codebook, GroupPruning, Joint, L0Penalty, LowRank, Schedule, encode, plan_tasks
from lc_core.algorithm import deploy, run_lc
from lc_core.compressions.structured import Grouped
from lc_core.file.artifact import load, nominal_bytes
from lc_core.structure.accounting import count_macs, model_macs
from lc_core.structure.surgery import cut_weights
from lc_core.training.data import Split
from tests.lc_core.models import compressed, conv_net, mlp, randn, three_classes

INPUTS = randn(60, 2, 6, 6)


def test_an_output_group_takes_its_bias_and_batch_norm_along():
    (task,) = plan_tasks(conv_net(), {"body.0": GroupPruning(keep=0.5)})
    assert task.governed.names == ("body.0.weight", "body.0.bias", "body.1.weight", "body.1.bias")
    (task,) = plan_tasks(conv_net(), {"stem.0": GroupPruning(keep=0.5)})
    assert task.governed.names == ("stem.0.weight", "stem.1.weight", "stem.1.bias")


def test_an_input_group_is_a_column_of_the_weight_alone():
    (task,) = plan_tasks(conv_net(), {"body.0": GroupPruning(keep=0.5, axis="input")})
    assert task.governed.names == ("body.0.weight",)
    (theta,) = compressed(conv_net(), {"body.0": GroupPruning(keep=0.5, axis="input")})[1]
    channels = theta.decompress().abs().sum(dim=(0, 2, 3))
    assert (channels > 0).sum() == 3


def test_the_groups_that_stay_are_those_of_largest_norm_with_all_that_they_take_along():
    model = conv_net()
    (task,), (theta,) = compressed(model, {"body.0": GroupPruning(keep=0.5)})
    parameters = dict(model.named_parameters())
    rows = torch.cat([parameters[name].detach().reshape(8, -1) for name in task.governed.names], dim=1)
    expected = rows.norm(dim=1).topk(4).indices.sort().values
    assert torch.equal(theta.kept, expected)
    for name, part in task.governed.scatter(theta.decompress()).items():
        whole = torch.zeros_like(part)
        whole[expected] = parameters[name].detach()[expected]
        assert torch.equal(part, whole), name


def test_a_pruned_channel_is_zero_behind_its_batch_norm():
    model = conv_net()
    with torch.no_grad():
        model.body[1].bias.uniform_(0.5, 1.0)
        model.body[1].running_mean.fill_(0.3)
    tasks, _ = compressed(model, {"body.0": GroupPruning(keep=0.5)})
    schedule = Schedule(epochs=2, lr=0.01, batch_size=20)
    states = run_lc(
        model, tasks, Split(INPUTS, three_classes(INPUTS)), loss=nn.functional.cross_entropy, schedule=schedule, seed=0
    )
    deployed = conv_net()
    deploy(deployed, tasks, next(states), data=Split(INPUTS, None), batch_size=20)
    behind = deployed.eval().body[:2](deployed.stem(INPUTS))
    zero = (behind == 0).all(dim=3).all(dim=2).all(dim=0)
    assert zero.sum() == 4


def test_groups_of_several_layers_are_ranked_together():
    model = mlp()
    with torch.no_grad():
        model[0].weight[:6] *= 100
        model[2].weight[1:] *= 100
    tasks, (theta,) = compressed(model, {"*": Joint(GroupPruning(keep=8 / 11))})
    assert theta.kept.tolist() == [0, 1, 2, 3, 4, 5, 9, 10]
    assert [part.own(theta.kept).numel() for part in theta.parts] == [6, 6, 2, 2]
    assert tasks[0].outline() is None


def test_a_norm_that_another_layer_shares_stays_out_of_the_groups():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.norm = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x):
            return self.norm(self.second(self.norm(self.first(x))))

    (task,) = plan_tasks(Shared(), {"first": GroupPruning(keep=0.5)})
    assert task.governed.names == ("first.weight", "first.bias")


def test_a_model_that_cannot_be_traced_is_refused_by_name():
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x):
            return self.layer(x) if x.sum() > 0 else x

    with pytest.raises(ValueError, match=r"Branching: expected a model that torch\.fx can trace, got: "):
        plan_tasks(Branching(), {"layer": GroupPruning(keep=0.5)})
    assert plan_tasks(Branching(), {"layer": GroupPruning(keep=0.5, axis="input")})


@pytest.mark.parametrize(
    "plan",
    [
        {"*.0": GroupPruning(keep=0.5)},
        {"*.0": Joint(GroupPruning(keep=0.5))},
        {"body.0": GroupPruning(keep=0.4, axis="input"), "head": Codebook(size=2)},
        {"*.0": Joint(Chain(GroupPruning(keep=0.5), Codebook(size=3)))},
        {"body.0": Chain(GroupPruning(keep=0.75), LowRank(rank=2))},
    ],
    ids=str,
)
def test_lc_and_the_packed_file_go_all_the_way(plan, tmp_path):
    model, deployed = conv_net(), conv_net()
    tasks = plan_tasks(model, plan)
    schedule = Schedule(epochs=20, lr=0.05, batch_size=20)
    loss = nn.functional.cross_entropy
    states = list(run_lc(model, tasks, Split(INPUTS, three_classes(INPUTS)), loss=loss, schedule=schedule, seed=0))
    assert states[-1].gap < 0.1 < states[0].gap
    deploy(deployed, tasks, states[-1], data=Split(INPUTS, None), batch_size=20)
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, states[-1].thetas, deployed.state_dict(), info={}))
    again = conv_net()
    artifact = load(path, again)
    assert torch.equal(again.eval()(INPUTS), deployed.eval()(INPUTS))
    if all(task.outline() for task in tasks):
        assert artifact.payload_bytes == nominal_bytes(tasks, deployed.state_dict(), info={})


def test_a_layer_counts_as_cut_to_its_groups_and_so_do_its_neighbours():
    model, example = conv_net(), INPUTS[:1]
    counted = model_macs(model, example)
    full = count_macs(counted, model.state_dict())
    tasks, thetas = compressed(model, {"body.0": GroupPruning(keep=0.5)})
    assert isinstance(thetas[0], Grouped)
    weights = cut_weights(model, example, tasks=tasks, thetas=thetas)
    assert full - count_macs(counted, weights, tasks=tasks, thetas=thetas) == 4 * 4 * 54 + 16 * 3
    tasks, thetas = compressed(model, {"*.0": Joint(GroupPruning(keep=0.5))})
    stem, body = (thetas[0].parts[place].own(thetas[0].kept).numel() for place in (0, 3))
    weights = cut_weights(model, example, tasks=tasks, thetas=thetas)
    expected = stem * 18 * 36 + body * 9 * stem * 4 + 3 * 4 * body
    assert count_macs(counted, weights, tasks=tasks, thetas=thetas) == expected


def test_input_channels_of_a_convolution_in_groups_are_refused():
    model = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2))
    with pytest.raises(ValueError, match="0: expected a convolution of one group to prune input channels of, got more"):
        plan_tasks(model, {"0": GroupPruning(keep=0.5, axis="input")})


@pytest.mark.parametrize(
    "plan", [{"*": L0Penalty(alpha=1e9)}, {"*": L0Penalty(alpha=1e-9)}, {"*.0": Joint(GroupPruning(keep=0.5))}], ids=str
)
def test_nominal_bytes_of_an_unknown_size_are_an_upper_bound(plan):
    model = conv_net()
    tasks, thetas = compressed(model, plan)
    payload = zstandard.decompress(encode(tasks, thetas, model.state_dict(), info={}, format=1))
    assert len(payload) <= nominal_bytes(tasks, model.state_dict(), info={})
