"""Sweeps of the release before this one, known again by the hash that it gave their study.

That release hashed our classes and functions by module and name, as `lc_core.augmentation.PixelShifts`; today they
count by their name alone (sweep/fingerprint.py). Every job's id holds its study's hash, so a sweep keeps the hash that
it began with. `recognised` hashes the study both ways: a part that comes out as the sweep has it, either way, has not
changed. Only functions and classes of ours enter the text differently, and the names in code that names itself, so the
earlier text is made again from the study as it is now and a table of where our names were.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sweep.fingerprint import of_ours, study_parts
from sweep.job import content_hash
from sweep.study import Data, Study

RENAMED: Mapping[str, str] = {}
"""Class or function of ours -> its name in the earlier release, where that was another."""

# fmt: off
MODULES: Mapping[str, str] = {
    "lc_core.accounting": "count_macs layer_macs layer_uses stored_by_name",
    "lc_core.algorithm": "LCState compressed_weights deploy run_lc",
    "lc_core.anatomy": "anatomy",
    "lc_core.artifact": "Artifact ArtifactError encode fill load nominal_bytes read",
    "lc_core.augmentation": "Examples PixelShifts",
    "lc_core.binned_values": "BinnedValues Bins are_many binned",
    "lc_core.cast": "Cast Rounded",
    "lc_core.chain": "Chain",
    "lc_core.channels": "Channels Follower Mixer kernels layer_constants norm_constants",
    "lc_core.circulant": "Circulant Circulated",
    "lc_core.combination": "Sum Summed descend",
    "lc_core.compression": (
        "Compressed Compression Dense Penalized Use dense_bits dense_form dense_macs numel objective "
        "outline_tensor prefixed unprefixed"
    ),
    "lc_core.cp": "CP Kruskal",
    "lc_core.distillation": "Distillation",
    "lc_core.entropy": "Sizes coded_sizes entropy_bits huffman_bits",
    "lc_core.factors": "FactorThenQuantize",
    "lc_core.fixed_codebooks": "Binary FixedCodebook PowersOfTwo ScaledBinary ScaledTernary Ternary",
    "lc_core.flow": "Flow",
    "lc_core.forms": "unpack",
    "lc_core.graph": "following_norms parameter_name trace",
    "lc_core.grids": "Grid best_grid",
    "lc_core.kernels": (
        "best_parts bin_entries bin_members bin_places bin_sums borders_passed built least_way levels_moved "
        "levels_of outermost_gone pulled_sgd"
    ),
    "lc_core.kmeans": "bin_edges centres_of_sorted optimal_centres run_costs",
    "lc_core.layers": "Added AtEachFrequency Layers Products Spectral as_layers",
    "lc_core.limits": "check_sizes decompressed header_of most",
    "lc_core.lookup": "between borders_below not_above",
    "lc_core.lowrank": "Factored LowRank as_matrix check_scheme from_matrix macs_per_rank matrix_shape",
    "lc_core.nesterov": "fits pulled_step step",
    "lc_core.nm": "Pattern",
    "lc_core.onnx": "build decoded_at_run parity",
    "lc_core.onnx_alone": "main",
    "lc_core.onnx_decoders": "Decoder tensor_proto",
    "lc_core.onnx_file": "OnnxFile Runtime folded seal",
    "lc_core.onnx_functions": "aligned function needed",
    "lc_core.onnx_graph": "open_graph quiet stripped",
    "lc_core.onnx_int8": "quantized",
    "lc_core.optimizers": "Optimizer Penalty gradients_of",
    "lc_core.packing": (
        "byte_count code_width elias_fano_bits elias_fano_width pack_bitmap pack_codes pack_combinations "
        "pack_elias_fano unpack_bitmap unpack_codes unpack_combinations unpack_elias_fano"
    ),
    "lc_core.pairs": "Encoding Pair PruneGroupsThen PruneThenQuantize pair",
    "lc_core.pruning": "L0Pruning NMPruning Sparse largest",
    "lc_core.quantization": "Codebook Quantized nearest sorted_array",
    "lc_core.rank_selection": "RankSelection",
    "lc_core.restructure": "Restructured load_structured restructured",
    "lc_core.schedule": "LStep Schedule",
    "lc_core.sorted_values": "Ordered SortedValues centres_of distortion distortions edges_of nearest_runs summed",
    "lc_core.sorting": "ascending",
    "lc_core.structured": "GroupPruning Grouped Part",
    "lc_core.support": "pack_support support_bits unpack_support",
    "lc_core.surgery": "check_outputs cut cut_channels cut_weights",
    "lc_core.svd": "Decomposition LeftOver leading refined",
    "lc_core.task": "CompressionTask Governed Joint plan_tasks",
    "lc_core.tensors": "Tucker Tucker2 check_kernel leading_vectors normalized",
    "lc_core.thresholds": "L0Penalty L1Penalty L1Pruning",
    "lc_core.training": (
        "Batches DivergedError Recipe batches_per_epoch expect lay_out predict probe_gradient "
        "reestimate_batch_norm train train_reference"
    ),
    "lc_core.trimmed": "bounds_of_staying trimmed_centres trimmed_of_sorted",
    "lc_core.uniform": "Uniform UniformQuantization",
    "lc_core.weights": "Weight factor_weights stored_weights",
    "sweep.pick": "Target",
    "sweep.study": "Data Family Split Study accuracy check_levels",
}
# fmt: on
"""Module of the earlier release -> its public functions and classes. Of two that shared a name, the one for users."""

_MODULE_OF = {name: module for module, names in MODULES.items() for name in names.split()}


class EarlierNames:
    """Everything by module and name, as in the earlier release, wherever it lies now."""

    def of(self, code: Callable[..., Any]) -> str:
        first, dot, rest = code.__qualname__.partition(".")
        name = RENAMED.get(first, first)
        if of_ours(code) and name in _MODULE_OF:
            return f"{_MODULE_OF[name]}.{name}{dot}{rest}"
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
