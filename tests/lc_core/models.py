"""Small models and data for the tests of lc_core."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.plan import Plan, plan_tasks
from lc_core.task import CompressionTask

Model = TypeVar("Model", bound=nn.Module)


def mlp(*, seed: int = 0) -> nn.Sequential:
    """6-8-3 with tanh; its parameters are called 0.weight, 0.bias, 2.weight, 2.bias."""
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), seed=seed)


class ConvNet(nn.Module):
    """(n, 2, 6, 6) -> (n, 3): two convolutions with batch norm, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).flatten(1))


def conv_net(*, seed: int = 0) -> ConvNet:
    return seeded(ConvNet, seed=seed)


def seeded(build: Callable[[], Model], *, seed: int) -> Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def three_classes(inputs: Tensor) -> Tensor:
    """Classes (n,) of `inputs` (n, ...), by their first three numbers."""
    return inputs.flatten(1)[:, :3].argmax(dim=1)


def compressed(model: nn.Module, plan: Plan) -> tuple[tuple[CompressionTask, ...], Sequence[Compressed]]:
    """The tasks of `plan` and their Thetas by direct compression."""
    tasks = plan_tasks(model, plan)
    weights = dict(model.state_dict())
    return tasks, [task.compress(task.governed.gather(weights), mu=1.0, previous=None) for task in tasks]
