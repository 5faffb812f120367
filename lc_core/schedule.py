"""How mu and the learning rate move over an LC run: a pure function of the budget."""

from collections.abc import Sequence
from dataclasses import dataclass

from lc_core.training import batches_per_epoch, linear_lr

SHORT_BUDGET = 10
"""Epochs up to which a run has 20 LC steps in place of 40; 10 steps are too few."""
MU_SCALE = 0.23
CLOSED_GAP = 0.01
"""The relative gap ||w - Delta|| / ||Delta|| under which a run has closed; runs that go wrong end near 0.3."""


@dataclass(frozen=True)
class LStep:
    """One LC step of a plan.

    Attributes:
        number: 1 for the first.
        mu: penalty parameter.
        lrs: the learning rate of each of its iterations.
        epochs: passes over the training split at its end.
    """

    number: int
    mu: float
    lrs: tuple[float, ...]
    epochs: float


@dataclass(frozen=True)
class Schedule:
    """A budget, and the LC steps that follow from it.

    K = 40 steps of equal length (20 for up to ten epochs). The learning rate falls linearly to 2 % of `lr` over the
    whole run. mu grows geometrically by `mu_growth` from mu_0 = 0.23 (1 - momentum) / (lr * iterations a step): over
    one L step, the pull then moves w by about a fifth of its way. mu_0 from the loss,
    2 [L(Delta(w)) - L(w)] / ||w - Delta(w)||^2, was tried and failed on three of five cases.

    Attributes:
        epochs: the budget, in passes over the training split, counted in full.
        lr: learning rate at the start: the reference's.
        batch_size: examples a batch.
        momentum: of Nesterov's method, kept across L steps.
        mu_growth: the last step's mu over the first's.
    """

    epochs: float
    lr: float
    batch_size: int
    momentum: float = 0.9
    mu_growth: float = 100.0

    @property
    def steps(self) -> int:
        """K, the number of LC steps."""
        return 20 if self.epochs <= SHORT_BUDGET else 40

    def plan(self, examples: int) -> tuple[LStep, ...]:
        """The LC steps for a training split of `examples`."""
        per_epoch = batches_per_epoch(examples, self.batch_size)
        iterations = max(round(self.epochs * per_epoch), self.steps)
        lrs = [linear_lr(self.lr, iteration=i, iterations=iterations) for i in range(iterations)]
        mu_0 = MU_SCALE * (1 - self.momentum) * self.steps / (self.lr * iterations)
        ends = [round(number * iterations / self.steps) for number in range(self.steps + 1)]
        return tuple(
            LStep(
                number=number,
                mu=mu_0 * self.mu_growth ** ((number - 1) / (self.steps - 1)),
                lrs=tuple(lrs[ends[number - 1] : ends[number]]),
                epochs=ends[number] / per_epoch,
            )
            for number in range(1, self.steps + 1)
        )

    def boost(self, boost: float, *, step: int, gaps: Sequence[float]) -> float:
        """By how much mu is to be above the plan's at LC step `step`, given `boost` before and the gaps so far.

        mu too small at the end is the failure to watch for. In the second half of the run mu is raised by half
        whenever the gap did not fall; over the last tenth of the steps it is doubled at each until the gap has closed.
        """
        gap = gaps[-1]
        if gap <= CLOSED_GAP:
            return boost
        if step > self.steps - self.steps // 10:
            return boost * 2
        if step > self.steps // 2 and len(gaps) > 1 and gap >= gaps[-2]:
            return boost * 1.5
        return boost
