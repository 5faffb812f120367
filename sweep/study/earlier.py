"""Sweeps of the release before this one, known again by the hash that it gave their study.

That release hashed our classes and functions by module and name, as `lc_core.augmentation.PixelShifts`; today they
count by their name alone (sweep/fingerprint.py). Every job's id holds its study's hash, so a sweep keeps the hash that
it began with. `recognised` hashes the study both ways: a part that comes out as the sweep has it, either way, has not
changed. Only functions and classes of ours enter the text differently, and the names in code that names itself, so the
earlier text is made again from the study as it is now and a table of where our names were.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sweep.store.job import content_hash
from sweep.study import Data, Study
from sweep.study.fingerprint import of_ours, study_parts

MODULES: Mapping[str, str] = {
    "lc_core.algorithm": "LCState compressed_weights deploy run_lc",
    "lc_core.artifact": "Artifact ArtifactError encode load nominal_bytes read",
    "lc_core.augmentation": "Examples PixelShifts",
    "lc_core.cast": "Cast Rounded",
    "lc_core.chain": "Chain",
    "lc_core.circulant": "Circulant Circulated",
    "lc_core.combination": "Sum",
    "lc_core.compression": "Compressed Compression Dense Use",
    "lc_core.cp": "CP Kruskal",
    "lc_core.distillation": "Distillation",
    "lc_core.fixed_codebooks": "Binary FixedCodebook PowersOfTwo ScaledBinary ScaledTernary Ternary",
    "lc_core.lowrank": "Factored LowRank",
    "lc_core.pruning": "L0Pruning NMPruning Sparse",
    "lc_core.quantization": "Codebook Quantized",
    "lc_core.rank_selection": "RankSelection",
    "lc_core.restructure": "load_structured",
    "lc_core.schedule": "Schedule",
    "lc_core.structured": "GroupPruning",
    "lc_core.task": "CompressionTask Governed Joint Plan plan_tasks",
    "lc_core.tensors": "Tucker Tucker2",
    "lc_core.thresholds": "L0Penalty L1Penalty L1Pruning",
    "lc_core.training": "DivergedError Recipe train_reference",
    "lc_core.uniform": "Uniform UniformQuantization",
    "sweep.pick": "Target",
    "sweep.study": "Data Family Split Study accuracy check_levels",
}
"""Module of the earlier release -> what a study could name of it: the public face of lc_core and of sweep.study."""

_MODULE_OF = {name: module for module, names in MODULES.items() for name in names.split()}


class EarlierNames:
    """Everything by module and name, as in the earlier release, wherever it lies now."""

    def of(self, code: Callable[..., Any]) -> str:
        name = code.__qualname__.partition(".")[0]
        if of_ours(code) and name in _MODULE_OF:
            return f"{_MODULE_OF[name]}.{code.__qualname__}"
        return f"{code.__module__}.{code.__qualname__}"

    def fields(self, thing: object) -> None:
        return None


def earlier_parts(study: Study, data: Data) -> dict[str, str]:
    """`sweep.fingerprint.study_parts` as the earlier release gave them."""
    return study_parts(study, data, names=EarlierNames())


def recognised(study: Study, data: Data, *, known: Mapping[str, str]) -> dict[str, str]:
    """The study's parts, each as in `known`, a sweep's parts, where it is the same in the earlier release's text."""
    parts = study_parts(study, data)
    if not known or parts == known:
        return parts
    earlier = earlier_parts(study, data)
    return {part: earlier[part] if earlier[part] == known.get(part) else parts[part] for part in parts}


def has_hash(study: Study, data: Data, *, study_hash: object) -> bool:
    """Whether `study_hash` is the study's as it is now, by this release or the earlier one."""
    return any(content_hash(parts(study, data)) == study_hash for parts in (study_parts, earlier_parts))
