"""Ready families for any model: what a study tries that names none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import nn

from lc_core.compression import Compression, numel
from lc_core.compressions.budget import Budget, Choose, Importance
from lc_core.compressions.cast import Cast
from lc_core.compressions.chain import Chain
from lc_core.compressions.lowrank import LowRank, matrix_shape
from lc_core.compressions.pruning import L0Pruning
from lc_core.compressions.quantization import Codebook
from lc_core.compressions.structured import GroupPruning
from lc_core.compressions.uniform import UniformQuantization
from lc_core.file.artifact import nominal_bytes
from lc_core.plan import SMALL, Joint, Plan, plan_tasks
from sweep.store.job import Configuration, Level
from sweep.study.cuttable import cuttable
from sweep.study.definition import Family, Study
from sweep.study.errors import StudyError, users_code

KEEP = (0.5, 0.3, 0.2, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01)
SIZES = (64, 32, 16, 8, 4, 3, 2)
BITS = (8, 6, 5, 4, 3, 2)
SHARES = (0.75, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
CHANNELS = (0.8, 0.65, 0.5, 0.35, 0.25, 0.15)
"""Levels, from loosest to tightest. A model gets those that fit it."""
GRID = {
    "keep": (0.3, 0.1, 0.05, 0.02),
    "size": (16, 4, 2),
    "bits": (8, 4, 3),
    "share": (0.5, 0.25, 0.1),
    "channels": (0.8, 0.5, 0.25),
}
"""Those of them that a grid runs."""
GRID_OF_BOTH = {"keep": (0.2, 0.1, 0.05), "size": (16, 4)}
"""Those that a grid of pruning and codebook together runs."""
SMALLER = 0.99
"""A level is worth its name where its file is at most this part of the level's before."""
LADDER_KEEP = tuple(0.5 * 0.75**step for step in range(17))
LADDER: tuple[Compression, ...] = (
    *(Codebook(size) for size in (8, 16, 32, 64)),
    *(Chain(L0Pruning(keep), Codebook(size)) for keep in LADDER_KEEP for size in (8, 16, 32)),
    *(LowRank(rank) for rank in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)),
)
"""What a layer under a budget chooses from: codebooks, pruning to half down to 0.5 % with a codebook, and ranks.

Few codes for many weights have less squared error at the same bytes, but train worse than many codes for few weights:
hence no codebooks of 2 and 4 (docs/LOG.md)."""
BUDGETS = tuple(0.25 * 0.85**step for step in range(30))
"""The bytes of the weights as parts of those of dense ones."""
WEIGHTS_A_VALUE = 4
"""A codebook of a layer has at most one value for so many weights."""
NARROW = 16
"""A layer with fewer inputs or outputs gains too little from low rank; often its outputs are the classes."""
FEW_A_SCALE = 64
"""Channels of fewer weights share one scale."""
HALF = Joint(Cast("float16"))
"""What biases, norms and tables become: half the bytes; the score does not move (docs/LOG.md)."""
Shapes = dict[str, tuple[int, ...]]
"""Pattern that names one weight -> its shape."""


def standard(model: nn.Module, *, small: Compression | Joint | None = HALF) -> tuple[Family, ...]:
    """Pruning, codebooks, uniform quantization, low rank, channel pruning, and pruning with a codebook, for `model`.

    Each with the levels that fit the model, from loosest to tightest. A family of which nothing fits is left out. Low
    rank leaves out narrow layers. Channel pruning takes the layers whose channels go to other layers alone, so that
    they can be cut; it needs a model that torch.fx can trace.

    Args:
        model: a model of the study.
        small: what biases, norms and tables become (`lc_core.SMALL`); None leaves them as they are.

    Raises:
        ValueError: the model has no weights that a plan can take.
    """
    shapes = _shapes(model)
    found = (
        _single(model, "prune", "keep", KEEP, _prune),
        _single(model, "quantize", "size", SIZES, lambda size: _quantize(shapes, int(size))),
        _single(model, "uniform", "bits", BITS, lambda bits: _uniform(shapes, int(bits))),
        _single(model, "low rank", "share", SHARES, _low_rank(shapes)),
        _single(model, "prune channels", "channels", CHANNELS, _prune_channels(cuttable(model))),
        _both(model),
    )
    return tuple(_with_small(family, model, small) for family in found if family is not None)


def budget(
    model: nn.Module,
    *,
    of: Sequence[Compression] = LADDER,
    name: str = "budget",
    choose: Choose = "always",
    importance: Importance = "relative",
    sensitivity: Mapping[str, float] | None = None,
    small: Compression | Joint | None = HALF,
) -> Family:
    """The family of one knob, `bytes`: every layer of `model` gets the compression that suits it within so many bytes.

    Levels go from a quarter of the dense weights' bytes down by 15 % each, to the fewest that `of` allows. They count
    the weights alone, before zstd; a file also has biases, norms and a header.

    Args:
        model: a model of the study.
        of: what a layer can choose from, besides dense weights.
        name: of the family.
        choose: as in `Budget`.
        importance: as in `Budget`.
        sensitivity: name of each weight -> the factor of its squared error, as `lc_core.fisher` measures it.
        small: what biases, norms and tables become, as in `standard`.

    Raises:
        ValueError: the model has no weights that a plan can take, or no level fits.
    """
    dense = 4 * sum(numel(shape) for shape in _shapes(model).values())
    levels = [round(share * dense) for share in BUDGETS]

    def plan(level: Level) -> Plan:
        given = {} if sensitivity is None else sensitivity
        limit = int(level)
        return {"*": Budget(bytes=limit, of=tuple(of), choose=choose, importance=importance, sensitivity=given)}

    found = _single(model, name, "bytes", levels, plan, grid={"bytes": tuple(levels[::4])})
    if found is None:
        raise ValueError(f"budget: expected a model whose weights fit into {levels[0]} bytes, got a smaller one")
    return _with_small(found, model, small)


