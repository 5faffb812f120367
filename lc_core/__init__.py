"""The Learning-Compression algorithm: compressions, the algorithm itself, accounting and the packed file."""

from lc_core.algorithm import LCState, compressed_weights, deploy, run_lc
from lc_core.artifact import Artifact, ArtifactError, encode, load, nominal_bytes, read
from lc_core.augmentation import PixelShifts
from lc_core.cast import Cast, Rounded
from lc_core.chain import Chain
from lc_core.circulant import Circulant, Circulated
from lc_core.combination import Sum
from lc_core.compression import Compressed, Compression, Dense
from lc_core.cp import CP, Kruskal
from lc_core.distillation import Distillation
from lc_core.fixed_codebooks import Binary, FixedCodebook, PowersOfTwo, ScaledBinary, ScaledTernary, Ternary
from lc_core.lowrank import Factored, LowRank
from lc_core.pruning import L0Pruning, NMPruning, Sparse
from lc_core.quantization import Codebook, Quantized
from lc_core.rank_selection import RankSelection
from lc_core.restructure import load_structured
from lc_core.schedule import Schedule
from lc_core.structured import GroupPruning
from lc_core.task import CompressionTask, Governed, Joint, plan_tasks
from lc_core.tensors import Tucker, Tucker2
from lc_core.thresholds import L0Penalty, L1Penalty, L1Pruning
from lc_core.training import DivergedError, Recipe, train_reference
from lc_core.uniform import Uniform, UniformQuantization

__all__ = [
    "CP",
    "Artifact",
    "ArtifactError",
    "Binary",
    "Cast",
    "Chain",
    "Circulant",
    "Circulated",
    "Codebook",
    "Compressed",
    "Compression",
    "CompressionTask",
    "Dense",
    "Distillation",
    "DivergedError",
    "Factored",
    "FixedCodebook",
    "Governed",
    "GroupPruning",
    "Joint",
    "Kruskal",
    "L0Penalty",
    "L0Pruning",
    "L1Penalty",
    "L1Pruning",
    "LCState",
    "LowRank",
    "NMPruning",
    "PixelShifts",
    "PowersOfTwo",
    "Quantized",
    "RankSelection",
    "Recipe",
    "Rounded",
    "ScaledBinary",
    "ScaledTernary",
    "Schedule",
    "Sparse",
    "Sum",
    "Ternary",
    "Tucker",
    "Tucker2",
    "Uniform",
    "UniformQuantization",
    "compressed_weights",
    "deploy",
    "encode",
    "load",
    "load_structured",
    "nominal_bytes",
    "plan_tasks",
    "read",
    "run_lc",
    "train_reference",
]
