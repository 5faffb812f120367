"""How a metric is measured: its function, and what its values are; and the accuracy, which a study has by default.

A plain function (outputs, targets) -> a score in [0, 1] for each example is a metric already. A `Measure` is one of
another kind: lower is better, in units, or of all examples at once. `sweep.study.metrics` has ready ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lc_core.fields import check_numbers
from lc_core.training.nest import told_of
from sweep.store.metric import Metric as Description


@dataclass(frozen=True)
class Measure:
    """A metric: what it is computed by, its direction and its unit.

    Attributes:
        function: (outputs, targets) -> a value for each example (n,); their mean is the metric.
        higher_is_better: its direction.
        unit: of its values, such as "mm2". "%" for a fraction in [0, 1], which is shown in percent.
        best: the best value that there can be, where higher is better.
        of_means: for a metric that is computed from means: `function` then gives what is averaged (n, ...), and this
            makes the metric (k,) of k means (k, ...).
        of_weights: as `of_means`, but it makes the metric (k,) of what `function` gave (n, ...) and of k weights (k, n)
            of each example.
        aggregate: `function` gives one number, the metric of all examples that it is called with. What it needs of a
            split is held in memory. torchmetrics' functional forms are such functions.
    """

    function: Callable[[Any, Any], Any]
    higher_is_better: bool = True
    unit: str = ""
    best: float = 1.0
    of_means: Callable[[Tensor], Tensor] | None = None
    aggregate: bool = False
    of_weights: Callable[[Tensor, Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.aggregate + (self.of_means is not None) + (self.of_weights is not None) > 1:
            raise ValueError("Measure: expected one of aggregate, of_means and of_weights, got several")

    @property
    def per_example(self) -> bool:
        """Whether each example has a value of its own."""
        return not self.aggregate and self.of_means is None and self.of_weights is None


Metric = Callable[[Any, Any], Any] | Measure
"""A metric as a study names it: a `Measure`, or (outputs, targets) -> a score in [0, 1] for each example (n,)."""


def measure_of(metric: Metric) -> Measure:
    """The metric as a `Measure`; of a plain function, that of fractions."""
    return metric if isinstance(metric, Measure) else Measure(metric, unit="%")


def described(name: str, metric: Metric) -> Description:
    """What the metric of this name is, without its function."""
    measure = measure_of(metric)
    best = measure.best if measure.higher_is_better else 0.0
    return Description(name, measure.higher_is_better, measure.unit, best)


def accuracy(outputs: Any, targets: Any) -> Tensor:
    """1 for each example whose largest output is its target class, else 0: (n,).

    Args:
        outputs: logits (n, classes) of two classes or more, or an object, mapping or tuple that holds such `logits`,
            in a tuple as its first member.
        targets: the classes, whole numbers (n,).

    Raises:
        ValueError: outputs or targets are none of these.
    """
    logits = logits_of(outputs)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        raise ValueError(
            f"metric accuracy: expected outputs of shape (n, classes), two classes or more, got {told_of(logits)}; "
            "give the study a metric of its own"
        )
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.shape != logits.shape[:1]:
        raise ValueError(
            f"metric accuracy: expected classes as targets, whole numbers of shape ({len(logits)},), got "
            f"{told_of(targets)}; give the study a metric of its own"
        )
    return (logits.argmax(dim=1) == targets).float()


def logits_of(outputs: Any) -> Any:
    """The logits among a model's outputs: a tensor itself, what is called "logits", or the first of a tuple."""
    match outputs:
        case Mapping() if "logits" in outputs:
            return outputs["logits"]
        case tuple() | list() if outputs:
            return outputs[0]
    return getattr(outputs, "logits", outputs)
