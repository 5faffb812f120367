"""The optimizers of training and of the L step, Nesterov SGD and Adam: the penalty stays beside the loss's gradient."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

OptimizerName = Literal["sgd", "adam"]
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)

BETA_2, EPS = 0.999, 1e-8
NO_GRADIENT = "the loss gives no gradient to weights that are to be compressed: are they frozen or unused?"


@dataclass(frozen=True, eq=False)
class Penalty:
    """The L step's quadratic pull, mu/2 ||w - Delta||^2 - lambda^T (w - Delta); autograd never sees it.

    Attributes:
        parameters: w, the governed parameters.
        mu: the penalty parameter.
        pulls: mu Delta + lambda, one tensor a parameter.
    """

    parameters: Sequence[Tensor]
    mu: float
    pulls: Sequence[Tensor]


def gradients_of(parameters: Sequence[Tensor]) -> list[Tensor]:
    """The gradients that `parameters` hold. ValueError where one has none."""
    found = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if len(found) < len(parameters):
        raise ValueError(NO_GRADIENT)
    return found


class Optimizer:
    """Nesterov SGD or Adam over the parameters of a model that train, fused.

    A step descends L(w) + mu/2 ||w - Delta||^2 - lambda^T (w - Delta), given the gradient g of L:

    - "sgd" follows g + mu (w - Delta) - lambda, momentum and all.
    - "adam" (Kingma and Ba, arXiv:1412.6980, algorithm 1) takes m and v from g alone. With each weight's own
      eta = lr / (sqrt(v_hat) + eps) it goes to the minimum over u of
      m_hat u + mu/2 (u - Delta)^2 - lambda (u - Delta) + (u - w)^2 / (2 eta), which is
      (w - eta m_hat + eta (mu Delta + lambda)) / (1 + eta mu).

    Both rest where g + mu (w - Delta) = lambda. Adam's step is implicit in the penalty because an explicit one explodes
    wherever v is small: eta is lr / eps at a weight whose input is always zero.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: OptimizerName,
        momentum: float,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None:
        """`momentum` is Adam's beta_1; weight decay and clipping are as `lc_core.training.Recipe` says."""
        self._parameters = {key: p for key, p in model.named_parameters() if p.requires_grad}
        self._clip_norm, self._weight_decay = clip_norm, weight_decay
        self._decayed: Penalty | None = None
        trained = list(self._parameters.values())
        self._inner: torch.optim.SGD | torch.optim.Adam
        if name == "sgd":
            self._inner = torch.optim.SGD(
                trained, lr=0.0, momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay, fused=True
            )
        else:
            betas = (momentum, BETA_2)
            self._inner = torch.optim.Adam(trained, lr=0.0, betas=betas, eps=EPS, weight_decay=weight_decay, fused=True)

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        self._inner.zero_grad()

    def clip(self) -> None:
        """Shortens the gradient over all parameters, which they hold, to the norm that it may have at most."""
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters.values(), self._clip_norm)

    def step(self, *, lr: float, penalty: Penalty | None = None) -> None:
        """One step from the loss's gradients, which the parameters hold and which it overwrites."""
        self.clip()
        if isinstance(self._inner, torch.optim.SGD):
            if penalty is not self._decayed:
                self._decay(penalty)
            if penalty:
                torch._foreach_sub_(gradients_of(penalty.parameters), list(penalty.pulls))
        for group in self._inner.param_groups:
            group["lr"] = lr
        self._inner.step()
        if penalty and isinstance(self._inner, torch.optim.Adam):
            self._pull(penalty, lr)

    def _decay(self, penalty: Penalty | None) -> None:
        """Has the penalty's mu w added by the fused step on its way, as weight decay of the governed parameters."""
        self._decayed = penalty
        governed = {id(parameter) for parameter in penalty.parameters} if penalty else set()
        held: tuple[list[Tensor], list[Tensor]] = ([], [])
        for parameter in self._parameters.values():
            held[id(parameter) in governed].append(parameter)
        decays = (self._weight_decay, self._weight_decay + (penalty.mu if penalty else 0.0))
        self._inner.param_groups = [
            self._inner.param_groups[0] | {"params": parameters, "weight_decay": decay}
            for parameters, decay in zip(held, decays, strict=True)
            if parameters
        ]

    @torch.no_grad()
    def _pull(self, penalty: Penalty, lr: float) -> None:
        """w + lr (mu Delta + lambda - mu w) / (sqrt(v_hat) + eps + lr mu), in place, after Adam's own step to w."""
        w, directions = list(penalty.parameters), gradients_of(penalty.parameters)
        bias = self._bias(w[0])
        denominators = torch._foreach_sqrt([self._inner.state[parameter]["exp_avg_sq"] for parameter in w])
        torch._foreach_add_(denominators, bias * (EPS + lr * penalty.mu))
        torch._foreach_copy_(directions, list(penalty.pulls))  # into memory that is at hand: fresh memory is slow
        torch._foreach_add_(directions, w, alpha=-penalty.mu)
        torch._foreach_addcdiv_(w, directions, denominators, value=bias * lr)

    def _bias(self, parameter: Tensor) -> float:
        """sqrt(v / v_hat)."""
        return math.sqrt(1 - BETA_2 ** float(self._inner.state[parameter]["step"]))

    def mu_unit(self, parameters: Sequence[Tensor]) -> float:
        """What mu is in units of: 1 with SGD, with Adam the rms of the loss's gradient at `parameters`, by v_hat."""
        if isinstance(self._inner, torch.optim.SGD):
            return 1.0
        total = sum(float(self._inner.state[parameter]["exp_avg_sq"].sum()) for parameter in parameters)
        return math.sqrt(total / sum(parameter.numel() for parameter in parameters)) / self._bias(parameters[0])

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Parameter -> buffer -> a copy of it; nothing for parameters that took no part in training."""
        held = {name: self._inner.state.get(parameter, {}) for name, parameter in self._parameters.items()}
        return {
            name: {key: value.clone() for key, value in buffers.items() if isinstance(value, Tensor)}
            for name, buffers in held.items()
            if buffers
        }

    def restore(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Goes on from `state`."""
        for name, buffers in state.items():
            self._inner.state[self._parameters[name]] = {key: value.clone() for key, value in buffers.items()}
