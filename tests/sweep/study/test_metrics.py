"""The ready metrics are those of scikit-learn, whole and in parts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import Tensor

from sweep.job.evidence import Evidence, MetricError, drop, rows_of
from sweep.study.measure import Measure, described
from sweep.study.metrics import auroc, f1, mean_iou, mse, r2, top_k

N = 203
DRAW = torch.Generator().manual_seed(5)
LOGITS = torch.randn(N, 4, generator=DRAW)
CLASSES = torch.where(torch.rand(N, generator=DRAW) < 0.5, LOGITS.argmax(1), torch.randint(4, (N,), generator=DRAW))
LOGIT = torch.randn(N, 1, generator=DRAW).mul(4).round().div(4)  # ties
YES = (LOGIT[:, 0] + torch.randn(N, generator=DRAW) > 0.3).long()
LABELS = torch.randn(N, 3, generator=DRAW)
TRUE = (LABELS + torch.randn(N, 3, generator=DRAW) > 0.8).float()
PICTURES = torch.randn(N, 3, 4, 5, generator=DRAW)
PLACES = torch.where(
    torch.rand(N, 4, 5, generator=DRAW) < 0.6, PICTURES.argmax(1), torch.randint(3, (N, 4, 5), generator=DRAW)
)
NUMBERS = torch.randn(N, 2, generator=DRAW)
WANTED = NUMBERS + 0.5 * torch.randn(N, 2, generator=DRAW) + 3

CASES: dict[str, tuple[Measure, Any, Any, Callable[[], float]]] = {
    "top_k": (
        *(top_k(2), LOGITS, CLASSES),
        lambda: sklearn.metrics.top_k_accuracy_score(CLASSES, LOGITS, k=2, labels=range(4)),
    ),
    "mse": (mse("m2"), NUMBERS, WANTED, lambda: sklearn.metrics.mean_squared_error(WANTED, NUMBERS)),
    "mse of a column": (mse(), LOGIT, YES, lambda: sklearn.metrics.mean_squared_error(YES, LOGIT)),
    "r2": (r2(), NUMBERS, WANTED, lambda: sklearn.metrics.r2_score(WANTED, NUMBERS)),
    "f1": (f1(), LOGITS, CLASSES, lambda: sklearn.metrics.f1_score(CLASSES, LOGITS.argmax(1), average="macro")),
    "f1 of a logit": (f1(), LOGIT, YES, lambda: sklearn.metrics.f1_score(YES, LOGIT[:, 0] > 0)),
    "f1 of labels": (f1(), LABELS, TRUE, lambda: sklearn.metrics.f1_score(TRUE, LABELS > 0, average="macro")),
    "mean_iou": (
        *(mean_iou(), PICTURES, PLACES),
        lambda: sklearn.metrics.jaccard_score(PLACES.flatten(), PICTURES.argmax(1).flatten(), average="macro"),
    ),
    "mean_iou without a class": (
        *(mean_iou(ignore=0), PICTURES, PLACES),
        lambda: sklearn.metrics.jaccard_score(PLACES[PLACES > 0], PICTURES.argmax(1)[PLACES > 0], average="macro"),
    ),
    "auroc": (auroc(), LOGIT, YES, lambda: sklearn.metrics.roc_auc_score(YES, LOGIT)),
    "auroc of two": (
        auroc(),
        LOGITS[:, :2],
        YES,
        lambda: sklearn.metrics.roc_auc_score(YES, LOGITS[:, 1] - LOGITS[:, 0]),
    ),
    "auroc of classes": (
        *(auroc(), LOGITS, CLASSES),
        lambda: sklearn.metrics.roc_auc_score(CLASSES, LOGITS.double().softmax(1), multi_class="ovr"),
    ),
    "auroc of labels": (auroc(), LABELS, TRUE, lambda: sklearn.metrics.roc_auc_score(TRUE, LABELS)),
}


def evidence(measure: Measure, outputs: Any, targets: Any, name: str = "it") -> Evidence:
    n = len(targets)
    return Evidence(described(name, measure), measure, n, rows_of(name, measure, outputs, targets, n=n))


@pytest.mark.parametrize("case", CASES)
def test_a_ready_metric_is_that_of_scikit_learn(case: str) -> None:
    measure, outputs, targets, known = CASES[case]
    found = evidence(measure, outputs, targets)
    assert found.value == pytest.approx(known(), rel=1e-6)
    low, high = found.interval()
    assert low < found.value < high
    assert high - low < 0.6 * max(1.0, abs(found.value))
    reference = found.points
    same = drop(found.metric, reference, reference)
    assert same.drop == 0
    assert same.low <= 0 <= same.high


@pytest.mark.parametrize("case", CASES)
def test_a_ready_metric_of_a_column_of_logits_takes_what_models_return(case: str) -> None:
    measure, outputs, targets, _ = CASES[case]
    plain = evidence(measure, outputs, targets).value
    assert evidence(measure, {"logits": outputs}, targets).value == plain
    assert evidence(measure, (outputs, None), targets).value == plain


@pytest.mark.parametrize(
    ("measure", "outputs", "targets", "message"),
    [
        (
            mse(),
            torch.zeros(5, 2),
            torch.zeros(5),
            "outputs and targets of one shape for mse, got outputs float32 (5, 2)",
        ),
        (r2(), torch.zeros(5, 1), torch.zeros(1, 5), "for r2, got outputs float32 (5, 1) and targets float32 (1, 5)"),
        (top_k(4), LOGITS, CLASSES, r"more than 4 classes"),
        (f1(), LOGITS, CLASSES.float(), "for f1"),
        (auroc(), LOGITS, CLASSES.float(), "for auroc"),
        (mean_iou(), PICTURES, PLACES[:, :2], "for mean_iou"),
    ],
)
def test_shapes_that_have_no_meaning_are_refused(
    measure: Measure, outputs: Tensor, targets: Tensor, message: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared
        _ = evidence(measure, outputs, targets).value
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        (Measure(lambda o, t: o.mean()), "expected a score for each of 203 examples"),
        (Measure(lambda o, t: o[:, 0] / 0), "expected finite numbers, got NaN or infinity"),
        (Measure(lambda o, t: o[:, 0], unit="%"), r"expected scores in \[0, 1\]"),
        (Measure(lambda o, t: o, aggregate=True), r"expected one number for all examples, got float32 \(203, 4\)"),
        (Measure(lambda o, t: float("nan"), aggregate=True), "expected a finite number for 203 examples, got nan"),
        (
            Measure(lambda o, t: 97.0, unit="%", aggregate=True),
            r"expected a fraction in \[0, 1\] for 203 examples, got 97",
        ),
        (Measure(lambda o, t: o[:3], of_means=lambda m: m[:, 0]), r"expected finite numbers .* of shape \(203, ...\)"),
    ],
)
def test_what_a_users_metric_gives_is_checked(measure: Measure, message: str) -> None:
    with pytest.raises(MetricError, match=f"metric 'it': {message}"):
        _ = evidence(measure, LOGITS, CLASSES).value


def test_a_bootstrap_of_a_mean_is_the_normal_interval() -> None:
    """Both as a function of means and as an aggregate, which draw the same resamples."""
    numbers = torch.randn(400, generator=torch.Generator().manual_seed(1)).double() * 3 + 10
    plain = evidence(Measure(lambda o, t: o), numbers, numbers).interval()
    means = evidence(Measure(lambda o, t: o[:, None], of_means=lambda m: m[:, 0]), numbers, numbers).interval()
    whole = evidence(Measure(lambda o, t: o.mean(), aggregate=True), numbers, numbers).interval()
    assert means == pytest.approx(plain, abs=0.05)
    assert whole == pytest.approx(means, abs=1e-9)
    error = numbers.std().item() / 20
    assert plain == pytest.approx(
        (numbers.mean().item() - 1.96 * error, numbers.mean().item() + 1.96 * error), abs=1e-3
    )


def test_a_paired_bootstrap_is_narrower_than_two_apart() -> None:
    other = evidence(r2(), NUMBERS + 0.02 * torch.randn(N, 2, generator=DRAW), WANTED)
    reference = evidence(r2(), NUMBERS, WANTED)
    change = drop(reference.metric, reference.points, other.points)
    low, high = other.interval()
    assert change.drop == pytest.approx(reference.value - other.value)
    assert change.low <= change.drop <= change.high
    assert change.high - change.low < 0.3 * (high - low)


def test_where_lower_is_better_a_drop_is_a_rise() -> None:
    reference, worse = (evidence(mse(), NUMBERS + shift, WANTED) for shift in (0.0, -1.0))
    change = drop(reference.metric, reference.points, worse.points)
    assert change.drop == pytest.approx(worse.value - reference.value)
    assert 0 < change.low < change.drop < change.high


def test_the_interval_of_an_aggregate_holds_the_truth() -> None:
    """Of 200 samples of which the true F1 is known, about nineteen in twenty."""
    generator = torch.Generator().manual_seed(3)
    big = 400_000
    logit = torch.randn(big, 1, generator=generator)
    yes = (logit[:, 0] + torch.randn(big, generator=generator) > 0.5).long()
    truth = evidence(f1(), logit, yes).value
    held = 0
    for part in range(200):
        rows = slice(part * 300, part * 300 + 300)
        low, high = evidence(f1(), logit[rows], yes[rows]).interval()
        held += low <= truth <= high
    assert 0.9 <= held / 200 <= 0.99
    assert np.isfinite(truth)


def test_auroc_of_weights_is_that_of_repeated_examples() -> None:
    generator = torch.Generator().manual_seed(11)
    drawn = torch.randint(N, (N,), generator=generator)
    found = evidence(auroc(), LOGITS, CLASSES)
    weights = torch.bincount(drawn, minlength=N).double()[None]
    assert found.measure.of_weights is not None
    whole = evidence(auroc(), LOGITS[drawn], CLASSES[drawn]).value
    assert float(found.measure.of_weights(found.rows, weights)[0]) == pytest.approx(whole, abs=1e-12)


def test_auroc_of_one_class_alone_has_no_value() -> None:
    with pytest.raises(MetricError, match="metric 'it': expected a finite number for 203 examples, got nan"):
        _ = evidence(auroc(), LOGIT, torch.ones_like(YES)).value
