import contextlib
import io
from pathlib import Path

import pytest

from sweep.cli import app
from tests.sweep.tiny import changed, lcsweep, write_study


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_onnx: None) -> None:
    monkeypatch.chdir(tmp_path)


def test_check_tells_data_batch_layers_and_families_and_writes_nothing(tmp_path: Path) -> None:
    write_study(tmp_path)
    said = lcsweep("check", "tiny.py")
    assert (said.code, said.err) == (0, "")
    lines = [" ".join(line.split()) for line in said.out.splitlines()]
    for expected in (
        "data train 120, val 90, test 90 examples",
        "batch inputs float32 (20, 8), targets int64 (20,)",
        "outputs float32 (20, 3)",
        "MACs 704 multiply-accumulates for one example",
        "0.weight 64 x 8 512 66.4% 512 all",
        "2.weight 3 x 64 192 24.9% 192 prune; quantize; both",
        "2.bias 3 3 0.4% none: bias",
    ):
        assert expected in lines
    assert any(line.startswith("quantize 91.3% size 16") for line in lines)
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["tiny.py"]


def test_many_biases_and_norms_are_a_row_each(tmp_path: Path) -> None:
    deep = 4 * "nn.Linear(64, 64), nn.LayerNorm(64), nn.Tanh(), "
    write_study(tmp_path, text=changed("nn.Tanh(), ", f"nn.Tanh(), {deep}"))
    said = [" ".join(line.split()) for line in lcsweep("check", "tiny.py").out.splitlines()]
    rows = [row for row in said if " none: " in row]
    assert [(row[:10], row[-10:]) for row in rows] == [("6 others 3", "none: bias"), ("8 others 5", "none: norm")]
    assert f"6 others {5 * 64 + 3} " in rows[0]
    assert f"8 others {8 * 64} " in rows[1]
    assert len([row for row in said if row.endswith(" all") or "x 64 " in row]) == 6
    assert len(lcsweep("check", "tiny.py", "--json").json["parameters"]) == 20


SHIFTED = """class Shifted(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(8, 8))
        self.layers = nn.ModuleList([nn.Linear(8, 64), nn.Linear(64, 3)])

    def forward(self, inputs):
        first, last = self.layers
        return last(first(inputs @ self.shift).tanh())


def build_model():"""


def test_a_parameter_beside_layers_has_only_its_own_multiply_accumulates(tmp_path: Path) -> None:
    text = changed("nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))", "Shifted()")
    text = changed('"0":', '"layers.0":', text=changed("def build_model():", SHIFTED, text=text))
    write_study(tmp_path, text=text)
    facts = lcsweep("check", "tiny.py", "--json").json
    counts = {each["name"]: each["macs"] for each in facts["parameters"] if each["macs"] is not None}
    assert counts == {"shift": 64, "layers.0.weight": 512, "layers.1.weight": 192}
    assert sum(counts.values()) == facts["macs"]["one example"]


def test_a_family_that_leaves_much_dense_is_told_with_what_it_leaves(tmp_path: Path) -> None:
    write_study(tmp_path)
    found = [line for line in lcsweep("check", "tiny.py").out.splitlines() if "the rest stays dense" in line]
    assert found == [
        "low rank governs 66.4% of the parameters; the rest stays dense: 2.weight (24.9%, no pattern), "
        "0.bias (8.3%, bias), 2.bias (0.4%, bias)"
    ]


def test_the_same_as_json(tmp_path: Path) -> None:
    write_study(tmp_path)
    facts = lcsweep("check", "tiny.py", "--json").json
    assert facts["splits"] == {"train": 120, "val": 90, "test": 90}
    assert facts["parameters"][2] == {
        "name": "2.weight",
        "shape": [3, 64],
        "count": 192,
        "families": ["prune", "quantize", "both"],
        "macs": 192,
    }
    assert facts["parameters"][3]["macs"] is None
    assert facts["macs"] == {"one example": 704, "not counted": []}
    assert facts["notes"] == []
    assert [family["name"] for family in facts["families"]] == ["prune", "quantize", "low rank", "both"]


def test_a_study_that_is_wrong_is_one_line(tmp_path: Path) -> None:
    write_study(tmp_path, text=changed("targets)\n", "targets).item()\n"))
    said = lcsweep("check", "tiny.py")
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert said.err.startswith("lcsweep: study tiny: loss: expected a tensor with one number")


class Terminal(io.StringIO):
    """A terminal's standard error."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_what_is_done_while_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    write_study(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(Terminal()) as err:
        assert app.main(["check", "tiny.py"]) == 0
    assert "counting multiply-accumulates" in err.getvalue()
    assert err.getvalue().endswith("\x1b[1A\x1b[2K")  # the line is gone
    assert out.getvalue().startswith("tiny: one batch went through")
