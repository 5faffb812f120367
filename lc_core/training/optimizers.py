"""The optimizers of training and of the L step, Nesterov SGD and Adam. Autograd never sees the penalty."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn

OptimizerName = Literal["sgd", "adam"]
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)

BETA_2, EPS = 0.999, 1e-8
FUSED = all(hasattr(torch, name) for name in ("_fused_sgd_", "_fused_adam_"))
"""Whether torch has its fused kernels under these private names. torch.optim's functions would also call them, but load
70 MB of a compiler that is not used."""
BUFFERS: dict[OptimizerName, tuple[str, ...]] = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}
NO_GRADIENT = "the loss gives no gradient to weights under a compression: are they frozen or unused?"


@dataclass(frozen=True, eq=False)
class Penalty:
    """The penalty of the L step, mu/2 ||w - Delta||^2 - lambda^T (w - Delta).

    Attributes:
        parameters: w, the parameters under a compression.
        mu: the penalty parameter.
        pulls: mu Delta + lambda for each parameter.
    """

    parameters: Sequence[Tensor]
    mu: float
    pulls: Sequence[Tensor]


def gradients_of(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients of `parameters`. ValueError where one has none."""
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if len(found) < len(parameters):
        raise ValueError(NO_GRADIENT)
    return found


class Named(Protocol):
    """Parameters with names: a model, or what else an optimizer trains."""

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        """Name and parameter, each parameter once."""
        ...


class Descent(Protocol):
    """What the training loop needs of an optimizer."""

    def zero_grad(self) -> None:
        """Drops the gradients."""
        ...

    def step(self, *, lr: float, penalty: Penalty | None = None) -> None:
        """One step by the loss's gradients, which the model's parameters hold."""
        ...


