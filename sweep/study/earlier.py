"""Recognises the study of a sweep that release 0.1.0 made.

That release hashed lcsweep's classes and functions by module and name, as `lc_core.augmentation.PixelShifts`. Today
their name alone counts (`sweep.study.fingerprint`). Every job's id depends on the study's hash, so a sweep keeps the
hash that it began with. `recognised` hashes the study both ways: a part has not changed if either hash is the one in
the sweep. Only the names of lcsweep's own functions and classes differ between the two, so the table below, which says
where they were, is enough to make the old hash again.

That release trained the reference without the study's augmentation. Its sweeps keep such a reference, and the hash of a
study with `augment_reference=False`.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sweep.store.job import content_hash
from sweep.study import Data, Study
from sweep.study.fingerprint import of_ours, study_parts
from sweep.study.loading import module_name

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
"""Module of release 0.1.0 -> the public names in it that a study could use."""

_MODULE_OF = {name: module for module, names in MODULES.items() for name in names.split()}


class EarlierNames:
    """Names everything by module and name as release 0.1.0 did, wherever it lies now."""

    def of(self, code: Callable[..., Any]) -> str:
        name = code.__qualname__.partition(".")[0]
        if of_ours(code) and name in _MODULE_OF:
            return f"{_MODULE_OF[name]}.{code.__qualname__}"
        return f"{_module_in_that_release(code)}.{code.__qualname__}"

    def fields(self, thing: object) -> None:
        return None


def _module_in_that_release(code: Callable[..., Any]) -> str:
    """The name of the code's module; release 0.1.0 named the module of a study's file by the file's name alone."""
    file = getattr(sys.modules.get(code.__module__), "__file__", None)
    if file is not None and code.__module__ == module_name(Path(file)):
        return f"study_file_{Path(file).stem}"
    return code.__module__


def earlier_parts(study: Study, data: Data) -> dict[str, str]:
    """`sweep.study.fingerprint.study_parts` as release 0.1.0 computed them."""
    return study_parts(replace(study, augment_reference=False), data, names=EarlierNames())


def recognised(study: Study, data: Data, *, known: Mapping[str, str]) -> dict[str, str]:
    """The hash of each of the study's parts: today's, or release 0.1.0's where a sweep's `known` parts have it."""
    parts = study_parts(study, data)
    if not known or parts == known:
        return parts
    earlier = earlier_parts(study, data)
    return {part: earlier[part] if earlier[part] == known.get(part) else parts[part] for part in parts}


def has_hash(study: Study, data: Data, *, study_hash: object) -> bool:
    """Whether the study as it is now has this hash, computed as today or as by release 0.1.0."""
    plain = replace(study, augment_reference=False)
    ways = ((study, study_parts), (plain, study_parts), (study, earlier_parts))  # each reads all data: one at a time
    return any(content_hash(parts(each, data)) == study_hash for each, parts in ways)
