"""What lcsweep does to a study without being asked: said in a line, and the same everywhere."""

import functools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from lc_core import fold
from lc_core.file.artifact import read
from sweep.execution import driver
from sweep.prepare.check import check
from sweep.prepare.check_batch import some
from sweep.prepare.notes import notes
from sweep.prepare.prepared import prepare
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.study import Checkpoint
from sweep.study.loading import load_splits, load_study
from tests.sweep.tiny import changed, edit, lcsweep, options, run_here, write_study

MODEL = "nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))"
NORMED = (
    "nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(8, 64)), nn.Tanh(), "
    "nn.utils.weight_norm(nn.Linear(64, 3)))"
)
PLAIN = changed(
    f"return {MODEL}",
    f"model = {NORMED}\n    fold(model)\n    return model",
    text=changed("import Chain,", "import fold, Chain,"),
)
SPECTRAL = changed(
    "def build_model",
    """class Transformed(nn.Module):
    def forward(self, x):
        return x + 0 * torch.fft.rfft(x).abs().sum(1, keepdim=True)


def build_model""",
)
FOLDED = "0.weight, 2.weight: computed by weight_norm; folded into plain parameters"
RISING = "(2, 3, 4, 8, 16)"
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_onnx: None) -> Path:
    """A study whose model computes its weights, one the old way and one the new way; jobs run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(driver, "run", functools.partial(driver.run, runner=run_here))
    return write_study(tmp_path, text=changed(MODEL, NORMED))


def test_a_model_with_computed_weights_is_folded_and_goes_all_the_way(study: Path) -> None:
    checked = lcsweep("check", "tiny.py")
    assert checked.code == 0
    assert FOLDED in checked.out.splitlines()
    assert FOLDED in lcsweep("run", "tiny.py", "--dry-run").out.splitlines()
    ran = lcsweep("run", "tiny.py", "--search", "smallest", "--confirm", "0", "--workers", "1")
    assert ran.code == 0
    assert ran.out.splitlines()[0] == FOLDED
    reference = read(SweepFolder(Path("runs/tiny")).reference).weights()
    assert reference.keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert read_manifest(Path("runs/tiny")).reference.parameters == 8 * 64 + 64 + 64 * 3 + 3
    picked = lcsweep("pick", "runs/tiny", "--json").json
    assert picked["meets_target"]
    for form in ("lcz", "safetensors"):
        assert lcsweep("export", "runs/tiny", "--format", form, "--out", f"out.{form}").code == 0
    verified = lcsweep("verify", "out.lcz", "--study", "tiny.py", "--json")
    assert verified.code == 0
    model = load_study("tiny.py", user_folder=".").build_model()
    fold(model)
    model.load_state_dict(load_file("out.safetensors/model.safetensors"))
    assert "model = build_model()\nfold(model)\nmodel.load" in Path("out.safetensors/README.md").read_text()


def test_the_reference_is_trained_with_its_norms_and_then_folded(study: Path, tmp_path: Path) -> None:
    sweep = prepare(options(study, tmp_path / "normed"), say=lambda _: None)
    plain = write_study(tmp_path, name="plain.py", text=PLAIN)
    other = prepare(options(plain, tmp_path / "plain"), say=lambda _: None)
    first, second = sweep.context.reference["0.weight"], other.context.reference["0.weight"]
    assert first.shape == second.shape
    assert not torch.allclose(first, second, atol=1e-3)  # gradients of g and v are not those of the weight


@pytest.mark.parametrize("saved_folded", [False, True])
def test_a_checkpoint_may_hold_the_computed_weights_or_plain_ones(
    study: Path, tmp_path: Path, saved_folded: bool
) -> None:
    trained = load_study("tiny.py", user_folder=".").starting_model()
    if saved_folded:
        fold(trained)
    torch.save(trained.state_dict(), tmp_path / "best.pt")
    fold(trained)
    text = changed("Recipe(epochs=20, lr=0.1, batch_size=20)", 'Checkpoint("best.pt")', text=study.read_text())
    taken = write_study(tmp_path, name="taken.py", text=changed("import Data,", "import Checkpoint, Data,", text=text))
    sweep = prepare(options(taken, tmp_path / "taken"), say=lambda _: None)
    expected = trained.state_dict()
    assert sweep.context.reference.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in sweep.context.reference.items())


def test_a_checkpoint_of_the_older_weight_norm_fits_the_newer_one() -> None:
    older = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 4)), nn.utils.weight_norm(nn.Linear(4, 2)))
    weight_norm = nn.utils.parametrizations.weight_norm
    newer = nn.Sequential(weight_norm(nn.Linear(3, 4)), weight_norm(nn.Linear(4, 2)))
    Checkpoint(older.state_dict).load_into(newer)
    fold(older)
    fold(newer)
    assert newer.state_dict().keys() == older.state_dict().keys()
    assert all(torch.equal(tensor, older.state_dict()[name]) for name, tensor in newer.state_dict().items())


def test_an_earlier_sweep_holds_the_shares_from_when_it_goes_on(finished: Path) -> None:
    folder = finished / "runs" / "tiny"
    edit(folder / "sweep.json", coverage={})
    sweep = prepare(options(finished / "tiny.py", folder), say=lambda _: None)
    assert list(sweep.coverage) == ["prune", "quantize", "low rank", "both"]
    assert read_manifest(folder).coverage == {}  # nothing is left to run: no file changes
    sweep = prepare(options(finished / "tiny.py", folder, repeats=2), say=lambda _: None)
    assert read_manifest(folder).coverage == sweep.coverage


def test_of_many_weights_the_first_are_named() -> None:
    assert some(list("abc")) == "a, b, c"
    assert some(list("abcde")) == "a, b, c and 2 more"


def test_a_model_without_computed_weights_has_no_line(tmp_path: Path) -> None:
    said: list[str] = []
    prepare(options(write_study(tmp_path), tmp_path / "plain"), say=said.append)
    assert said == ["training the reference of tiny: 20 epochs"]


def test_a_validation_split_that_is_cut_off_is_said(study: Path, tmp_path: Path) -> None:
    cut = write_study(
        tmp_path,
        name="cut.py",
        text=changed(
            "return Data(*(",
            "train, _, test = (",
            text=changed("in parts))", "in parts)\n    return Data(train, None, test)"),
        ),
    )
    said = (
        "load_data gives no validation split: 12 of the 120 training examples, drawn with seed 0, are kept from "
        "training and serve as one"
    )
    lines: list[str] = []
    prepare(options(cut, tmp_path / "cut"), say=lines.append)
    assert lines[0] == said
    assert said in lcsweep("check", "cut.py").out.splitlines()
    assert lcsweep("check", "cut.py", "--json").json["notes"] == [said]


@pytest.mark.slow
def test_run_pick_and_report_say_what_is_left_dense_and_what_no_number_counts(tmp_path: Path, study: Path) -> None:
    text = changed("return nn.Sequential(", "return nn.Sequential(Transformed(), ", text=SPECTRAL)
    text = changed('{"0": LowRank', '{"1": LowRank', text=text)
    write_study(tmp_path, text=text)
    missed = "(MACs; not counted: aten::_fft_r2c)"
    ran = lcsweep("run", "tiny.py", "--search", "smallest", "--confirm", "0", "--workers", "1")
    lines = ran.out.splitlines()
    assert missed in lines[1]
    assert lines[2] == (
        "low rank governs 66.4% of the parameters; the rest stays dense: 3.weight (24.9%, no pattern), 1.bias (8.3%, "
        "bias), 3.bias (0.4%, bias)"
    )
    assert lines[3].startswith("smallest model for")
    (row,) = (line for line in lcsweep("pick", "runs/tiny").out.splitlines() if line.startswith("MACs"))
    assert row.endswith("; not counted: aten::_fft_r2c")
    assert lcsweep("pick", "runs/tiny", "--json").json["uncounted"] == ["aten::_fft_r2c"]
    assert "not counted: aten::_fft_r2c" in lcsweep("check", "tiny.py").out
    kept = read_manifest(Path("runs/tiny")).coverage
    assert list(kept) == ["prune", "quantize", "low rank", "both"]
    assert kept["low rank"].dense[0].name == "3.weight"
    assert lcsweep("report", "runs/tiny", "--format", "md").code == 0
    page = Path("runs/tiny/report/report.md").read_text()
    assert "- low rank governs 66.4%" in page
    assert "MACs; not counted: aten::" in page


def test_a_layer_that_is_too_small_for_a_codebook_stays_dense_and_that_is_said(study: Path, tmp_path: Path) -> None:
    write_study(tmp_path, text=changed('{"size": (16,', '{"size": (200, 16,'))
    said = "quantize, size 200: 2.weight stays dense, with fewer weights than the codebook has values"
    out = lcsweep("check", "tiny.py").out
    assert said in out.splitlines()
    assert "quantize governs 66.4% of the parameters; the rest stays dense: 2.weight (24.9%, too small)" in out
    ran = lcsweep("run", "tiny.py", "--search", "smallest", "--confirm", "0", "--workers", "1")
    assert ran.code == 0
    assert said in ran.out.splitlines()


def test_levels_from_the_tightest_to_the_loosest_are_told(tmp_path: Path) -> None:
    study = load_study(
        "tiny.py", user_folder=str(write_study(tmp_path, text=changed("(16, 8, 4, 3, 2)", RISING)).parent)
    )
    [told] = notes(check(study, load_splits(study)))
    assert told.startswith("quantize: size 2 takes ")
    assert told.endswith("; list levels from the loosest to the tightest, since searches go by their order")
