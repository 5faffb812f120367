"""References that were trained elsewhere: what is read, what is refused in a line, and what a sweep makes of them."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lc_core.file.artifact import read
from sweep.study import Checkpoint
from sweep.study.checkpoint import CheckpointError, weights_hash
from sweep.study.errors import StudyError
from sweep.study.fingerprint import study_parts
from sweep.study.loading import load_study
from tests.sweep.tiny import changed, options, prepare, write_study

TAKEN = changed(
    "reference=Recipe(epochs=20, lr=0.1, batch_size=20)",
    'reference=Checkpoint("weights/best.pt")',
    text=changed("from sweep.study import Data", "from sweep.study import Checkpoint, Data"),
)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))


@pytest.fixture
def trained() -> nn.Module:
    torch.manual_seed(7)
    model = net()
    model(torch.randn(5, 1, 4, 4))  # moves the statistics of batch norm
    return model


def loaded(path: Path | Callable[[], Any]) -> dict[str, Tensor]:
    model = net()
    Checkpoint(path).load_into(model)
    return model.state_dict()


def prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def uncounted(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if "num_batches_tracked" not in name}


WAYS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "alone": lambda state: state,
    "ordered": OrderedDict,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
    "model_state_dict": lambda state: {"epoch": 3, "model_state_dict": state},
    "model": lambda state: {"model": state},
    "twice": lambda state: {"model": {"state_dict": state}},
    "parallel": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "parallel, compiled": lambda state: {"state_dict": prefixed(state, "module._orig_mod.")},
    "compiled, parallel": lambda state: prefixed(state, "_orig_mod.module."),
    "a layer compiled": lambda state: {name.replace("0.", "0._orig_mod.", 1): each for name, each in state.items()},
    "without counters": uncounted,
    "half": lambda state: {name: each.half() if each.is_floating_point() else each for name, each in state.items()},
}


@pytest.mark.parametrize("way", WAYS)
def test_the_weights_are_found_however_they_were_saved(trained: nn.Module, tmp_path: Path, way: str) -> None:
    torch.save(WAYS[way](trained.state_dict()), tmp_path / "best.pt")
    found = loaded(tmp_path / "best.pt")
    tolerance = 1e-3 if way == "half" else 0
    for name, tensor in uncounted(trained.state_dict()).items():
        assert found[name].dtype == tensor.dtype
        assert torch.allclose(found[name], tensor, rtol=tolerance, atol=tolerance), name


def test_safetensors_and_functions_give_them_too(trained: nn.Module, tmp_path: Path) -> None:
    save_file(trained.state_dict(), tmp_path / "best.safetensors")
    for source in (tmp_path / "best.safetensors", trained.state_dict, lambda: {"model": trained.state_dict()}):
        found = loaded(source)
        assert all(torch.equal(found[name], tensor) for name, tensor in trained.state_dict().items())


def test_a_submodule_that_is_called_module_keeps_its_name() -> None:
    model = nn.ModuleDict({"module": nn.Linear(2, 2)})
    weights = {name: torch.full_like(each, 3.0) for name, each in model.state_dict().items()}
    Checkpoint(lambda: prefixed(weights, "module.")).load_into(model)
    assert torch.equal(model.state_dict()["module.bias"], torch.full((2,), 3.0))


def test_a_tied_tensor_may_be_saved_once() -> None:
    model = nn.ModuleDict({"first": nn.Linear(2, 2), "last": nn.Linear(2, 2)})
    model["last"].weight = model["first"].weight
    weights = {name: torch.ones(each.shape) for name, each in model.state_dict().items() if name != "last.weight"}
    Checkpoint(lambda: weights).load_into(model)
    assert torch.equal(model.get_parameter("last.weight"), torch.ones(2, 2))


def test_a_mask_may_hold_infinity_and_nothing_may_be_nan(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    torch.save(model.state_dict(), tmp_path / "best.pt")
    other = nn.Linear(2, 2)
    other.register_buffer("mask", torch.zeros(2, 2))
    Checkpoint(tmp_path / "best.pt").load_into(other)
    assert torch.equal(other.get_buffer("mask"), model.get_buffer("mask"))
    model.get_buffer("mask")[0, 0] = torch.nan
    torch.save(model.state_dict(), tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="NaN or infinity in mask"):
        Checkpoint(tmp_path / "best.pt").load_into(other)


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name not in names}


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (lambda state: without(state, "3.bias"), ["got 1 missing (3.bias)", "expected 9 tensors of Sequential"]),
        (lambda state: without(state, "1.running_mean"), ["got 1 missing (1.running_mean)"]),
        (lambda state: {}, ["expected a state_dict", "found nothing"]),
        (
            lambda state: {"x": state["3.bias"]},
            ["8 missing (0.weight, 0.bias, 1.weight, ...)", "1 unknown (x)"],
        ),
        (lambda state: state | {"fc.weight": torch.ones(2)}, ["got 1 unknown (fc.weight)", "let build_model build"]),
        (lambda state: state | {"3.bias": torch.ones(7)}, ["1 of another shape (3.bias (7,) for (3,))"]),
        (lambda state: prefixed(state, "net."), ["8 missing", "8 unknown (net.0.weight"]),
        (lambda state: state | {"3.bias": torch.tensor([0.0, torch.nan, 0.0])}, ["NaN or infinity in 3.bias"]),
        (lambda state: {"epoch": 3, "net": state}, ["expected a state_dict", "found epoch, net"]),
        (lambda state: [state], ["expected a state_dict", "found a list"]),
        (lambda state: net(), ["object of torch.nn.modules.container.Sequential", "torch.save(model.state_dict(),"]),
        (lambda state: {"state_dict": state, "where": Path("x")}, ["object of pathlib.", "save its weights alone"]),
    ],
)
def test_what_does_not_fit_is_a_line_that_says_what_to_do(
    trained: nn.Module, tmp_path: Path, way: Callable[[dict[str, Tensor]], Any], words: list[str]
) -> None:
    torch.save(way(trained.state_dict()), tmp_path / "best.pt")
    with pytest.raises(CheckpointError) as caught:
        loaded(tmp_path / "best.pt")
    said = str(caught.value)
    assert said.startswith(f"checkpoint {tmp_path / 'best.pt'}: ")
    assert "\n" not in said
    assert [word for word in words if word not in said] == [], said


class Trap:
    """What unpickling would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_file_never_runs_code(trained: nn.Module, tmp_path: Path) -> None:
    torch.save({"state_dict": trained.state_dict(), "more": Trap(tmp_path / "sprung")}, tmp_path / "best.pt")
    with pytest.raises(CheckpointError, match="only running code could read"):
        loaded(tmp_path / "best.pt")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["best.pt", "best.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04"])
