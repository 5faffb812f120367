"""Checks one batch: forward, loss and gradients of a training batch, and the metrics of a validation batch."""

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.training.data import Source, Split
from lc_core.training.loop import DivergedError
from lc_core.training.nest import Nest, cloned, leaves, map_nest, told_of
from sweep.job.evidence import MetricError
from sweep.job.measure import evidence
from sweep.prepare.check_metrics import check_metric, wanted_examples
from sweep.store.coverage import LISTED
from sweep.study import Data, Study
from sweep.study.errors import StudyError, users_code

CALLED = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Batch:
    """One training batch, as the check found it.

    Attributes:
        inputs: types and shapes.
        targets: likewise.
        outputs: likewise.
        loss: of the model as it is.
        scores: metric -> its value on the first examples of validation.
    """

    inputs: str
    targets: str
    outputs: str
    loss: float
    scores: dict[str, float]


def check_batch(study: Study, data: Data, model: nn.Module, governed: Collection[str]) -> Batch:
    """One training batch forward, its loss and gradients; one validation batch and its metrics.

    Args:
        study: the study.
        data: its splits.
        model: with the weights that it begins with.
        governed: the names of the parameters that some family compresses.

    Raises:
        StudyError: something that the user's code returned is not what was expected.
    """
    _check_finite(study, data, model)
    train = _augmented(study, data.train)
    with _calls(study, "load_data", "reading a training batch"):
        batch = next(train.batches(batch_size=study.schedule.batch_size, seed=0).take(1))
    inputs, targets = _separated(study, batch)
    given = cloned(inputs)
    with _forward(study, model.train(), inputs, "the model"):
        outputs = study.training_forward(model, inputs)
    if not _tensors(outputs):
        expected = f"a tensor, or a tuple or mapping with tensors, of inputs {told_of(inputs)}"
        raise _wrong(study, "forward", expected, outputs)
    with _calls(study, "loss", f"outputs {told_of(outputs)} and targets {told_of(targets)}"):
        loss = study.loss(outputs, targets)
    _check_loss(study, loss)
    with _calls(study, "loss", "its gradient"):
        loss.backward()
    _check_gradients(study, model, governed)
    _check_outputs(study, model, given, inputs)
    return Batch(told_of(inputs), told_of(targets), told_of(outputs), float(loss.detach()), _scores(study, data, model))


