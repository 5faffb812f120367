"""Which families have ONNX files, and why others have none: one line each, from real exports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import lc_core.onnx.graph
from sweep.prepare import check_onnx
from tests.sweep.tiny import STUDY, Said, changed, lcsweep, run_here, write_study

MODEL = "    return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))"
NET = '''class Net(nn.Sequential):
    """A network of its own."""

    def forward(self, {inputs}):
        {body}


def build_model'''
BODY = "return super().forward(x)"
SERVES = "ONNX Runtime's outputs are torch's"
CHANNELS = """def low_rank(configuration):
    return {"0": GroupPruning(keep=configuration["rank"] / 8)}"""
LOW_RANK = """def low_rank(configuration):
    return {"0": LowRank(rank=configuration["rank"])}"""


def of(body: str, *, inputs: str = "x") -> str:
    """The study with a network that runs `body`."""
    text = changed("def build_model", NET.format(inputs=inputs, body=body))
    return changed("nn.Sequential(nn.Linear(8", "Net(nn.Linear(8", text=text)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that torch exported."""
    export: Callable[..., Any] = lc_core.onnx.graph.open_graph
    models: list[str] = []

    def told(model: nn.Module, *rest: Any, **named: Any) -> Any:
        models.append(type(model).__name__)
        return export(model, *rest, **named)

    monkeypatch.setattr(lc_core.onnx.graph, "open_graph", told)
    return models


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """`lcsweep check` of a study."""

    def check(text: str, *options: str) -> Said:
        monkeypatch.chdir(write_study(tmp_path, text=text).parent)
        said = lcsweep("check", "tiny.py", *options)
        assert (said.code, said.err) == (0, "")
        return said

    return check


def onnx(said: Said) -> list[str]:
    return [line for line in said.out.splitlines() if "ONNX" in line]


def test_eight_files_are_tried_in_the_graphs_of_two_models(checked, traced):
    facts = checked(STUDY, "--json").json
    assert facts["notes"] == [f"ONNX, every family: {SERVES}"]
    assert [family["onnx"] for family in facts["families"]] == [True] * 4
    assert traced == ["Sequential"] * 2


@pytest.mark.parametrize(
    ("old", "new", "models"),
    [
        pytest.param("", "", 1, id="layers after layers"),
        pytest.param(
            MODEL,
            "    return nn.Sequential(nn.Conv1d(1, 8, 1), nn.Flatten(), nn.Linear(64, 3))",
            3,
            id="flattened channels",
        ),
    ],
)
def test_channels_that_are_cut_out_share_the_graph_unless_it_holds_their_number(checked, traced, old, new, models):
    text = changed(old, new, text=changed(LOW_RANK, CHANNELS, text=changed(" LowRank,", " GroupPruning,")))
    if models > 1:
        text = changed("torch.randn(300, 8", "torch.randn(300, 1, 8", text=text)
        text = changed("torch.eye(8)[targets]", "torch.eye(8)[targets].unsqueeze(1)", text=text)
    assert onnx(checked(text)) == [f"ONNX, every family: {SERVES}"]
    assert len(traced) == models


@pytest.mark.parametrize(
    ("text", "why", "models"),
    [
        pytest.param(
            of("return super().forward(x) if x.sum() > 0 else super().forward(-x)"),
            "Net: expected a model that torch.onnx can export, got: Could not guard on data-dependent expression",
            1,
            id="a branch on values",
        ),
        pytest.param(
            changed(
                "(outputs, targets)\n\n\ndef prune",
                "(outputs[0], targets)\n\n\ndef prune",
                text=of("return super().forward(x), 'a word'"),
            ),
            "Net: expected outputs of tensors alone for ONNX, got (float32 (2, 3), str)",
            1,
            id="an output that is no tensor",
        ),
        pytest.param(
            of("return super().forward(x) * (2 if len(x) == 2 else 1)"),
            "ONNX Runtime: expected a model that it can run, got: ",
            3,
            id="right for a batch of two alone",
        ),
    ],
)
def test_a_network_that_is_not_exported_passes_and_the_line_says_why(checked, traced, text, why, models):
    said = checked(text)
    assert "GraphModule" not in said.out  # torch prints the graph of a branch
    (line,) = onnx(said)
    assert line.startswith(f"ONNX, every family: only the packed file: {why}")
    assert traced == ["Net"] * models


def test_a_network_of_two_inputs_is_exported(checked, traced):
    text = changed(
        "Split(inputs[part].clone(),",
        "Split((inputs[part], part),",
        text=of("return super().forward(x + (y % 3).unsqueeze(1)), y", inputs="x, y"),
    )
    text = changed("(outputs, targets)\n\n\ndef prune", "(outputs[0], targets)\n\n\ndef prune", text=text)
    assert onnx(checked(text)) == [f"ONNX, every family: {SERVES}"]
    assert traced == ["Net"] * 2


def test_a_network_that_checks_its_inputs_is_exported(checked, traced):
    checks = of(f"assert x.min() >= 0\n        {BODY}")
    said = checked(changed("inputs[part].clone()", "inputs[part].abs()", text=checks))
    assert onnx(said) == [f"ONNX, every family: {SERVES}"]


def test_of_a_large_model_the_families_that_run_in_its_own_layers_are_tried(checked, traced, monkeypatch):
    monkeypatch.setattr(check_onnx, "LARGE", 2)
    said = checked(STUDY)
    assert onnx(said) == [
        f"ONNX, prune; quantize; both: {SERVES}",
        "ONNX, low rank: not tried: it runs in other layers, and to trace so large a model again takes long",
    ]
    assert len(traced) == 1
    families = checked(STUDY, "--json").json["families"]
    assert [family["onnx"] for family in families] == [True, True, None, True]


def test_without_the_extra_nothing_is_said(checked, traced, without_onnx):
    facts = checked(STUDY, "--json").json
    assert (facts["notes"], {family["onnx"] for family in facts["families"]}, traced) == ([], {None}, [])


def test_a_new_sweep_says_which_families_have_no_onnx_files(checked, traced, monkeypatch):
    monkeypatch.setattr("sweep.prepare.prepared.OnnxTrial", check_onnx.OnnxTrial)
    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    text = of("return super().forward(x) if float(x.sum()) > -1e9 else x")
    refused = onnx(checked(text))
    assert [line.startswith("ONNX, every family: only the packed file: ") for line in refused] == [True]
    tried = len(traced)
    said = lcsweep("run", "tiny.py", "--workers", "1", "--trials", "1")
    assert (said.code, said.err, onnx(said), len(traced)) == (0, "", refused, 2 * tried)
    said = lcsweep("run", "tiny.py", "--workers", "1", "--trials", "1")
    assert (said.code, said.err, onnx(said), len(traced)) == (0, "", [], 2 * tried)


def test_a_new_sweep_says_nothing_of_onnx_files_that_serve(checked, traced, monkeypatch):
    monkeypatch.setattr("sweep.prepare.prepared.OnnxTrial", check_onnx.OnnxTrial)
    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    checked(STUDY)
    tried = len(traced)
    said = lcsweep("run", "tiny.py", "--workers", "1", "--trials", "1")
    assert (said.code, said.err, onnx(said), len(traced)) == (0, "", [], 2 * tried)
