"""Ready metrics: top_k, mse, r2, f1, mean_iou and auroc. The accuracy is in `sweep.study.measure`.

All are functions of means over the examples, or (auroc) of their weights, so that a thousand resamples of a bootstrap
are computed together.
"""

import functools
from typing import Any

import torch
from torch import Tensor

from lc_core.training.nest import told_of
from sweep.study.measure import Measure, logits_of


def top_k(k: int) -> Measure:
    """The share of examples whose target class is among the `k` largest of the logits (n, classes)."""
    return Measure(functools.partial(_in_top, k=k), unit="%")


def mse(unit: str = "") -> Measure:
    """The mean squared error of outputs (n, ...) against targets of that shape; lower is better.

    `unit` is that of the square, such as "mm2".
    """
    return Measure(_squared_error, higher_is_better=False, unit=unit)


def r2() -> Measure:
    """The coefficient of determination, the mean over the outputs where there are several: 1 - MSE / variance."""
    return Measure(_squares, of_means=_r2_of)


def f1() -> Measure:
    """The F1 score, without weights over the classes that occur (macro).

    Of logits (n, classes) and classes (n,). Of one logit (n,) or (n, 1) and targets 0 or 1, the F1 of class 1; of
    several, (n, labels) for both, the mean over the labels.
    """
    return Measure(_class_counts, of_means=_f1_of)


def mean_iou(ignore: int | None = None) -> Measure:
    """Intersection over union of all examples together, the mean over the classes that occur.

    Of logits (n, classes, ...) and classes (n, ...), or of one logit a place, (n, ...) or (n, 1, ...), and targets 0
    or 1. Places where the target is `ignore` do not count.
    """
    return Measure(functools.partial(_place_counts, ignore=ignore), unit="%", of_means=_iou_of)


def auroc() -> Measure:
    """The area under the ROC curve; of several classes the mean of each one's against the rest.

    Of the same shapes as `f1`. It is NaN, which is refused, where no class has examples both in it and outside.
    """
    return Measure(_scores_and_truth, of_weights=_auroc_of)


def _refused(name: str, expected: str, outputs: Any, targets: Any) -> ValueError:
    return ValueError(f"expected {expected} for {name}, got outputs {told_of(outputs)} and targets {told_of(targets)}")


