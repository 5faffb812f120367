"""Which layers hurt: what the reference measures when only one of its layers is compressed, without training."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.parameters import load_weights
from lc_core.task import CompressionTask
from lc_core.training.data import Source, Split
from lc_core.training.loop import DivergedError
from lc_core.training.nest import joined
from sweep.job.context import JobContext
from sweep.job.evidence import MetricError
from sweep.job.measure import measure
from sweep.study.checkpoint import tensors_hash

EXAMPLES = 1000
"""The most examples of the validation split, evenly spaced: a layer costs one pass over them."""
LAYERS = 50
"""The most layers that are measured, the largest ones."""


def layer_errors(
    tasks: Sequence[CompressionTask], thetas: Sequence[Compressed], context: JobContext
) -> dict[str, dict[str, Any]]:
    """Parameter -> its "alone", as JSON data: the validation error with only that parameter compressed.

    Beside "error" stand "reference", the reference's own on the same examples, and "n", how many these are. All other
    weights and all batch-norm statistics are the reference's. A parameter is missing where the model's outputs or its
    metric are not finite.

    Args:
        tasks: of the job.
        thetas: of direct compression, in the order of the tasks.
    """
    replaced = {
        name: values.to(context.reference[name].dtype)
        for task, theta in zip(tasks, thetas, strict=True)
        for name, values in task.governed.scatter(theta.decompress()).items()
    }
    largest = sorted(replaced, key=lambda name: -replaced[name].numel())[:LAYERS]
    examples, model = _some(context.data.val), context.build_model()
    whole = _error({}, examples, context, model=model)
    found = {name: _error({name: replaced[name]}, examples, context, model=model) for name in largest}
    return {
        name: {"error": error, "reference": whole, "n": len(examples)}
        for name, error in found.items()
        if error is not None
    }


def _error(changed: dict[str, Tensor], examples: Source, context: JobContext, *, model: nn.Module) -> float | None:
    """The reference's error with these weights changed, written into `model`; None where it is not finite.

    Measured once in a process: most seeds and methods of a configuration have the same direct compression.
    """
    key = tensors_hash(changed)
    if key not in context.layer_errors:
        load_weights(model, context.reference | changed)
        try:
            context.layer_errors[key] = measure(model, examples, study=context.study, interval=False).error
        except (DivergedError, MetricError):
            context.layer_errors[key] = None
    return context.layer_errors[key]


def _some(val: Source) -> Source:
    if len(val) <= EXAMPLES:
        return val
    return Split(*joined(list(val.spread(EXAMPLES, most=EXAMPLES))))
