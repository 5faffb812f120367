"""Quantization-aware training: the forward pass sees quantized weights, the backward pass goes straight through."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.compressions.fixed_codebooks import (
    Binary,
    FixedCodebook,
    PowersOfTwo,
    ScaledBinary,
    ScaledTernary,
    Ternary,
)
from lc_core.compressions.quantization import Codebook, Quantized, nearest
from lc_core.compressions.uniform import Uniform, UniformQuantization
from lc_core.methods.fixed_structure import in_order
from lc_core.methods.method import Tasks, TrainedState, Training, require
from lc_core.methods.reparametrized import Weights, begun, trained
from lc_core.schedule import Schedule
from lc_core.task import CompressionTask
from lc_core.training.distillation import Distillation
from lc_core.training.straight_through import rounded, scaled

GIVEN = (Binary, FixedCodebook, PowersOfTwo, ScaledBinary, ScaledTernary, Ternary)
LEAST_SCALE = 1e-12


class LearnedStep:
    """Uniform quantization with a learned step: s round(clip(w / s, -Q_N, Q_P)), with parameters w and s.

    Esser et al., "Learned step size quantization", arXiv:1902.08153: its step size gradient; its gradient in w, which
    passes straight through where w is not clipped; and its step size gradient scale 1 / sqrt(N Q_P), N the weights that
    share s.
    """

    def __init__(self, w: Tensor, start: Uniform) -> None:
        self._start = start
        self._w = nn.Parameter(w.clone())
        self._scale = nn.Parameter(start.scale.to(w.dtype).clone())
        middle = torch.full_like(self._scale, (1 << start.bits - 1) - 1)
        self._zero = (middle if start.zero is None else start.zero.to(middle))[:, None]
        self._last = (1 << start.bits) - (2 if start.zero is None else 1)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"w": self._w, "scale": self._scale}

    def delta(self) -> Tensor:
        scale, steps = self._steps()
        return (scale * rounded(steps)).reshape(self._w.shape)

    def theta(self) -> Compressed:
        with torch.no_grad():
            scale, steps = self._steps()
            codes = (steps.round() + self._zero).to(torch.uint8).reshape(-1)
        start = self._start
        settled: Compressed = in_order(Uniform(start.shape, codes, scale.reshape(-1), start.zero, start.bits))
        return settled

    def structure(self) -> None:
        return None

    def _steps(self) -> tuple[Tensor, Tensor]:
        """s, (channels, 1), and clip(w / s), (channels, n)."""
        rows = self._w.reshape(self._scale.numel(), -1)
        highest = torch.maximum(self._last - self._zero, self._zero).clamp(min=1)
        scale = scaled(self._scale[:, None], (rows.shape[1] * highest).rsqrt())
        scale = _away_from_zero(scale)
        return scale, torch.clamp(rows / scale, -self._zero, self._last - self._zero)


class LearnedCodebook:
    """Each weight at the nearest of the values c of a codebook, with parameters w and c.

    The gradient of Delta goes to w unchanged (Bengio, Leonard and Courville, arXiv:1308.3432), and to each
    value as the sum over its weights (Han, Mao and Dally, arXiv:1510.00149, equation 3); with `mean`, as their mean.
    """

    def __init__(self, w: Tensor, codebook: Tensor, *, mean: bool) -> None:
        self._mean = mean
        self._w = nn.Parameter(w.clone())
        self._codebook = nn.Parameter(codebook.to(w.dtype).clone())

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"w": self._w, "codebook": self._codebook}

    def delta(self) -> Tensor:
        codes, values = self._nearest()
        if self._mean:
            counts = codes.bincount(minlength=values.numel()).clamp(min=1)
            values = scaled(values, 1 / counts.to(values.dtype))
        return values.index_select(0, codes).reshape(self._w.shape) + (self._w - self._w.detach())

    def theta(self) -> Compressed:
        with torch.no_grad():
            codes, values = self._nearest()
        return Quantized(tuple(self._w.shape), codes, values)

    def structure(self) -> None:
        return None

    def _nearest(self) -> tuple[Tensor, Tensor]:
        """The codes of w, and the codebook in ascending order."""
        values = self._codebook.sort().values
        return nearest(self._w.detach().reshape(-1), codebook=values.detach()), values


class Projected:
    """Delta(Pi(w)) with the parameter w, to which the gradient of Delta goes unchanged.

    Courbariaux, Bengio and David, "BinaryConnect", arXiv:1511.00363, for every given codebook. Chosen here: w is
    not clipped.
    """

    def __init__(self, w: Tensor, task: CompressionTask) -> None:
        self._task = task
        self._w = nn.Parameter(w.clone())

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"w": self._w}

    def delta(self) -> Tensor:
        return self.theta().decompress().to(self._w.dtype) + (self._w - self._w.detach())

    def theta(self) -> Compressed:
        return self._task.compress(self._w.detach(), mu=1.0, previous=None)

    def structure(self) -> None:
        return None


@dataclass(frozen=True)
class QuantizationAware:
    """min over w and scales or codebooks of L(Delta), with straight-through gradients (`LearnedStep`,
    `LearnedCodebook`, `Projected`).

    It starts from direct compression: the step and the codebook are those of Pi(w). (LSQ begins with
    s = 2 mean|w| / sqrt(Q_P).) Chosen here: the learning rate of w serves for s and c; zero points stay;
    activations are quantized where the network has `ActivationSteps`.
    """

    distillation: Distillation | None = None

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def check(self, tasks: Tasks) -> None:
        require(tasks, (UniformQuantization, Codebook, *GIVEN))

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: TrainedState | None = None
    ) -> Iterator[TrainedState]:
        state = yield from begun(model, tasks, training, resume=resume)
        mean = training.schedule.optimizer == "sgd"
        starts = [_start(theta, state.held.get(f"{number}:scale")) for number, theta in enumerate(state.thetas)]
        pairs = zip(tasks, starts, strict=True)
        weights = [_weights(task, theta, task.governed.gather(state.weights), mean=mean) for task, theta in pairs]
        yield from trained(model, tasks, weights, training, state=state)


def _start(theta: Compressed, scale: Tensor | None) -> Compressed:
    """`theta` as training began with it. Where the trained `scale` is negative, `theta` counts from the other end."""
    if scale is None or not isinstance(theta, Uniform):
        return theta
    start: Compressed = in_order(replace(theta, scale=_away_from_zero(scale)))
    return start


def _away_from_zero(scale: Tensor) -> Tensor:
    return torch.where(scale.abs() < LEAST_SCALE, LEAST_SCALE, scale)


def _weights(task: CompressionTask, theta: Compressed, w: Tensor, *, mean: bool) -> Weights:
    match task.compression, theta:
        case UniformQuantization(), Uniform():
            return LearnedStep(w, theta)
        case Codebook(), Quantized():
            return LearnedCodebook(w, theta.codebook, mean=mean)
    return Projected(w, task)
