"""The standard families: for any model, levels that fit and go from loosest to tightest; the others are left out."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lc_core import SMALL, Schedule, plan_tasks
from lc_core.file.artifact import nominal_bytes
from lc_core.structure.surgery import cut_channels
from studies.digits_mlp import build_model, load_data
from studies.digits_zoo import DigitsNet
from sweep.study import Family, Study, check_levels
from sweep.study.cuttable import cuttable
from sweep.study.errors import StudyError
from sweep.study.families import completed, standard
from sweep.study.loading import load_study
from tests.sweep.tiny import STUDY, lcsweep, options, prepare, run_all, write_study

ALL = ["prune", "quantize", "uniform", "low rank", "prune channels", "prune, quantize"]


class Residual(nn.Module):
    """A block as ResNet's, then a linear layer: the second convolution's channels are added to others."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.inner = nn.Conv2d(16, 24, 3, padding=1)
        self.norm = nn.BatchNorm2d(24)
        self.outer = nn.Conv2d(24, 16, 3, padding=1)
        self.output = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = x + self.outer(torch.relu(self.norm(self.inner(x))))
        return self.output(x.mean((2, 3)))


class Depthwise(nn.Module):
    """Pointwise, depthwise, pointwise, as in MobileNet; the last layer has groups that mix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.second = nn.Conv2d(16, 32, 1)
        self.grouped = nn.Conv2d(32, 8, 1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.grouped(self.second(torch.relu(self.depthwise(self.first(x))))), 1)


class Branching(nn.Module):
    """A way that depends on the numbers: torch.fx cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x if x.sum() > 0 else -x)


MODELS: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "mlp": (build_model, ALL),
    "batch norm": (DigitsNet, ALL),
    "residual": (Residual, ALL),
    "depthwise": (Depthwise, [name for name in ALL if name != "prune channels"]),  # its one such layer is too small
    "branching": (Branching, [name for name in ALL if name != "prune channels"]),
    "one layer": (lambda: nn.Linear(64, 10), ["prune", "quantize", "uniform", "prune, quantize"]),
    "few weights": (lambda: nn.Linear(8, 3), []),
    "nearly nothing": (lambda: nn.Linear(2, 1), []),
}


def study_of(build: Callable[[], nn.Module], **others: Any) -> Study:
    usual: dict[str, Any] = {"name": "s", "load_data": load_data, "loss": nn.functional.cross_entropy}
    usual |= {"reference": Schedule(epochs=1, lr=0.1, batch_size=64).recipe}
    return Study(build_model=build, schedule=Schedule(epochs=1, lr=0.1, batch_size=64), **(usual | others))


def size(model: nn.Module, family: Family, configuration: Any) -> int:
    info = {"configuration": configuration}  # as a job's file says it
    return nominal_bytes(plan_tasks(model, family.plan(configuration)), model.state_dict(), info=info)


@pytest.mark.parametrize("name", MODELS)
def test_every_level_fits_and_the_sizes_go_from_loosest_to_tightest(name: str) -> None:
    build, names = MODELS[name]
    model = build()
    families = standard(model)
    assert [family.name for family in families] == names
    if families:
        check_levels(study_of(build, families=families), model)
    for family in families:
        dense = nominal_bytes((), model.state_dict(), info={})
        loosest = {knob: levels[0] for knob, levels in family.knobs.items()}
        assert size(model, family, loosest) < dense
        for knob, levels in family.knobs.items():
            sizes = [size(model, family, loosest | {knob: level}) for level in levels]
            assert all(tighter < looser for looser, tighter in itertools.pairwise(sizes)), (family.name, knob)


def test_ranks_are_a_share_of_what_each_layer_allows_and_narrow_layers_stay() -> None:
    model = nn.Sequential(nn.Linear(64, 128), nn.Linear(128, 20), nn.Linear(20, 10))
    family = next(family for family in standard(model, small=None) if family.name == "low rank")
    plan = family.plan({"share": 0.5})
    assert {name: getattr(each, "rank", None) for name, each in plan.items()} == {"0": 21, "1": 9}  # of 42.7 and 17.3


