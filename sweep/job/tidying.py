"""Jobs' files tidied: smaller ones of the same function."""

from torch import nn

from lc_core.structure.tidy import tidied
from lc_core.training.data import first_inputs
from sweep.study import Data, Study

EXAMPLES = 100
"""The examples on which a job's outputs are compared. The metric of its tidied file is measured on all."""


def tidied_file(packed: bytes, model: nn.Module, *, study: Study, data: Data, examples: int = EXAMPLES) -> bytes:
    """The packed file `packed` tidied (`lc_core.structure.tidy.tidied`). `model`, of the study, is not changed.

    Outputs are compared on the first `examples` of validation.

    Raises:
        ArtifactError, StructureError, TraceError: as `tidied`.
    """
    return tidied(packed, model, first_inputs(data.val, examples), forward=study.forward)
