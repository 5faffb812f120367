"""Post-training quantization of weights."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor, nn

from lc_core.algorithm import LCState
from lc_core.compression import Compressed
from lc_core.compressions.uniform import Uniform, UniformQuantization
from lc_core.methods.lc import DirectCompression
from lc_core.methods.method import Tasks, Training, require
from lc_core.schedule import Schedule
from lc_core.training.distillation import Distillation


@dataclass(frozen=True)
class BetweenExtremes:
    """`UniformQuantization` on the grid between the extremes of the weights, in place of that of least squares."""

    grid: UniformQuantization

    def check(self, shape: tuple[int, ...]) -> None:
        self.grid.check(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Uniform:
        return self.grid.between_extremes(w)

    def outline(self, shape: tuple[int, ...]) -> Uniform:
        return self.grid.outline(shape)


@dataclass(frozen=True)
class PostTraining:
    """Each weight of the reference at the nearest value of the grid between the extremes; no training.

    Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A whitepaper", arXiv:1806.08342:
    post-training quantization of weights alone, which needs no data; affine or symmetric, per layer or per channel, as
    the family says. Scales and zero points are those that ONNX Runtime's quantizer gives signed weights. Activations
    are not quantized: the packed file holds weights, and its model computes in floats.
    """

    distillation: Distillation | None = None

    def steps(self, schedule: Schedule) -> int:
        return 0

    def check(self, tasks: Tasks) -> None:
        require(tasks, (UniformQuantization,))

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: LCState | None = None
    ) -> Iterator[LCState]:
        wide = []
        for task in tasks:
            assert isinstance(task.compression, UniformQuantization)
            wide.append(replace(task, compression=BetweenExtremes(task.compression)))
        return DirectCompression().states(model, wide, training, resume=resume)