def some(names: list[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _augmented(study: Study, train: Source) -> Source:
    """What is trained on. StudyError where `augment` fails, or gives another number of examples."""
    if study.augment is None:
        return train
    inputs = study.in_memory(train).inputs
    with _calls(study, "augment", f"training inputs {told_of(inputs)}"):
        augmented = study.augmented(train)
        count = len(augmented)
    if count != len(train):
        raise StudyError(
            f"study {study.name}: augment: expected as many examples as there are training inputs, {len(train):,}, got "
            f"{count:,}"
        )
    return augmented


def _separated(study: Study, batch: Any) -> tuple[Nest, Nest]:
    if not isinstance(batch, tuple) or len(batch) != 2:
        raise _wrong(study, "separate", "the pair (inputs, targets)", batch)
    return batch


def _check_loss(study: Study, loss: Any) -> None:
    expected = "a tensor with one number, the mean over the batch"
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        raise _wrong(study, "loss", expected, loss)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise StudyError(f"study {study.name}: loss: expected a finite number for the first batch, got {value}")
    if not loss.requires_grad:
        raise StudyError(
            f"study {study.name}: loss: expected a loss that depends on the weights, got one without a gradient; does "
            "forward or loss use detach, no_grad, argmax or .item()?"
        )


def _check_gradients(study: Study, model: nn.Module, governed: Collection[str]) -> None:
    """StudyError where a parameter that some family governs has no gradient, or one that is not finite."""
    parameters = dict(model.named_parameters())
    without = [name for name in sorted(governed) if name in parameters and parameters[name].grad is None]
    if without:
        raise StudyError(
            f"study {study.name}: forward: expected a gradient for every weight under a compression, got none for "
            f"{some(without)}; leave layers that do not run, or are frozen, out of the plan"
        )
    gradients = {name: each.grad for name, each in parameters.items() if each.grad is not None}
    infinite = [name for name, gradient in gradients.items() if not bool(gradient.isfinite().all())]
    if infinite:
        what = f"expected finite gradients, got NaN or infinity for {some(infinite)}"
        raise StudyError(f"study {study.name}: loss: {what}")


@torch.no_grad()
def _check_outputs(study: Study, model: nn.Module, given: Nest, inputs: Nest) -> None:
    """StudyError where the model writes into its inputs, which were those `given`, or its outputs in evaluation mode
    are not finite, or others a second time.
    """
    if not _same(given, inputs):
        raise StudyError(
            f"study {study.name}: forward: expected inputs to stay as they are, got others after the model ran; does "
            "it write into them, as x.mul_() or x[...] = ... do? Let the model, or a forward of the study's, clone them"
        )
    with _forward(study, model.eval(), inputs, "the model in evaluation mode,"):
        first, second = study.forward(model, inputs), study.forward(model, inputs)
    if not all(bool(leaf.isfinite().all()) for leaf in _tensors(first)):
        raise StudyError(
            f"study {study.name}: forward: expected finite outputs in evaluation mode, got NaN or infinity; where the "
            "model masks outputs with -inf, a large negative number such as -1e4 does the same"
        )
    if not _same(first, second):
        raise StudyError(
            f"study {study.name}: forward: expected the same outputs for the same inputs in evaluation mode, got "
            "others the second time; does it draw random numbers (functional.dropout takes training=self.training), "
            "or keep what it was called with before?"
        )


@torch.no_grad()
def _check_finite(study: Study, data: Data, model: nn.Module) -> None:
    """StudyError where a split in memory holds NaN or infinity, and so has what the first such example gives.

    A model, a loss or a metric may leave out what is NaN, such as missing values.
    """
    for name, split in data.items():
        bad = _not_finite(split) if isinstance(split, Split) else []
        if bad and not _gives_finite(study, split, bad[0], model, trains=name == "train"):
            raise StudyError(
                f"study {study.name}: load_data: expected finite numbers, got NaN or infinity in {len(bad):,} of "
                f"{len(split):,} {CALLED[name]} examples, the first of which is number {bad[0]}"
            )


def _not_finite(split: Split) -> list[int]:
    """The numbers of the examples that hold NaN or infinity."""
    good = torch.ones(len(split), dtype=torch.bool)
    for leaf in leaves((split.inputs, split.targets)):
        if leaf.is_floating_point() and not bool(leaf.sum().isfinite()):
            good &= leaf.isfinite().reshape(len(leaf), -1).all(dim=1).cpu()
    return [int(number) for number in (~good).nonzero()]


def _gives_finite(study: Study, split: Split, number: int, model: nn.Module, *, trains: bool) -> bool:
    """Whether one example has a finite loss; of a split that does not train, finite outputs and scores."""
    inputs, targets = map_nest(lambda leaf: leaf[number : number + 1], (split.inputs, split.targets))
    if trains:
        with _calls(study, "loss", "one training example"):
            return bool(study.loss(study.forward(model.eval(), inputs), targets).isfinite().all())
    with _calls(study, "a metric", "one example"):
        try:
            evidence(model, Split(inputs, targets), study=study)
        except (DivergedError, MetricError):
            return False
    return True


@torch.no_grad()
def _scores(study: Study, data: Data, model: nn.Module) -> dict[str, float]:
    """Each metric of the first examples of validation."""
    with _calls(study, "load_data", "reading a validation batch"):
        batch = next(data.val.parts(wanted_examples(study)))
    inputs, targets = _separated(study, batch)
    with _forward(study, model.eval(), inputs, "the model in evaluation mode,"):
        outputs = study.forward(model, inputs)
    n = len(next(leaves(targets)))
    return {name: check_metric(study, name, outputs, targets, n) for name in study.metrics}


def _same(one: Nest, other: Nest) -> bool:
    """Whether the tensors of two nests hold the same values, to the rounding of sums whose order is not fixed."""
    return all(
        torch.allclose(a, b, rtol=1e-3, atol=1e-5, equal_nan=True) if a.is_floating_point() else torch.equal(a, b)
        for a, b in zip(_tensors(one), _tensors(other), strict=True)
    )


def _tensors(nest: Nest) -> list[Tensor]:
    return [leaf for leaf in leaves(nest) if isinstance(leaf, Tensor)]


def _wrong(study: Study, function: str, expected: str, got: Any) -> StudyError:
    return StudyError(f"study {study.name}: {function}: expected {expected}, got {told_of(got)}")


def _calls(study: Study, function: str, what: str) -> Any:
    return users_code(f"study {study.name}: {function} failed on {what}")


@contextmanager
def _forward(study: Study, model: nn.Module, inputs: Nest, what: str) -> Iterator[None]:
    """A call of forward. The line says more where the inputs are of another type than the weights."""
    try:
        with _calls(study, "forward", f"{what} of inputs {told_of(inputs)}"):
            yield
    except StudyError as error:
        types = {each.dtype for each in model.parameters() if each.is_floating_point()}
        others = [leaf.dtype for leaf in _tensors(inputs) if leaf.is_floating_point() and leaf.dtype not in types]
        if not others or not isinstance(error.__cause__, RuntimeError):
            raise
        weights, wrong = " and ".join(sorted(map(_told, types))), _told(others[0])
        raise StudyError(
            f"{error}; the weights are {weights}, the inputs {wrong}: let load_data convert them"
        ) from error


def _told(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
