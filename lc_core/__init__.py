"""The Learning-Compression algorithm: its compressions, `run_lc`, and the packed file. A study imports from here."""

from lc_core.algorithm import LCState, compressed_weights, deploy, run_lc
from lc_core.compression import Compressed, Compression, Dense, Use
from lc_core.compressions.allotted import Allotted
from lc_core.compressions.budget import Budget
from lc_core.compressions.cast import Cast, Rounded
from lc_core.compressions.chain import Chain
from lc_core.compressions.circulant import Circulant, Circulated
from lc_core.compressions.cp import CP, Kruskal
from lc_core.compressions.fixed_codebooks import (
    Binary,
    FixedCodebook,
    PowersOfTwo,
    ScaledBinary,
    ScaledTernary,
    Ternary,
)
from lc_core.compressions.lowrank import Factored, LowRank
from lc_core.compressions.pruning import L0Pruning, NMPruning, Sparse
from lc_core.compressions.quantization import Codebook, Quantized
from lc_core.compressions.rank_selection import RankSelection
from lc_core.compressions.separable import Separable, Separated
from lc_core.compressions.structured import GroupPruning
from lc_core.compressions.sums import Sum
from lc_core.compressions.thresholds import L0Penalty, L1Penalty, L1Pruning
from lc_core.compressions.tucker import Tucker, Tucker2
from lc_core.compressions.uniform import Uniform, UniformQuantization
from lc_core.file.artifact import Artifact, ArtifactError, encode, load, nominal_bytes, read
from lc_core.parameters import frozen
from lc_core.plan import SMALL, Joint, Plan, plan_tasks
from lc_core.schedule import Schedule
from lc_core.structure.coverage import Coverage, CoveredParameter, coverage
from lc_core.structure.folding import fold
from lc_core.structure.restructure import load_structured
from lc_core.task import CompressionTask, Governed
from lc_core.training.activation_steps import ActivationSteps
from lc_core.training.augmentation import Examples, PixelShifts
from lc_core.training.data import Split
from lc_core.training.distillation import Distillation
from lc_core.training.loop import DivergedError, Recipe, train_reference
from lc_core.training.sensitivity import fisher

__all__ = [
    "CP",
    "SMALL",
    "ActivationSteps",
    "Allotted",
    "Artifact",
    "ArtifactError",
    "Binary",
    "Budget",
    "Cast",
    "Chain",
    "Circulant",
    "Circulated",
    "Codebook",
    "Compressed",
    "Compression",
    "CompressionTask",
    "Coverage",
    "CoveredParameter",
    "Dense",
    "Distillation",
    "DivergedError",
    "Examples",
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
    "Plan",
    "PowersOfTwo",
    "Quantized",
    "RankSelection",
    "Recipe",
    "Rounded",
    "ScaledBinary",
    "ScaledTernary",
    "Schedule",
    "Separable",
    "Separated",
    "Sparse",
    "Split",
    "Sum",
    "Ternary",
    "Tucker",
    "Tucker2",
    "Uniform",
    "UniformQuantization",
    "Use",
    "compressed_weights",
    "coverage",
    "deploy",
    "encode",
    "fisher",
    "fold",
    "frozen",
    "load",
    "load_structured",
    "nominal_bytes",
    "plan_tasks",
    "read",
    "run_lc",
    "train_reference",
]