def test_a_damaged_file_is_a_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"expected a file of torch.save or .safetensors, found neither"):
        loaded(tmp_path / name)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*TorchScript archive:UserWarning")
def test_a_program_is_no_checkpoint(trained: nn.Module, tmp_path: Path) -> None:
    torch.jit.trace(trained.eval(), torch.ones(1, 1, 4, 4)).save(tmp_path / "best.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(CheckpointError, match="a TorchScript program, not weights"):
        loaded(tmp_path / "best.pt")


def test_a_function_that_fails_is_named_with_its_place() -> None:
    def downloaded() -> dict[str, Tensor]:
        raise KeyError("token")

    with pytest.raises(
        StudyError, match=r"checkpoint what downloaded returns: KeyError: 'token' \(test_checkpoint.py:"
    ):
        loaded(downloaded)
    with pytest.raises(CheckpointError, match=r"what net returns: expected a state_dict .* found a Sequential"):
        loaded(net)


@pytest.mark.parametrize("given", [{"source": 3}, {"source": "x", "expected": float("nan")}])
def test_what_makes_no_sense_is_refused_when_it_is_written(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected (a path, or a function|a number)"):
        Checkpoint(**given)


def test_the_hash_is_of_the_weights_but_for_counters(trained: nn.Module) -> None:
    whole = weights_hash(trained)
    trained.get_buffer("1.num_batches_tracked").add_(1)
    assert weights_hash(trained) == whole
    trained.get_buffer("1.running_var")[0] += 1e-6
    assert weights_hash(trained) != whole


# In a sweep


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The study's: with weights trained by its recipe, and the study that takes them."""
    trained = prepare(options(write_study(tmp_path, name="recipe.py"), tmp_path / "trained"), say=lambda _: None)
    (tmp_path / "weights").mkdir()
    torch.save(trained.context.reference, tmp_path / "weights" / "best.pt")
    return tmp_path


def opened(folder: Path, name: str = "taken.py", **others: str) -> tuple[Any, list[str]]:
    said: list[str] = []
    text = changed('Checkpoint("weights/best.pt")', others["reference"], text=TAKEN) if others else TAKEN
    sweep = prepare(
        options(write_study(folder, name=name, text=text), folder / name.removesuffix(".py")), say=said.append
    )
    return sweep, said


def test_the_reference_is_the_checkpoint_and_nothing_is_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr("sweep.prepare.opening.train_reference", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))  # the path starts at the study's folder
    sweep, said = opened(folder)
    weights = torch.load(folder / "weights" / "best.pt", weights_only=True)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in read(sweep.folder.reference).weights().items())
    path = folder / "weights" / "best.pt"
    assert said == [f"the reference of tiny is the checkpoint {path}, taken as it is: nothing is trained"]
    assert opened(folder)[1] == []  # the second time it is there


def test_the_hash_counts_what_a_checkpoint_holds_and_not_where_it_lies(folder: Path) -> None:
    def parts(reference: str, name: str) -> dict[str, str]:
        text = changed('Checkpoint("weights/best.pt")', reference, text=TAKEN)
        study = load_study(write_study(folder, name=name, text=text).name, user_folder=str(folder))
        return study_parts(study, study.load_data())

    weights = torch.load(folder / "weights" / "best.pt", weights_only=True)
    torch.save({"model": prefixed(weights, "module.")}, folder / "moved.pt")
    save_file(
        {name: tensor + 1e-6 * (name == "2.bias") for name, tensor in weights.items()}, folder / "other.safetensors"
    )
    here, moved = parts('Checkpoint("weights/best.pt")', "a.py"), parts('Checkpoint("moved.pt", expected=0.5)', "b.py")
    other = parts('Checkpoint("other.safetensors")', "c.py")
    assert here == moved
    assert [part for part in here if here[part] != other[part]] == ["reference"]


def test_a_checkpoint_that_is_not_there_is_said_before_anything_is_done(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint .*/gone.pt: no such file; a relative path starts at"):
        opened(folder, "gone.py", reference='Checkpoint("gone.pt")')
    assert not (folder / "gone").exists()


def test_a_score_that_is_not_the_expected_one_is_said_first_and_each_time(folder: Path) -> None:
    plain, _ = opened(folder)
    score = plain.manifest.reference.val
    for far, words in ((0.01, 0), (-0.01, 0), (0.011, 1), (-0.2, 1)):
        name = f"far_{far}.py".replace("-", "under_")
        reference = f'Checkpoint("weights/best.pt", expected={score.value + far})'
        for ways in (1, 0):  # when the sweep begins, and when it goes on
            said = opened(folder, name, reference=reference)[1][ways:]
            assert len(said) == words
            for word in words * [f"measures {score.value:.2%}", "(90 examples", f"{score.value + far:.2%} was"]:
                assert word in said[0]
