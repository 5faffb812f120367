"""`lcsweep init`: what it writes runs as it stands; what is there stays; it asks on a terminal alone."""

import io
import sys
from pathlib import Path

import pytest
import torch

from studies import mnist
from sweep.cli import console
from sweep.cli.init_text import KINDS, DatasetName, Kind, MetricName, written
from sweep.study import Checkpoint
from sweep.study.loading import load_study
from sweep.target import Target
from tests.studies.test_cifar10 import write_batch
from tests.studies.test_mnist import write_mnist
from tests.sweep.tiny import lcsweep


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "path", list(sys.path))


def write_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few made-up images of each kind where the studies look for them."""
    monkeypatch.setenv("LCSWEEP_DATA", "data")
    monkeypatch.setattr(mnist, "SHAPES", ((600, 28, 28), (600,), (100, 28, 28), (100,)))
    monkeypatch.setattr(mnist, "VAL", 100)
    Path("data").mkdir()
    write_mnist(Path("data"))
    for number, name in enumerate(("data_batch_1.bin", "test_batch.bin")):
        write_batch(Path("data", "cifar-10-batches-bin", name), 200, number)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", DatasetName)
@pytest.mark.parametrize("trained", [False, True])
def test_the_study_runs_as_it_stands(dataset: DatasetName, trained: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data(monkeypatch)
    given = ["--dataset", dataset.value]
    if trained:
        assert lcsweep("init", "shape.py", *given).code == 0
        model = load_study("shape.py", user_folder=str(Path.cwd())).seeded_model()
        Path("weights").mkdir()
        torch.save(model.state_dict(), "weights/best.pt")
        given += ["--checkpoint", "weights/best.pt"]
    said = lcsweep("init", "studies_of_mine/first.py", *given)
    assert (said.code, said.err) == (0, "")
    assert "lcsweep run studies_of_mine/first.py --dry-run" in said.out
    outlined = lcsweep("run", "studies_of_mine/first.py", "--dry-run")
    assert outlined.code == 0, outlined.err
    assert "jobs" in outlined.out
    study = load_study("studies_of_mine/first.py", user_folder=str(Path.cwd()))
    assert (study.name, isinstance(study.reference, Checkpoint)) == ("first", trained)
    lines = Path("studies_of_mine/first.py").read_text().splitlines()
    assert max(map(len, lines)) <= 120
    assert sum("#" in line for line in lines) >= 5


@pytest.mark.parametrize("metric", [MetricName.f1, MetricName.mse, MetricName.mean_iou])
def test_a_study_of_another_metric_passes_its_checks(metric: MetricName, without_onnx: None) -> None:
    """One of each kind; the other metrics differ in a word."""
    assert lcsweep("init", "mine.py", "--metric", metric.value).code == 0
    assert max(map(len, Path("mine.py").read_text().splitlines())) <= 120
    said = lcsweep("check", "mine.py")
    assert said.code == 0, said.err
    study = load_study("mine.py", user_folder=str(Path.cwd()))
    assert (study.metric.name, study.metric.higher_is_better) == (metric.value, metric is not MetricName.mse)
    assert study.target == Target(max_drop=0.05, relative=True) if metric is MetricName.mse else Target(max_drop=0.01)


@pytest.mark.parametrize("metric", MetricName)
def test_the_text_names_the_metric_and_imports_it(metric: MetricName) -> None:
    dataset = DatasetName.digits if KINDS[metric] is Kind.classes else DatasetName.none
    text = written(Path("mine.py"), checkpoint=None, dataset=dataset, metric=metric)
    imported = f"from sweep.study.metrics import {metric.value}\n" in text
    assert imported == ("\n    metrics={" in text) == (metric is not MetricName.accuracy)


def test_without_a_terminal_nothing_is_asked_and_there_are_defaults() -> None:
    assert lcsweep("init", "mine.py").code == 0
    assert "from studies.digits_mlp import load_data" in Path("mine.py").read_text()
    torch.save({}, "best.pt")
    assert lcsweep("init", "trained.py", "--checkpoint", "best.pt").code == 0
    text = Path("trained.py").read_text()
    assert "Checkpoint('best.pt')" in text
    assert "made-up numbers" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_it_asks_for_what_the_options_do_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({}, "best.pt")
    monkeypatch.setattr(sys, "stdin", Terminal("best.pt\nf1\nelsewhere\n\n"))
    said = lcsweep("init", "mine.py")
    assert said.code == 0, said.err
    assert "'elsewhere' is not one of 'digits', 'mnist', 'cifar10', 'none'" in said.out + said.err
    assert "Checkpoint('best.pt')" in Path("mine.py").read_text()
    assert "made-up numbers" in Path("mine.py").read_text()
    assert 'metrics={"f1": f1()}' in Path("mine.py").read_text()
    monkeypatch.setattr(sys, "stdin", Terminal("\nr2\n"))
    assert lcsweep("init", "numbers.py").code == 0  # no data but made-up ones fit, so nobody is asked which
    assert 'metrics={"r2": r2()}' in Path("numbers.py").read_text()
    monkeypatch.setattr(sys, "stdin", Terminal(""))  # an answer would be the end of the file
    assert lcsweep("init", "other.py", "--dataset", "digits").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["there.py"], "there.py: is there already, and stays as it is; name another file"),
        (["mine.txt"], "mine.txt: expected a name of letters, digits and _ that ends in .py"),
        (["my-study.py"], "my-study.py: expected a name of letters"),
        (["mine.py", "--checkpoint", "gone.pt"], "gone.pt: no such file; expected one with trained weights"),
        (["mine.py", "--dataset", "imagenet"], "'imagenet'"),
        (["mine.py", "--metric", "loss"], "'loss'"),
        (["mine.py", "--dataset", "mnist", "--metric", "r2"], "--metric r2: measures numbers, and mnist has classes"),
    ],
)
def test_what_makes_no_sense_is_a_line_and_nothing_is_written(arguments: list[str], words: str) -> None:
    Path("there.py").write_text("mine")
    said = lcsweep("init", *arguments)
    assert (said.code, said.err.count("\n")) == (console.USAGE, 1)
    assert words in said.err
    assert [path.name for path in Path.cwd().iterdir()] == ["there.py"]
    assert Path("there.py").read_text() == "mine"
