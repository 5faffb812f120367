"""Jobs' files tidied: smaller ones of the same function."""

from torch import Tensor, nn

from lc_core.structure.tidy import tidied
from lc_core.training.data import call, first_inputs
from sweep.study import Data, Study

EXAMPLES = 100
"""The examples on which a job's outputs are compared. The metric of its tidied file is measured on all."""


def tidied_file(packed: bytes, model: nn.Module, *, study: Study, data: Data, examples: int = EXAMPLES) -> bytes:
    """The packed file `packed` tidied (`lc_core.structure.tidy.tidied`). `model`, of the study, is not changed.

    Outputs are compared on the first `examples` of validation.

    Raises:
        ArtifactError, StructureError, TraceError: as `tidied`.
        ValueError: the model does not take one input tensor.
    """
    inputs = first_inputs(data.val, examples)
    if not isinstance(inputs, Tensor) or study.forward is not call:
        raise ValueError(
            "expected a model of one input tensor, without a forward of the study's own, for a tidied file"
        )
    return tidied(packed, model, inputs)
