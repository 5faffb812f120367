"""The Learning-Compression algorithm: compressions, the algorithm itself, accounting and the packed file."""

from lc_core.algorithm import LCState, compressed_weights, deploy, run_lc
from lc_core.artifact import Artifact, ArtifactError, encode, load, nominal_bytes, read
from lc_core.combination import Chain
from lc_core.compression import Compressed, Compression, Dense
from lc_core.lowrank import Factored, LowRank
from lc_core.pruning import L0Pruning, Sparse
from lc_core.quantization import Codebook, Quantized
from lc_core.schedule import Schedule
from lc_core.task import CompressionTask, Governed, Joint, plan_tasks
from lc_core.training import DivergedError, Recipe, train_reference

__all__ = [
    "Artifact",
    "ArtifactError",
    "Chain",
    "Codebook",
    "Compressed",
    "Compression",
    "CompressionTask",
    "Dense",
    "DivergedError",
    "Factored",
    "Governed",
    "Joint",
    "L0Pruning",
    "LCState",
    "LowRank",
    "Quantized",
    "Recipe",
    "Schedule",
    "Sparse",
    "compressed_weights",
    "deploy",
    "encode",
    "load",
    "nominal_bytes",
    "plan_tasks",
    "read",
    "run_lc",
    "train_reference",
]