def test_small_layers_get_smaller_codebooks_and_one_scale() -> None:
    model = nn.Sequential(nn.Linear(100, 64), nn.Linear(64, 2, bias=False), nn.Linear(2, 2))
    found = {family.name: family for family in standard(model, small=None)}
    codebooks: Any = found["quantize"].plan({"size": 64})
    assert {name: each.size for name, each in codebooks.items()} == {"0": 64, "1": 32}  # the last layer: 4 weights
    scales: Any = found["uniform"].plan({"bits": 4})
    assert {name: each.granularity for name, each in scales.items()} == {"0": "channel", "1": "channel", "2": "tensor"}


def small_of(model: nn.Module, **others: Any) -> dict[str, list[str]]:
    """Family -> the small parameters that its plans take at the loosest level."""
    found = {}
    for family in standard(model, **others):
        tasks = plan_tasks(model, family.plan({knob: levels[0] for knob, levels in family.knobs.items()}))
        found[family.name] = [name for task in tasks if task.pattern == SMALL for name in task.governed.names]
    return found


def test_small_parameters_take_half_precision_where_a_family_leaves_them() -> None:
    small = ["stem.bias", "norm.weight", "norm.bias", "outer.bias", "output.bias"]
    found = small_of(Residual())
    assert found.pop("prune channels") == small[:1] + small[3:]  # the others go with the channels
    assert found == {name: ["stem.bias", "inner.bias", *small[1:]] for name in found}
    assert not any(small_of(Residual(), small=None).values())
    assert not any(small_of(Residual().half()).values())
    assert not any(small_of(nn.Linear(64, 10, bias=False)).values())


@pytest.mark.parametrize(
    ("build", "example", "layers"),
    [
        (build_model, (64,), ["0", "2"]),
        (DigitsNet, (1, 8, 8), ["features.0", "features.3", "hidden"]),
        (Residual, (1, 8, 8), ["inner"]),
        (Depthwise, (3, 8, 8), ["first"]),
        (Branching, (64,), []),
    ],
)
def test_channels_are_pruned_where_they_can_be_cut(
    build: Callable[[], nn.Module], example: tuple[int, ...], layers: list[str]
) -> None:
    """The surgery then cuts all that was pruned, and of `Residual` and `Depthwise` no layer more could be."""
    model = build()
    assert cuttable(model) == layers
    with torch.no_grad():
        for name in layers:
            layer = model.get_submodule(name)
            for parameter in layer.parameters():
                parameter[: len(parameter) // 2] = 0.0
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias[: module.num_features // 2] = 0.0
    if layers:
        small, _ = cut_channels(model, torch.randn(2, *example))
        for name in layers:
            assert len(small.get_parameter(f"{name}.weight")) == len(model.get_parameter(f"{name}.weight")) // 2


def test_a_study_that_names_no_families_gets_them_where_it_is_loaded(tmp_path: Path) -> None:
    start, end = STUDY.index("    families=("), STUDY.index("    target=")
    write_study(tmp_path, name="bare.py", text=STUDY[:start] + STUDY[end:])
    study = load_study("bare.py", user_folder=str(tmp_path))
    assert [family.name for family in study.families] == [name for name in ALL if name != "low rank"]
    named = study_of(build_model, families=study.families[:1])
    assert completed(named) is named


def test_their_grid_runs_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All jobs of a grid by direct compression; loaded again, the families plan the same."""
    start, end = STUDY.index("    families=("), STUDY.index("    target=")
    path = write_study(tmp_path, name="bare.py", text=STUDY[:start] + STUDY[end:])
    sweep = prepare(options(path, tmp_path / "out", method="dc"), say=lambda _: None)
    records = run_all(sweep)
    assert {record.status for record in records} == {"done"}
    assert len(records) == len(sweep.entries) > 12
    again = prepare(options(path, tmp_path / "out", method="dc"), say=lambda _: None)
    assert [job.id for entry in again.entries for job in entry.jobs] == [record.id for record in records]
    monkeypatch.chdir(tmp_path)
    assert lcsweep("run", "bare.py", "--dry-run").code == 0


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: nn.Linear(2, 1), "its model is too small for the standard families; name families"),
        (lambda: nn.BatchNorm1d(3), "the standard families: ValueError: plan: the pattern"),
        (lambda: 1 / 0, "build_model failed: ZeroDivisionError"),
    ],
)
def test_a_model_that_has_none_is_a_line(build: Any, words: str) -> None:
    with pytest.raises(StudyError, match=r"^study s: ") as caught:
        completed(study_of(build))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
