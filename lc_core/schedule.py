"""How mu and the learning rate change over an LC run: a pure function of the budget."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from lc_core.fields import check_numbers, expect
from lc_core.training.data import batches_per_epoch
from lc_core.training.loop import Decay, Recipe
from lc_core.training.optimizers import OptimizerName

SHORT_BUDGET = 10
"""A run of up to this many epochs has 20 LC steps in place of 40. 10 steps are too few."""
MU_SCALE: dict[OptimizerName, float] = {"sgd": 0.23, "adam": 0.07}
MU_GROWTH: dict[OptimizerName, float] = {"sgd": 100.0, "adam": 1000.0}
CLOSED_GAP = 0.01
"""Below this relative gap ||w - Delta|| / ||Delta||, w has converged to Delta. Failed runs end near 0.3."""


@dataclass(frozen=True)
class LStep:
    """One LC step of a plan.

    Attributes:
        number: the number of the step, from 1.
        mu: penalty parameter; with Adam in units of the root mean square of the loss's gradient.
        lrs: the learning rate of each iteration.
        epochs: passes over the training split at the end of the step.
    """

    number: int
    mu: float
    lrs: tuple[float, ...]
    epochs: float


@dataclass(frozen=True)
class Schedule:
    """A budget, and the LC steps that follow from it.

    There are K = 40 steps of equal length (20 for up to ten epochs). The learning rate falls over the whole run. mu
    grows geometrically, in total by `mu_growth`, from mu_0 = 0.23 (1 - momentum) / (lr * iterations a step). At mu_0
    one L step moves w about a fifth of the way to Delta. A mu_0 from the loss,
    2 [L(Delta(w)) - L(w)] / ||w - Delta(w)||^2, was tried and failed on three of five cases.

    With Adam, mu_0 = 0.07 rms / (lr * iterations a step), since Adam divides lr by the size of the gradient and its
    momentum leaves out the penalty. rms is the root mean square of the loss's gradient by Adam's v, taken anew at each
    step; mu never falls. A factor of 0.23 froze supports too early; a growth of 100 from 0.07 left gaps open.

    Attributes:
        epochs: the whole budget, in passes over the training split.
        lr: learning rate at the start; take the reference's. Three times that was better on two tanh networks, and too
            much for a convolutional network with rectifiers.
        batch_size: examples a batch.
        momentum: the momentum of Nesterov's method, or Adam's beta_1. L steps keep the optimizer's state.
        mu_growth: mu of the last step over mu of the first; None means 100 with SGD and 1,000 with Adam.
        optimizer: "sgd" or "adam".
        clip_norm: largest norm of the loss's gradient over all parameters; None for no clipping.
        lr_decay: "linear" or "cosine", both down to 2 % of `lr`, or "constant".
        weight_decay: coefficient of ||w||^2 / 2 over all parameters, as part of L(w); take the reference's.
    """

    epochs: float
    lr: float
    batch_size: int
    momentum: float = 0.9
    mu_growth: float | None = None
    optimizer: OptimizerName = "sgd"
    clip_norm: float | None = None
    lr_decay: Decay = "linear"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self)
        expect(0 < self.epochs < math.inf, "epochs", self.epochs, "a positive number")
        growth = self.mu_growth
        expect(growth is None or 1 <= growth < math.inf, "mu_growth", growth, "a number, 1 or more, or None")
        _ = self.recipe  # checks the rest

    @property
    def recipe(self) -> Recipe:
        """The recipe of all L steps together."""
        return Recipe(
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            momentum=self.momentum,
            optimizer=self.optimizer,
            clip_norm=self.clip_norm,
            lr_decay=self.lr_decay,
            weight_decay=self.weight_decay,
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON data that `Schedule(**data)` reads. A job has its id from it, so a weight decay of 0 is left out."""
        return {name: value for name, value in asdict(self).items() if name != "weight_decay" or value}

    @property
    def steps(self) -> int:
        """K, the number of LC steps."""
        return 20 if self.epochs <= SHORT_BUDGET else 40

    def plan(self, examples: int) -> tuple[LStep, ...]:
        """The LC steps for a training split of `examples`."""
        per_epoch = batches_per_epoch(examples, self.batch_size)
        iterations = max(round(self.epochs * per_epoch), self.steps)
        lrs = self.recipe.lrs(iterations)
        damping = 1 - self.momentum if self.optimizer == "sgd" else 1.0
        mu_0 = MU_SCALE[self.optimizer] * damping * self.steps / (self.lr * iterations)
        ends = [round(number * iterations / self.steps) for number in range(self.steps + 1)]
        return tuple(
            LStep(
                number=number,
                mu=mu_0 * self._growth ** ((number - 1) / (self.steps - 1)),
                lrs=tuple(lrs[ends[number - 1] : ends[number]]),
                epochs=ends[number] / per_epoch,
            )
            for number in range(1, self.steps + 1)
        )

    def anew(self, steps: Sequence[LStep]) -> tuple[LStep, ...]:
        """Some steps of a plan: the learning rate runs over these as over a whole plan, and mu from their first."""
        lrs = iter(self.recipe.lrs(sum(len(step.lrs) for step in steps)))
        last = max(len(steps) - 1, 1)
        return tuple(
            replace(step, mu=steps[0].mu * self._growth ** (number / last), lrs=tuple(islice(lrs, len(step.lrs))))
            for number, step in enumerate(steps)
        )

    @property
    def _growth(self) -> float:
        """mu of the last step over mu of the first."""
        return MU_GROWTH[self.optimizer] if self.mu_growth is None else self.mu_growth

    def mu(self, step: LStep, *, boost: float, unit: float, previous: float) -> float:
        """The mu of `step`, from the boost, the optimizer's unit and the previous mu.

        SGD takes explicit steps in the penalty, and Nesterov's method at momentum 0.9 diverges at mu * lr = 1.36, so
        that mu * lr is capped at 1. Adam's step is implicit. Its unit may shrink, but mu does not.
        """
        mu = step.mu * boost * unit
        return min(mu, 1 / step.lrs[0]) if self.optimizer == "sgd" else max(mu, previous)

    def boost(self, boost: float, *, step: int, steps: int, gaps: Sequence[float]) -> float:
        """The factor on the plan's mu at LC step `step` of `steps`, from the previous `boost` and the gaps so far.

        A run fails when mu ends too small. In the second half of the run the factor grows by half whenever the gap did
        not fall. In the last tenth it doubles at each step until the gap has closed.
        """
        gap = gaps[-1]
        if gap <= CLOSED_GAP:
            return boost
        if step > steps - steps // 10:
            return boost * 2
        if step > steps // 2 and len(gaps) > 1 and gap >= gaps[-2]:
            return boost * 1.5
        return boost
