"""Post-training quantization of weights: the grid of the extremes, as a well-kept library has it."""

import pytest
import torch

from lc_core import Codebook, Uniform, UniformQuantization, plan_tasks
from lc_core.compressions.uniform import Granularity
from lc_core.methods.known import METHODS
from tests.lc_core.methods.runs import same, states_of
from tests.lc_core.models import mlp, randn

PTQ = METHODS["ptq"]


@pytest.mark.parametrize(("kind", "bits", "symmetric"), [("UINT8", 8, False), ("INT8", 8, True), ("UINT4", 4, False)])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_scales_zero_points_and_codes_are_those_of_onnx_runtime(
    kind: str, bits: int, symmetric: bool, granularity: Granularity
) -> None:
    onnx = pytest.importorskip("onnx")
    quant_utils = pytest.importorskip("onnxruntime.quantization.quant_utils")
    w = randn(7, 30) + 0.3
    w[2] = w[2].abs() + 1  # above 0: the grid still reaches 0
    found = UniformQuantization(bits, symmetric=symmetric, granularity=granularity).between_extremes(w)
    rows = w if granularity == "channel" else w.reshape(1, -1)
    first = -127 if symmetric else 0
    for row, codes, place in zip(rows, found.codes.reshape(len(rows), -1), range(len(rows)), strict=True):
        zero, scale, theirs = quant_utils.quantize_data(row.numpy(), getattr(onnx.TensorProto, kind), symmetric)
        assert found.scale[place].item() == pytest.approx(scale.item(), rel=1e-6)
        assert found.zero is None if symmetric else found.zero[place].item() == zero.item()
        assert codes.tolist() == [int(code) - first for code in theirs]


def test_it_trains_nothing_and_its_only_state_has_the_bytes_of_the_plan() -> None:
    plan = {"*": UniformQuantization(3, granularity="channel")}
    (state,) = states_of(PTQ, plan)
    assert (state.step, state.loss, state.epochs) == (0, None, 0.0)
    assert same(state.weights, dict(mlp().state_dict()))
    for task, theta in zip(plan_tasks(mlp(), plan), state.thetas, strict=True):
        assert theta.storage_bits() == task.outline().storage_bits()


def test_direct_compression_has_a_grid_with_less_error() -> None:
    plan = {"*": UniformQuantization(3)}
    (wide,), (best,) = states_of(PTQ, plan), states_of(METHODS["dc"], plan)
    assert best.gap < wide.gap


@pytest.mark.parametrize("w", [torch.zeros(4), torch.full((4,), 0.7), torch.full((4,), -0.7)])
def test_zeros_and_constants_are_on_the_grid(w: torch.Tensor) -> None:
    found = UniformQuantization(4).between_extremes(w)
    assert isinstance(found, Uniform)
    assert torch.allclose(found.decompress(), w)


def test_it_applies_to_uniform_steps_alone() -> None:
    with pytest.raises(ValueError, match="applies to UniformQuantization, got Codebook"):
        PTQ.check(plan_tasks(mlp(), {"*": Codebook(2)}))
