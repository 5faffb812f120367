from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lc_core import Codebook, Schedule, plan_tasks, run_lc
from lc_core.training.data import Split, call, first_inputs, without_targets
from lc_core.training.loop import predict
from lc_core.training.nest import leaves

INPUTS, MORE, TARGETS = (
    torch.randn(50, 6, generator=torch.Generator().manual_seed(0)),
    torch.arange(50.0),
    torch.arange(50),
)


class TwoInputs(nn.Module):
    """x (n, 6) and a scale (n,) -> (n, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.layer(x) * torch.tanh(scale)[:, None]  # type: ignore[no-any-return]


class TakesLabels(TwoInputs):
    def forward(self, x: Tensor, scale: Tensor, labels: Tensor | None = None) -> Any:  # type: ignore[override]
        return {"logits": super().forward(x, scale), "loss": labels}


@pytest.mark.parametrize("inputs", [(INPUTS, MORE), {"x": INPUTS, "scale": MORE}], ids=["tuple", "mapping"])
def test_batches_of_nests_keep_each_examples_parts_together(inputs: Any) -> None:
    batches = Split(inputs, TARGETS).batches(batch_size=8, seed=3)
    seen = []
    for nest, targets in batches.take(7):
        x, scale = leaves(nest)
        assert type(nest) is type(inputs)
        assert torch.equal(x, INPUTS[targets])
        assert torch.equal(scale, MORE[targets])
        seen += targets.tolist()
    assert sorted(seen) == list(range(50))


def test_a_model_gets_the_inputs_of_a_batch_in_the_way_that_its_batch_suggests() -> None:
    model = TwoInputs()
    expected = model(INPUTS, MORE)
    assert torch.equal(call(model, (INPUTS, MORE)), expected)
    assert torch.equal(call(model, {"scale": MORE, "x": INPUTS}), expected)
    assert torch.equal(call(model, {"scale": MORE, "x": INPUTS, "labels": TARGETS}), expected)
    assert torch.equal(call(TakesLabels(), {"scale": MORE, "x": INPUTS, "labels": TARGETS})["loss"], TARGETS)
    assert torch.equal(call(model.layer, INPUTS), model.layer(INPUTS))


def test_lc_of_a_model_of_two_inputs_is_that_of_the_same_model_of_one() -> None:
    """The scale is a column of the one input; numbers are equal in every bit."""

    class OneInput(TwoInputs):
        def forward(self, both: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(both[:, :6], both[:, 6])

    def weights(kind: type[nn.Module], inputs: Any) -> dict[str, Tensor]:
        torch.manual_seed(0)
        model = kind()
        *_, state = run_lc(
            model,
            plan_tasks(model, {"*": Codebook(size=2)}),
            Split(inputs, TARGETS % 3),
            loss=nn.functional.cross_entropy,
            schedule=Schedule(epochs=4, lr=0.05, batch_size=8),
            seed=0,
        )
        return state.weights

    one = weights(OneInput, torch.cat([INPUTS, MORE[:, None]], dim=1))
    two = weights(TwoInputs, {"x": INPUTS, "scale": MORE})
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_first_inputs_are_the_first_whatever_the_parts() -> None:
    split = Split({"x": INPUTS}, TARGETS)
    assert torch.equal(first_inputs(split, 7)["x"], INPUTS[:7])
    assert torch.equal(first_inputs(split, 70)["x"], INPUTS)
    assert torch.equal(predict(nn.Identity(), INPUTS), INPUTS)


def test_targets_are_left_out_where_a_model_runs_without_them() -> None:
    class Free(nn.Module):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            return x if labels is None else x + labels

    class Bound(Free):
        def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
            return x + labels

    inputs = {"x": torch.ones(2), "labels": torch.ones(2), "target": torch.ones(2)}
    assert [*without_targets(Free(), inputs)] == ["x"]
    assert [*without_targets(Bound(), inputs)] == ["x", "labels"]
    assert without_targets(Free(), (inputs["x"],)) == (inputs["x"],)
    assert call(Bound(), without_targets(Bound(), inputs)).tolist() == [2, 2]