def _in_top(outputs: Any, targets: Any, *, k: int) -> Tensor:
    logits = logits_of(outputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not 1 <= k < logits.shape[1] or not _classes(targets, 1):
        raise _refused(f"top_k({k})", f"logits (n, classes) of more than {k} classes and classes (n,)", logits, targets)
    right: Tensor = (logits.topk(k, dim=1).indices == targets[:, None]).any(dim=1)
    return right.float()


def _numbers(name: str, outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
    """Outputs and targets (n, m), float64. A column and a row without it are of one shape."""
    found = logits_of(outputs)
    if isinstance(found, Tensor) and isinstance(targets, Tensor) and len(found) == len(targets):
        one, other = found.double().flatten(1) if found.ndim > 1 else found.double()[:, None], targets.double()
        other = other.flatten(1) if other.ndim > 1 else other[:, None]
        if found.shape == targets.shape or one.shape[1] == other.shape[1] == 1:
            return one, other
    raise _refused(name, "outputs and targets of one shape", found, targets)


def _squared_error(outputs: Any, targets: Any) -> Tensor:
    one, other = _numbers("mse", outputs, targets)
    return (one - other).square().mean(dim=1)


def _squares(outputs: Any, targets: Any) -> Tensor:
    """(n, 3, m): the squared error, the target and its square."""
    one, other = _numbers("r2", outputs, targets)
    return torch.stack([(one - other).square(), other, other.square()], dim=1)


def _r2_of(means: Tensor) -> Tensor:
    error, target, square = means.unbind(dim=1)
    return (1 - error / (square - target.square()).clamp(min=0)).mean(dim=1)


def _classes(targets: Any, dims: int) -> bool:
    return isinstance(targets, Tensor) and not targets.is_floating_point() and targets.ndim == dims


def _yes_or_no(outputs: Tensor, targets: Any) -> tuple[Tensor, Tensor] | None:
    """Outputs and targets (n, labels) where there is a logit a label, and targets are 0 or 1; else None."""
    if not isinstance(targets, Tensor) or len(outputs) != len(targets) or outputs.numel() != targets.numel():
        return None
    if not bool(((targets == 0) | (targets == 1)).all()):
        return None
    return outputs.reshape(len(outputs), -1), targets.reshape(len(targets), -1) == 1


def _counts(classes: Tensor, counted: Tensor, number: int) -> Tensor:
    """(n, number): how many places (n, m) of each class are counted."""
    counts = torch.zeros(len(classes), number, dtype=torch.float64, device=classes.device)
    return counts.scatter_add_(1, classes, counted.double())


def _class_counts(outputs: Any, targets: Any) -> Tensor:
    """(n, 3, classes): right, said and true."""
    logits = logits_of(outputs)
    if isinstance(logits, Tensor) and logits.ndim in (1, 2):
        if logits.ndim == 2 and logits.shape[1] > 1 and _classes(targets, 1):
            said, true = logits.argmax(dim=1)[:, None], targets[:, None].long()
            every = torch.ones_like(true)
            return torch.stack(
                [
                    _counts(said, said == true, logits.shape[1]),
                    *(_counts(each, every, logits.shape[1]) for each in (said, true)),
                ],
                dim=1,
            )
        if (pair := _yes_or_no(logits, targets)) is not None:
            said, true = pair[0] > 0, pair[1]
            return torch.stack([said & true, said, true], dim=1).double()
    expected = "logits (n, classes) and classes (n,), or a logit and a target 0 or 1 a label"
    raise _refused("f1", expected, logits, targets)


def _f1_of(means: Tensor) -> Tensor:
    right, said, true = means.unbind(dim=1)
    return (2 * right / (said + true)).nanmean(dim=1)  # 0 / 0 of a class that does not occur


def _place_counts(outputs: Any, targets: Any, *, ignore: int | None) -> Tensor:
    """(n, 3, classes): right, said and true, over the places of an example."""
    logits = logits_of(outputs)
    if isinstance(logits, Tensor) and isinstance(targets, Tensor) and len(logits) == len(targets):
        counted = torch.ones_like(targets, dtype=torch.bool) if ignore is None else targets != ignore
        if logits.ndim == targets.ndim + 1 and logits.shape[1] > 1 and not targets.is_floating_point():
            number, said = logits.shape[1], logits.argmax(dim=1)
        else:
            number, said = 2, (logits > 0).long()
        if said.numel() == targets.numel():
            said, counted = said.flatten(1), counted.flatten(1)
            true = torch.where(counted, targets.flatten(1), 0).long()
            kinds = (_counts(said, counted & (said == true), number), _counts(said, counted, number))
            return torch.stack([*kinds, _counts(true, counted, number)], dim=1)
    raise _refused("mean_iou", "logits (n, classes, ...) and classes (n, ...)", logits, targets)


def _iou_of(means: Tensor) -> Tensor:
    right, said, true = means.unbind(dim=1)
    return (right / (said + true - right)).nanmean(dim=1)


def _scores_and_truth(outputs: Any, targets: Any) -> Tensor:
    """(n, 2, classes): the score of each class, and 1 for the true one."""
    logits = logits_of(outputs)
    if isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] > 1 and _classes(targets, 1):
        truth = torch.nn.functional.one_hot(targets.long(), logits.shape[1]).double()
        both = torch.stack([logits.double().softmax(dim=1), truth], dim=1)
        return both[:, :, 1:] if logits.shape[1] == 2 else both
    pair = _yes_or_no(logits, targets) if isinstance(logits, Tensor) else None
    if pair is None:
        expected = "logits (n, classes) and classes (n,), or a logit and a target 0 or 1 a label"
        raise _refused("auroc", expected, logits, targets)
    return torch.stack([pair[0].double(), pair[1].double()], dim=1)


def _auroc_of(rows: Tensor, weights: Tensor) -> Tensor:
    return torch.stack([_area(score, true, weights) for score, true in rows.permute(2, 1, 0)]).nanmean(dim=0)


def _area(scores: Tensor, true: Tensor, weights: Tensor) -> Tensor:
    """The share of pairs of a true and another example in which the true one has the larger score; ties count half.

    Of scores (n,), true (n,) 0 or 1, and weights (k, n); NaN where there are no such pairs.
    """
    order = scores.argsort()
    yes, no = weights[:, order] * true[order], weights[:, order] * (1 - true[order])
    _, count = scores.unique(return_counts=True)
    last = count.cumsum(0).repeat_interleave(count) - 1
    first = last + 1 - count.repeat_interleave(count)
    up_to = no.cumsum(dim=1)
    below, with_ties = up_to[:, first] - no[:, first], up_to[:, last]
    return (yes * (below + with_ties) / 2).sum(dim=1) / (yes.sum(dim=1) * no.sum(dim=1))
