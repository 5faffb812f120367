"""What a user's functions may return that is wrong: one line that names the function, before anything costly."""

from pathlib import Path

import pytest
import torch

from lc_core.training.nest import told_of
from sweep.prepare.check import check
from sweep.study.loading import load_splits, load_study
from tests.sweep.tiny import changed, lcsweep, write_study

LOSS = "    return nn.functional.cross_entropy(outputs, targets)"
MODEL = "    return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))"
DATA = "    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))"
NAME = '    name="tiny",\n'


def with_metric(body: str) -> str:
    text = changed("study = Study(\n", f"def mine(outputs, targets):\n    {body}\n\n\nstudy = Study(\n")
    return changed(NAME, f'{NAME}    metrics={{"accuracy": mine}},\n', text=text)


def with_forward(body: str) -> str:
    text = changed("study = Study(\n", f"def forward(model, inputs):\n    {body}\n\n\nstudy = Study(\n")
    return changed(NAME, f"{NAME}    forward=forward,\n", text=text)


WRONG: dict[str, tuple[str, str]] = {
    "one output": (
        changed(MODEL, MODEL.replace("64, 3", "64, 1")),
        "loss failed on outputs float32 (20, 1) and targets int64 (20,)",
    ),
    "inputs of another size": (
        changed(MODEL, MODEL.replace("8, 64", "9, 64")),
        "forward failed on the model of inputs float32 (20, 8): RuntimeError",
    ),
    "inputs of another type": (
        changed("inputs[part].clone()", "inputs[part].double()"),
        "forward failed on the model of inputs float64 (20, 8): RuntimeError",
    ),
    "a number as loss": (
        changed(LOSS, f"{LOSS}.item()"),
        "loss: expected a tensor with one number, the mean over the batch, got float",
    ),
    "a loss for each example": (
        changed(LOSS, LOSS.replace("targets)", 'targets, reduction="none")')),
        "loss: expected a tensor with one number, the mean over the batch, got float32 (20,)",
    ),
    "a loss that is NaN": (
        changed(LOSS, f"{LOSS} * float('nan')"),
        "loss: expected a finite number for the first batch",
    ),
    "a loss without a gradient": (
        changed(LOSS, LOSS.replace("outputs,", "outputs.detach(),")),
        "loss: expected a loss that depends on the weights, got one without a gradient",
    ),
    "a gradient that is NaN": (
        changed(LOSS, "    return (outputs - outputs).sqrt().mean() + nn.functional.cross_entropy(outputs, targets)"),
        "loss: expected finite gradients, got NaN or infinity for 0.weight, 0.bias, 2.weight and 1 more",
    ),
    "a layer that does not run": (
        with_forward("return model[2](torch.zeros(len(inputs), 64))"),
        "forward: expected a gradient for every weight under a compression, got none for 0.weight",
    ),
    "outputs that are none": (
        with_forward("model(inputs)"),
        "forward: expected a tensor, or a tuple or mapping with tensors, of inputs float32 (20, 8), got NoneType",
    ),
    "one score": (
        with_metric("return (outputs.argmax(1) == targets).float().mean()"),
        "metric 'accuracy': expected a score for each of 20 examples, a tensor of shape (20,), got float32 ()",
    ),
    "a score that is a number": (
        with_metric("return 0.5"),
        "metric 'accuracy': expected a score for each of 20 examples, a tensor of shape (20,), got float",
    ),
    "scores that depend on the batch": (
        with_metric("return torch.full((len(outputs),), 1 / len(outputs))"),
        "metric 'accuracy': expected the score of an example to depend on that example alone",
    ),
    "a metric that raises": (
        with_metric("return outputs.logits"),
        "metric 'accuracy' failed on outputs float32 (20, 3) and targets int64 (20,): AttributeError",
    ),
    "a dataset that raises": (
        changed(
            DATA,
            "    return Data(*[_Bad()] * 3)\n\n\n"
            "class _Bad(torch.utils.data.Dataset):\n    def __len__(self):\n        return 90\n\n"
            "    def __getitem__(self, index):\n        raise OSError('no such image')",
        ),
        "load_data failed on reading a training batch: OSError: no such image",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_thing_is_one_line_that_names_the_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    text, message = WRONG[what]
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, text=text, name="bad.py")
    said = lcsweep("run", "bad.py", "--out", "new")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"lcsweep: study tiny: {message}"), said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_check_finds_what_a_batch_holds_and_trains_nothing(tmp_path: Path) -> None:
    write_study(tmp_path)
    study = load_study("tiny.py", user_folder=str(tmp_path))
    found = check(study, load_splits(study)).batch
    assert (found.inputs, found.targets, found.outputs) == ("float32 (20, 8)", "int64 (20,)", "float32 (20, 3)")
    assert 0.5 < found.loss < 2
    assert set(found.scores) == {"accuracy"}
    assert 0 <= found.scores["accuracy"] <= 1


def test_each_family_is_packed_at_both_ends(tmp_path: Path) -> None:
    write_study(tmp_path)
    study = load_study("tiny.py", user_folder=str(tmp_path))
    ends = check(study, load_splits(study)).families
    assert [(each.family, each.loosest, each.tightest) for each in ends][:2] == [
        ("prune", {"keep": 0.8}, {"keep": 0.01}),
        ("quantize", {"size": 16}, {"size": 2}),
    ]
    assert all(loosest > tightest > 100 for loosest, tightest in (each.bytes for each in ends))


def test_a_file_that_does_not_give_back_the_weights_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_study(tmp_path)
    study = load_study("tiny.py", user_folder=str(tmp_path))
    monkeypatch.setattr("sweep.prepare.check.load", lambda path, model: None)
    with pytest.raises(ValueError, match=r"study tiny, family prune: 0\.weight: the packed file holds other weights"):
        check(study, load_splits(study))


def test_shapes_are_told_of_any_nest() -> None:
    x, y = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    assert told_of({"x": x, "y": (y,)}) == "{x: float32 (2, 3), y: (int64 (2,))}"
    assert told_of(None) == "NoneType"
