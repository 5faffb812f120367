"""What a model scores on a split."""

from typing import Any

import torch
from torch import Tensor, nn

from lc_core.training.data import Source
from lc_core.training.loop import DivergedError, predictions
from lc_core.training.nest import leaves, told_of
from sweep.intervals import paired_drop, wilson
from sweep.store.record import Drop, Score
from sweep.study import Study


def measure(model: nn.Module, split: Source, *, study: Study) -> Score:
    """The study's metrics of `model` on `split`, n, and the 95 % interval of the accuracy.

    Raises:
        DivergedError: an output is NaN or infinite.
    """
    return summary(scores(model, split, study=study))


def summary(found: dict[str, Tensor]) -> Score:
    """The same, from scores that were computed before."""
    means = {name: float(score.mean()) for name, score in found.items()}
    value, n = means.pop("accuracy"), len(found["accuracy"])
    low, high = wilson(value, n=n)
    return Score(value=value, metrics=means, n=n, low=low, high=high)


def scores(model: nn.Module, split: Source, *, study: Study) -> dict[str, Tensor]:
    """Metric -> its score of each example of `split`, float64 (n,). DivergedError as `measure`."""
    found: dict[str, list[Tensor]] = {name: [] for name in study.metrics}
    for outputs, targets in predictions(model, split, forward=study.forward):
        if not all(bool(torch.isfinite(leaf).all()) for leaf in leaves(outputs) if isinstance(leaf, Tensor)):
            raise DivergedError("the model's outputs hold NaN or infinity")
        n = len(next(leaves(targets)))
        for name, metric in study.metrics.items():
            found[name].append(checked(name, metric(outputs, targets), n))
    return {name: torch.cat(parts) for name, parts in found.items()}


def drop(reference: Tensor, found: Tensor) -> Drop:
    """From scores `reference` (n,) to `found` (n,) on the same examples: the drop of their mean, its 95 % interval."""
    change = reference - found
    lost, won = float(change.clamp(min=0).sum()), float((-change).clamp(min=0).sum())
    low, high = paired_drop(lost, won, n=len(change))
    return Drop(drop=(lost - won) / len(change), low=low, high=high)


def checked(name: str, score: Any, n: int) -> Tensor:
    """What the metric of this name gave for `n` examples, as float64 (n,). ValueError unless each is in [0, 1]."""
    if not isinstance(score, Tensor) or tuple(score.shape) != (n,):
        raise ValueError(
            f"metric {name!r}: expected a score for each of {n} examples, a tensor of shape ({n},), got "
            f"{told_of(score)}"
        )
    exact = score.double()
    if not bool(((exact >= 0) & (exact <= 1)).all()):  # NaN too
        low, high = float(exact.min()), float(exact.max())
        raise ValueError(f"metric {name!r}: expected scores in [0, 1], got {low:g} to {high:g}")
    return exact
