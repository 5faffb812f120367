"""What share of a model a plan governs, and why the rest is left."""

import pytest
import torch
from torch import nn

from lc_core import Codebook, GroupPruning, Joint, coverage, plan_tasks
from tests.lc_core.models import conv_net


class OwnRMSNorm(nn.Module):
    """A norm of another library."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))


class Everything(nn.Module):
    """One parameter of each kind."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(5, 8))
        self.embed, self.lstm, self.norm = nn.Embedding(10, 8), nn.LSTM(8, 8), OwnRMSNorm()
        self.layer_norm, self.head = nn.LayerNorm((2, 8)), nn.Linear(8, 10)
        self.head.weight = self.embed.weight
        self.fixed = nn.Linear(8, 2).requires_grad_(requires_grad=False)
        self.phase = nn.Parameter(torch.zeros(3, dtype=torch.complex64))


def test_each_parameter_has_what_governs_it_or_why_nothing_does():
    model = Everything()
    tasks = plan_tasks(model, {"lstm": Codebook(size=2), "*": Codebook(size=4)})
    found = coverage(model, tasks)
    assert {each.name: each.pattern or each.why for each in found.parameters} == {
        "table": "no pattern",
        "embed.weight": "*",
        "lstm.weight_ih_l0": "lstm",
        "lstm.weight_hh_l0": "lstm",
        "lstm.bias_ih_l0": "bias",
        "lstm.bias_hh_l0": "bias",
        "norm.weight": "norm",
        "layer_norm.weight": "norm",
        "layer_norm.bias": "norm",
        "head.bias": "bias",
        "fixed.weight": "frozen",
        "fixed.bias": "frozen",
        "phase": "type",
    }
    first = {each.name: each for each in found.parameters}
    assert first["embed.weight"].also == ("head.weight",)
    assert (first["lstm.weight_hh_l0"].task, first["embed.weight"].task, first["table"].task) == (1, 2, None)
    assert first["table"].shape == (5, 8)
    assert found.count == sum(parameter.numel() for parameter in model.parameters())
    assert found.governed == 10 * 8 + 2 * 32 * 8
    assert (
        found.share
        == found.governed / found.count
        == pytest.approx(sum(p.share for p in found.parameters if p.pattern))
    )
    assert sum(each.share for each in found.parameters) == pytest.approx(1)
    left = found.left()
    assert left[0].name == "table"
    assert [each.count for each in left] == sorted((each.count for each in left), reverse=True)
    assert len(left) == 10


def test_groups_cover_their_biases_and_norms_and_a_joint_task_all_its_layers():
    model = conv_net()
    tasks = plan_tasks(model, {"stem.0": GroupPruning(keep=0.5), "*": Joint(Codebook(size=2))})
    found = {each.name: each.task for each in coverage(model, tasks).parameters}
    assert found == {
        "stem.0.weight": 0,
        "stem.1.weight": 0,
        "stem.1.bias": 0,
        "body.0.weight": 1,
        "body.0.bias": None,
        "body.1.weight": None,
        "body.1.bias": None,
        "head.weight": 1,
        "head.bias": None,
    }


def test_a_reference_and_a_model_without_parameters_are_governed_by_nothing():
    assert coverage(conv_net(), ()).share == 0
    assert coverage(nn.ReLU(), ()).share == 0
    assert {each.why for each in coverage(conv_net(), ()).parameters} == {"no pattern", "norm", "bias"}


def test_a_layer_with_fewer_weights_than_the_codebook_has_values_is_too_small():
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2), nn.Embedding(3, 2))
    found = {each.name: each.why for each in coverage(model, plan_tasks(model, {"[01]": Codebook(size=20)})).parameters}
    expected = {"0.weight": None, "0.bias": "bias", "1.weight": "too small", "1.bias": "bias", "2.weight": "no pattern"}
    assert found == expected
