"""The numbers of a few tiny LC runs, kept in lc_runs.json: a refactor leaves them as they are.

Data and initial weights are sines, so that only the order of the batches is random. For an intended change, rewrite the
file with `python -m tests.golden.test_golden` and show the difference. In float64 the numbers differ by 4e-6, so a
tolerance of 1e-4 allows another CPU but not another algorithm.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lc_core import Chain, Codebook, Joint, L0Pruning, LowRank, Recipe, Schedule, plan_tasks, train_reference
from lc_core.algorithm import deploy, run_lc
from lc_core.file.artifact import nominal_bytes
from lc_core.training.data import Split
from lc_core.training.loop import predict

FILE = Path(__file__).with_name("lc_runs.json")

PLANS = {
    "prune": {"*": Joint(L0Pruning(keep=0.15))},
    "quantize": {"*": Codebook(size=3)},
    "low rank": {"0": LowRank(rank=2)},
    "prune, quantize": {"*": Joint(Chain(L0Pruning(keep=0.3), Codebook(size=4)))},
}
SHOWN = (0, 1, 10, 20)


def waves(*shape: int, frequency: float) -> Tensor:
    """Fixed numbers in [-1, 1] that look random, float64."""
    return torch.sin(frequency * (1 + torch.arange(torch.Size(shape).numel(), dtype=torch.float64)) ** 1.5).reshape(
        shape
    )


def run(name: str, *, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """The numbers of the run of PLANS[name]: losses, gaps and mu of some LC steps; the result's loss and sizes."""
    inputs = waves(120, 6, frequency=0.7).to(dtype)
    targets = inputs[:, :3].argmax(dim=1)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).to(dtype)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters(), start=1):
            parameter.copy_(0.4 * waves(*parameter.shape, frequency=1.1 * number))
    loss = nn.functional.cross_entropy
    recipe = Recipe(epochs=20, lr=0.2, batch_size=24, seed=1)
    reference = train_reference(model, Split(inputs, targets), loss=loss, recipe=recipe)
    tasks = plan_tasks(model, PLANS[name])
    schedule = Schedule(epochs=10, lr=0.2, batch_size=24)
    states = list(run_lc(model, tasks, Split(inputs, targets), loss=loss, schedule=schedule, seed=2))
    deploy(model, tasks, states[-1], data=Split(inputs, None), batch_size=24)
    return {
        "reference loss": reference,
        "losses": [states[step].loss for step in SHOWN[1:]],
        "gaps": [states[step].gap for step in SHOWN],
        "mu": states[-1].mu,
        "shipped loss": float(loss(predict(model, inputs), targets)),
        "storage bits": [theta.storage_bits() for theta in states[-1].thetas],
        "payload bytes": nominal_bytes(tasks, model.state_dict(), info={"name": name}),
    }


@pytest.mark.parametrize("name", PLANS)
def test_the_numbers_are_those_kept(name):
    kept, found = json.loads(FILE.read_text())[name], run(name)
    for exact in ("storage bits", "payload bytes"):
        assert found.pop(exact) == kept.pop(exact), exact
    assert found.keys() == kept.keys()
    for number in kept:
        assert found[number] == pytest.approx(kept[number], rel=1e-4), number


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: run(name) for name in PLANS}, indent=2) + "\n")