def completed(study: Study) -> Study:
    """`study`; where it names no families, with the standard ones of its model.

    Raises:
        StudyError: the model cannot be built, or nothing of it can be compressed.
    """
    if study.families:
        return study
    model = study.seeded_model()
    with users_code(f"study {study.name}: the standard families"):
        families = standard(model)
    if not families:
        raise StudyError(f"study {study.name}: its model is too small for the standard families; name families")
    return replace(study, families=families)


def _shapes(model: nn.Module) -> Shapes:
    """Every weight that a plan can take."""
    tasks = plan_tasks(model, {"*": L0Pruning(1.0)})
    names = {task.governed.names[0]: task.governed.shape for task in tasks}
    return {"" if name == "weight" else name.removesuffix(".weight"): shape for name, shape in names.items()}


def _with_small(family: Family, model: nn.Module, small: Compression | Joint | None) -> Family:
    """The family whose plans take the small parameters too, where it leaves any, and not in half precision already."""
    if small is None:
        return family
    added = {SMALL: small}
    try:
        tasks = plan_tasks(model, {**family.plan({knob: levels[0] for knob, levels in family.knobs.items()}), **added})
    except ValueError:  # the family fits, so no small parameter is left
        return family
    if any(task.dtype is not None for task in tasks if task.pattern == SMALL):
        return family
    return replace(family, plan=lambda configuration: {**family.plan(configuration), **added})


def _prune(keep: Level) -> Plan:
    return {"*": Joint(L0Pruning(float(keep)))}


def _quantize(shapes: Shapes, size: int) -> Plan:
    """A codebook for each layer, of fewer values where the layer has few weights."""
    most = {name: numel(shape) // WEIGHTS_A_VALUE for name, shape in shapes.items()}
    return {name: Codebook(min(size, most[name])) for name in shapes if most[name] >= 2}


def _uniform(shapes: Shapes, bits: int) -> Plan:
    """Whole steps on both sides of zero; a scale for each channel where that is cheap."""
    fine = UniformQuantization(bits, symmetric=True, granularity="channel")
    coarse = UniformQuantization(bits, symmetric=True)
    return {
        name: fine if len(shape) > 1 and numel(shape[1:]) >= FEW_A_SCALE else coarse for name, shape in shapes.items()
    }


def _low_rank(shapes: Shapes) -> Callable[[Level], Plan]:
    """A share -> each wide layer at that share of the rank at which its factors are as large as the layer."""
    even = {}
    for name, shape in shapes.items():
        rows, columns = matrix_shape(shape, scheme="channel") if len(shape) > 1 else (1, 1)
        if min(rows, columns) >= NARROW:
            even[name] = rows * columns / (rows + columns)
    return lambda share: {name: LowRank(max(round(float(share) * rank), 1)) for name, rank in even.items()}


def _prune_channels(layers: Sequence[str]) -> Callable[[Level], Plan]:
    return lambda keep: {name: GroupPruning(float(keep)) for name in layers}


def _prune_quantize(configuration: Configuration) -> Plan:
    pruning, codebook = L0Pruning(float(configuration["keep"])), Codebook(int(configuration["size"]))
    return {"*": Joint(Chain(pruning, codebook))}


def _single(
    model: nn.Module,
    name: str,
    knob: str,
    levels: Sequence[Level],
    plan: Callable[[Level], Plan],
    *,
    grid: Mapping[str, tuple[Level, ...]] = GRID,
) -> Family | None:
    """The family of one knob with those of `levels` that fit; None where there are none."""
    fit = _fitting(model, levels, plan)
    return _family(name, {knob: fit}, lambda configuration: plan(configuration[knob]), grid) if fit else None


def _both(model: nn.Module) -> Family | None:
    """Pruning and a codebook of what is left, for the whole model."""
    sizes = _fitting(model, SIZES, lambda size: _prune_quantize({"keep": KEEP[0], "size": size}))
    if not sizes:
        return None
    keep = _fitting(model, KEEP, lambda keep: _prune_quantize({"keep": keep, "size": sizes[0]}))
    return _family("prune, quantize", {"keep": keep, "size": sizes}, _prune_quantize, GRID_OF_BOTH)


def _family(
    name: str,
    knobs: Mapping[str, tuple[Level, ...]],
    plan: Callable[[Configuration], Plan],
    grid: Mapping[str, tuple[Level, ...]],
) -> Family:
    """The family, with the levels of `grid` that it has; all where it has none of them."""
    shown = {knob: tuple(level for level in levels if level in grid[knob]) for knob, levels in knobs.items()}
    return Family(name, knobs, plan, grid={knob: levels for knob, levels in shown.items() if levels})


def _fitting(model: nn.Module, levels: Sequence[Level], plan: Callable[[Level], Plan]) -> tuple[Level, ...]:
    """Those of `levels` that the model can take, with smaller files than dense weights and than the level before."""
    fit: list[Level] = []
    weights = model.state_dict()
    least = float(nominal_bytes((), weights, info={}))
    for level in levels:
        try:
            tasks = plan_tasks(model, plan(level))
            for task in tasks:
                task.check()
        except ValueError:
            continue
        size = nominal_bytes(tasks, weights, info={})
        if size <= SMALLER * least:
            fit.append(level)
            least = size
    return tuple(fit)
