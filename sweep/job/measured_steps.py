"""After which LC steps of a job the compressed model is measured. It costs up to a tenth of the training."""

from lc_core.schedule import Schedule

SHARE = 0.1
"""Of the training, what measuring may cost. The first and the last step are measured whatever they cost."""
PASSES = 2.5
"""Training on an example costs at least as much as so many forward passes of it (measured: 2.5 to 3)."""
CHEAP = 10**9
"""Where measuring takes at most so many multiply-accumulates, a tenth of a second, every step is measured."""


def measured_steps(schedule: Schedule, *, train: int, val: int, statistics: int, macs: int) -> frozenset[int]:
    """Numbers of LC steps, evenly spaced: 0 (direct compression), the last, and those between that a job can afford.

    They depend on the budget and on sizes, not on a clock: the same job has the same curves.

    Args:
        schedule: the job's budget.
        train: examples of the training split.
        val: examples of the validation split.
        statistics: examples that batch-norm statistics are estimated on; 0 without batch norm.
        macs: multiply-accumulates of the reference for one example.
    """
    last, each = schedule.steps, val + statistics
    if each * macs <= CHEAP:
        return frozenset(range(last + 1))
    trained = PASSES * schedule.plan(train)[-1].epochs * train
    affordable = SHARE * trained - 2 * each
    between = min(max(int(affordable / each), 0), last - 1)
    return frozenset({0, last} | {round(number * last / (between + 1)) for number in range(1, between + 1)})
