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
FILLED = "return model(inputs.nan_to_num())"


def with_metric(body: str) -> str:
    text = changed("study = Study(\n", f"def mine(outputs, targets):\n    {body}\n\n\nstudy = Study(\n")
    return changed(NAME, f'{NAME}    metrics={{"accuracy": mine}},\n', text=text)


def with_forward(body: str) -> str:
    text = changed("study = Study(\n", f"def forward(model, inputs):\n    {body}\n\n\nstudy = Study(\n")
    return changed(NAME, f"{NAME}    forward=forward,\n", text=text)


WRONG: dict[str, tuple[str, str]] = {
    "no network": (changed(MODEL, "    pass"), "build_model: expected a torch.nn.Module, got None"),
    "a class": (
        changed(MODEL, "    return nn.Linear"),
        "build_model: expected a torch.nn.Module, got the class Linear",
    ),
    "one network for all": (
        changed("def build_model():", f"once = {MODEL.removeprefix('    return ')}\n\n\ndef build_model():").replace(
            MODEL, "    return nn.Sequential(once, nn.ReLU())"
        ),
        "build_model: expected new parameters at each call, got 0.0.weight, 0.0.bias, 0.2.weight and 1 more a second",
    ),
    "weights without a shape": (
        changed(MODEL, MODEL.replace("Linear(8, 64)", "LazyLinear(64)")),
        "build_model: expected weights with shapes, got none yet for 0.weight; let build_model run the network",
    ),
    "inputs that are written into": (
        with_forward("return model(inputs.clamp_(-1, 1))"),
        "forward: expected inputs to stay as they are, got others after the model ran",
    ),
    "outputs that are infinite": (
        with_forward("return model(inputs).masked_fill(torch.tensor([False, False, True]), -torch.inf)"),
        "loss: expected a finite number for the first batch, got inf",
    ),
    "outputs that are infinite where none looks": (
        with_forward("return {'logits': model(inputs), 'scale': torch.tensor(torch.inf)}").replace(
            "(outputs, targets)\n\n\ndef prune", "(outputs['logits'], targets)\n\n\ndef prune"
        ),
        "forward: expected finite outputs in evaluation mode, got NaN or infinity; where the model masks",
    ),
    "a state that is no tensor": (
        changed(
            MODEL,
            f"    model = {MODEL.removeprefix('    return ')}\n    Net = type('Net', (nn.Sequential,), "
            "{'get_extra_state': lambda self: {}})\n    return Net(*model)",
        ),
        "build_model: expected a state_dict of tensors, got another object for _extra_state",
    ),
    "outputs that are drawn": (
        with_forward("return model(nn.functional.dropout(inputs))"),
        "forward: expected the same outputs for the same inputs in evaluation mode, got others the second time",
    ),
    "a batch of one that fails": (
        with_forward("return model(inputs if len(inputs) > 1 else inputs[0, 0])"),
        "forward failed on a single example: RuntimeError",
    ),
    "an example that is NaN": (
        changed("    parts =", "    inputs[1::60] = float('nan')\n    parts ="),
        "load_data: expected finite numbers, got NaN or infinity in 2 of 120 training examples, the first of which is "
        "number 1",
    ),
    "a validation example that is NaN": (
        changed("    parts =", "    inputs[125] = float('nan')\n    parts ="),
        "load_data: expected finite numbers, got NaN or infinity in 1 of 90 validation examples, the first of which is "
        "number 5",
    ),
    "a test example that is infinite": (
        changed("    parts =", "    inputs[-1] = float('inf')\n    parts ="),
        "load_data: expected finite numbers, got NaN or infinity in 1 of 90 test examples, the first of which is "
        "number 89",
    ),
    "three parts of a batch": (
        changed(NAME, f"{NAME}    separate=lambda batch: (*batch, None),\n").replace(
            "Split(", "torch.utils.data.TensorDataset("
        ),
        "separate: expected the pair (inputs, targets), got (float32 (20, 8), int64 (20,), NoneType)",
    ),
    "scores of one example that fail": (
        with_metric("return (outputs.squeeze().argmax(1) == targets).float()"),
        "metric 'accuracy' failed on outputs float32 (1, 3) and targets int64 (1,): IndexError",
    ),
    "scores that depend on the batch's mean": (
        with_metric("return (outputs[:, 0] >= outputs[:, 0].mean()).float()"),
        "metric 'accuracy': expected the score of an example to depend on that example alone",
    ),
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
    "an augmentation that fails": (
        changed(NAME, f"{NAME}    augment=lambda inputs: inputs.reshape(-1, 28, 28),\n"),
        "augment failed on training inputs float32 (120, 8): RuntimeError: shape '[-1, 28, 28]' is invalid",
    ),
    "an augmentation that is none": (
        changed(NAME, f"{NAME}    augment=lambda inputs: inputs[:50],\n"),
        "augment: expected as many examples as there are training inputs, 120, got 50",
    ),
    "an augmentation of a dataset": (
        changed(
            DATA,
            "    dataset = torch.utils.data.TensorDataset(inputs, targets)\n    return Data(*[dataset] * 3)",
            text=changed(NAME, f"{NAME}    augment=lambda inputs: inputs,\n"),
        ),
        "augment and distillation need the training split in memory",
    ),
    "files that cannot be tidied": (
        with_forward("return model[2](model[1](model[0](inputs)))").replace(NAME, f"{NAME}    tidy=True,\n"),
        "tidy: Sequential: expected a forward that calls the model, got one that does not",
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


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            'return {"0": LowRank(rank=configuration["rank"])}',
            "pass",
            "study tiny, family low rank, rank=6: plan: expected a mapping, pattern -> compression, got None",
        ),
        (
            'LowRank(rank=configuration["rank"])',
            "LowRank",
            "family low rank, rank=6: plan: expected a compression for the pattern '0', got the class LowRank",
        ),
        (
            "inputs[part].clone()",
            "inputs[part].double()",
            "; the weights are float32, the inputs float64: let load_data convert them",
        ),
        ("cross_entropy(outputs, targets)", "cross_entropy(outputs, targets + 9)", "is out of bounds. (bad.py:27)"),
        (
            "reference=Recipe(epochs=20, lr=0.1, batch_size=20)",
            'reference=__import__("sweep").study.Checkpoint("best.pt")',
            "best.pt: no such file; a relative path starts at the folder of the study's file",
        ),
    ],
)
def test_the_line_says_where_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, text=changed(old, new), name="bad.py")
    said = lcsweep("check", "bad.py")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert line in said.err


def test_missing_values_that_the_model_leaves_out_are_no_mistake(tmp_path: Path) -> None:
    text = changed("    parts =", "    inputs[1::60] = float('nan')\n    parts =", text=with_forward(FILLED))
    study = load_study("tiny.py", user_folder=str(write_study(tmp_path, text=text).parent))
    assert check(study, load_splits(study)).batch.scores["accuracy"] > 0


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