class Optimizer:
    """Nesterov SGD or Adam over the trainable parameters of a model, by torch's fused kernels.

    A step descends L(w) + mu/2 ||w - Delta||^2 - lambda^T (w - Delta), given the gradient g of L:

    - "sgd" takes Nesterov's step by g + mu (w - Delta) - lambda.
    - "adam" (Kingma and Ba, arXiv:1412.6980, algorithm 1) takes m and v from g alone. With each weight's own
      eta = lr / (sqrt(v_hat) + eps) it goes to the minimum over u of
      m_hat u + mu/2 (u - Delta)^2 - lambda (u - Delta) + (u - w)^2 / (2 eta), which is
      (w - eta m_hat + eta (mu Delta + lambda)) / (1 + eta mu).

    Both are at rest where g + mu (w - Delta) = lambda. Adam's step is implicit in the penalty, because an explicit step
    diverges wherever v is small: eta is lr / eps for a weight whose input is always zero.
    """

    def __init__(
        self,
        model: Named,
        *,
        name: OptimizerName,
        momentum: float,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        """`momentum` is Adam's beta_1; weight decay and clipping are as `lc_core.training.loop.Recipe` says."""
        self._name, self._momentum = name, momentum
        self._weight_decay, self._clip_norm = weight_decay, clip_norm
        self._parameters: dict[str, Tensor] = {key: p for key, p in model.named_parameters() if p.requires_grad}
        self._names = {id(parameter): name for name, parameter in self._parameters.items()}
        self._buffers: dict[str, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Drops the gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def clip(self) -> None:
        """Scales the gradient over all parameters down to `clip_norm`, where it is longer."""
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters.values(), self._clip_norm)

    @torch.no_grad()
    def step(self, *, lr: float, penalty: Penalty | None = None) -> None:
        """One step by the loss's gradients, which the parameters hold. It may overwrite them."""
        self.clip()
        decays = {name: self._weight_decay for name, each in self._parameters.items() if each.grad is not None}
        if penalty and self._name == "sgd":
            # mu w is weight decay of the parameters under a compression.
            torch._foreach_sub_(gradients_of(penalty.parameters), list(penalty.pulls))
            decays |= {self._names[id(parameter)]: self._weight_decay + penalty.mu for parameter in penalty.parameters}
        groups: dict[tuple[torch.device, torch.dtype, float], list[str]] = {}
        for name, decay in decays.items():
            parameter = self._parameters[name]
            groups.setdefault((parameter.device, parameter.dtype, decay), []).append(name)
        for (_, _, decay), names in groups.items():
            self._fused(names, lr=lr, weight_decay=decay)
        if penalty and self._name == "adam":
            self._pull(penalty, lr)

    def _fused(self, names: Sequence[str], *, lr: float, weight_decay: float) -> None:
        """A step of the parameters `names`, which share a device and a dtype."""
        parameters = [self._parameters[name] for name in names]
        gradients, held = gradients_of(parameters), [self._buffers_of(name) for name in names]
        rates = {"lr": lr, "weight_decay": weight_decay}
        if self._name == "sgd":
            _sgd(parameters, gradients, [each["momentum_buffer"] for each in held], momentum=self._momentum, **rates)
        else:
            _adam(parameters, gradients, held, beta1=self._momentum, **rates)

    def _buffers_of(self, name: str) -> dict[str, Tensor]:
        """The buffers of a parameter: zeros before its first step."""
        if name not in self._buffers:
            parameter, kinds = self._parameters[name], BUFFERS[self._name]
            self._buffers[name] = {kind: torch.zeros_like(parameter, requires_grad=False) for kind in kinds}
            if self._name == "adam":
                self._buffers[name]["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return self._buffers[name]

    def _pull(self, penalty: Penalty, lr: float) -> None:
        """w + lr (mu Delta + lambda - mu w) / (sqrt(v_hat) + eps + lr mu), in place, after Adam's own step to w."""
        w, directions = list(penalty.parameters), gradients_of(penalty.parameters)
        held = [self._held(parameter) for parameter in w]
        bias = _bias(held[0])
        denominators = torch._foreach_sqrt([each["exp_avg_sq"] for each in held])
        torch._foreach_add_(denominators, bias * (EPS + lr * penalty.mu))
        torch._foreach_copy_(directions, list(penalty.pulls))  # reuses memory: new memory is slow
        torch._foreach_add_(directions, w, alpha=-penalty.mu)
        torch._foreach_addcdiv_(w, directions, denominators, value=bias * lr)

    def mu_unit(self, parameters: Sequence[Tensor]) -> float:
        """The unit of mu: 1 with SGD; with Adam the rms of the loss's gradient at `parameters`, by v_hat."""
        if self._name == "sgd":
            return 1.0
        held = [self._held(parameter) for parameter in parameters]
        total = sum(float(each["exp_avg_sq"].sum()) for each in held)
        return math.sqrt(total / sum(parameter.numel() for parameter in parameters)) / _bias(held[0])

    def _held(self, parameter: Tensor) -> dict[str, Tensor]:
        return self._buffers[self._names[id(parameter)]]

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Parameter -> buffer -> a copy of it; nothing for parameters that were not trained."""
        return {name: {kind: buffer.clone() for kind, buffer in held.items()} for name, held in self._buffers.items()}

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continues from `state`."""
        for name, held in state.items():
            for kind, buffer in self._buffers_of(name).items():
                buffer.copy_(held[kind])


def _bias(held: Mapping[str, Tensor]) -> float:
    """sqrt(v / v_hat)."""
    return math.sqrt(1 - BETA_2 ** float(held["step"]))


def _sgd(
    parameters: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor],
    *,
    lr: float,
    weight_decay: float,
    momentum: float,
) -> None:
    """Nesterov's step in place; without momentum the velocities do not change."""
    if parameters[0].device.type == "cpu" and parameters[0].dtype.itemsize < 4:
        # torch's fused kernel leaves them as they are (pytorch/pytorch issue 191763)
        wide = [[each.float() for each in group] for group in (parameters, gradients, velocities)]
        _sgd(*wide, lr=lr, weight_decay=weight_decay, momentum=momentum)
        torch._foreach_copy_([*parameters, *velocities], [*wide[0], *wide[2]])
        return
    given: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": momentum > 0}
    given |= {"dampening": 0.0, "maximize": False}
    if FUSED:
        torch._fused_sgd_(parameters, gradients, velocities if momentum else [], **given, is_first_step=False)
    else:
        from torch.optim.sgd import sgd

        sgd(parameters, gradients, [*velocities] if momentum else [None] * len(parameters), fused=True, **given)


def _adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    held: list[dict[str, Tensor]],
    *,
    lr: float,
    weight_decay: float,
    beta1: float,
) -> None:
    """Adam's step in place."""
    averages, squares, steps = ([each[kind] for each in held] for kind in (*BUFFERS["adam"], "step"))
    given: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "beta1": beta1, "beta2": BETA_2, "eps": EPS}
    given |= {"amsgrad": False, "maximize": False}
    if FUSED:
        torch._foreach_add_(steps, 1)
        torch._fused_adam_(parameters, gradients, averages, squares, [], steps, **given)
    else:
        from torch.optim.adam import adam

        adam(parameters, gradients, averages, squares, [], steps, fused=True, **given)
