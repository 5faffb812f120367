"""ONNX files through the command line: made, measured, verified or refused."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

import lc_core
from lc_core.file.artifact import load
from lc_core.onnx.file import Runtime, read, seal
from sweep.job.compress import run_job
from sweep.store.fields import to_json
from sweep.store.folder import SweepFolder
from sweep.store.records import read_records
from tests.sweep.tiny import STUDY, changed, edit, lcsweep, prepared, tree, write_study

RUN = "runs/tiny"
WORDS = """
class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.words = nn.Linear(8, 64), nn.Embedding(5, 64)
        self.classes, self.sizes = nn.Linear(64, 3), nn.Linear(64, 1).requires_grad_(False)

    def forward(self, numbers, words, labels=None):
        assert numbers.min() >= 0
        hidden = self.hidden(numbers).tanh() + self.words(words)
        return {returned}


def build_model"""


def words_study(returned: str, of_classes: str, forward: str) -> str:
    """The study with a network of two inputs, numbers that may not be negative and ids of words, and two outputs."""
    text = changed("def build_model", WORDS.replace("{returned}", returned))
    text = changed("return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))", "return Words()", text=text)
    text = changed("(outputs, targets)\n\n\ndef prune", f"({of_classes}, targets)\n\n\ndef prune", text=text)
    named = '{"numbers": inputs[part].abs(), "words": part % 5, "labels": targets[part].clone()}'
    text = changed("Split(inputs[part].clone(), ", f"Split({named}, ", text=text)
    text = changed('{"0": LowRank', '{"hidden": LowRank', text=text)
    return changed("    target=Target", f"    {forward}target=Target", text=text)


@pytest.fixture
def job(finished: Path) -> dict[str, Any]:
    """The record of a pruned and quantized model of the sweep in the current folder."""
    return next(record for record in read_records(Path(RUN)) if record.family == "both")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files that a test here has made, for the others: an export takes seconds."""
    return {}


@pytest.fixture
def file(job: dict[str, Any], exported: dict[str, bytes]) -> Path:
    """The model of `job` as an ONNX file."""
    path = Path("model.onnx")
    if not exported:
        said = lcsweep("export", RUN, "--job", job.id, "--format", "onnx", "--out", "made.onnx")
        assert said.code == 0, said.err
        exported["model"] = Path("made.onnx").read_bytes()
    path.write_bytes(exported["model"])
    return path


def rewrite(path: Path, **claims: Any) -> None:
    """Claims other things of the model, under a hash that is right."""
    file = read(path)
    path.write_bytes(seal(onnx.load_from_string(file.data), file.claims | claims))


@pytest.mark.slow
def test_an_export_is_measured_and_verified(job: dict[str, Any], exported: dict[str, bytes]) -> None:
    arguments = ("export", RUN, "--job", job.id, "--format", "onnx", "--out", "new/model.onnx")
    said = lcsweep(*arguments, "--json")
    assert said.code == 0, said.err
    data = Path("new/model.onnx").read_bytes()
    facts = said.json
    assert facts["bytes"] == len(data) <= 1.05 * job.nominal_bytes + 4096
    assert (facts["packed_bytes"], facts["payload_bytes"]) == (job.artifact_bytes, job.nominal_bytes)
    assert facts["parity"] <= 1e-5
    assert facts["decoded_at_run"] == []
    assert facts["packed_val"] == to_json(job.val)
    assert facts["claims"]["packed_sha256"] == job.artifact_sha256
    exported["model"] = data

    sys.path.insert(0, ".")
    import tiny

    sys.path.remove(".")
    model, splits = tiny.build_model(), tiny.load_data()
    load(SweepFolder(Path(RUN)).artifact(job.id), model)
    outputs = Runtime(data)(splits.val.inputs)
    torch.testing.assert_close(
        outputs, model(splits.val.inputs), rtol=0, atol=1e-5 * float(outputs.detach().abs().max())
    )
    right = float((outputs.argmax(dim=1) == splits.val.targets).double().mean())
    assert facts["claims"]["val"] == {"accuracy": f"{right:.17f}", "n": 90}

    again = lcsweep(*arguments)
    assert again.code == 0
    assert f"{len(data):,} bytes" in again.out
    Path("new/model.onnx").write_bytes(b"mine")
    assert lcsweep(*arguments).code == 1
    assert Path("new/model.onnx").read_bytes() == b"mine"


def test_a_file_is_verified_with_and_without_its_study(file: Path, job: dict[str, Any]) -> None:
    before = tree(Path(RUN))
    alone = lcsweep("verify", file, "--json")
    assert alone.code == 0, alone.err
    assert alone.json["output_shapes"] == {"output": [3]}
    assert "outputs" not in alone.json
    verified = lcsweep("verify", file, "--study", "tiny.py", "--json").json
    assert verified["outputs"] == "as claimed"
    assert verified["packed"] == str(SweepFolder(Path.cwd() / RUN).artifact(job.id))
    assert verified["parity"] <= 1e-5
    assert "test" not in verified
    assert ", verified" in lcsweep("verify", file, "--study", "tiny.py").out
    assert tree(Path(RUN)) == before  # no look at the test split is taken


def test_what_was_measured_on_the_test_split_is_compared(file: Path, job: dict[str, Any]) -> None:
    assert lcsweep("pick", RUN, "--min-accuracy", "0", "--by", "bytes").code == 0
    kept = SweepFolder(Path(RUN)).test / f"{job.artifact_sha256}.json"
    from sweep.pick.looks import look_at_test
    from sweep.pick.verify import open_study

    study, data = open_study(Path(RUN), study_reference=None, user_folder=".")
    look_at_test(job.id, SweepFolder(Path(RUN)), study, data, asked={})
    said = lcsweep("verify", file, "--study", "tiny.py", "--json")
    assert said.json["test"] == {"accuracy": json.loads(kept.read_text())["accuracy"], "n": 90}
    edit(kept, accuracy=0.5)
    assert lcsweep("verify", file, "--study", "tiny.py").code == 5


def test_without_the_packed_file_there_is_no_parity(file: Path) -> None:
    shutil.rmtree("runs")
    said = lcsweep("verify", file, "--study", "tiny.py", "--json")
    assert said.code == 0
    assert said.json["outputs"] == "as claimed"
    assert "parity" not in said.json


def test_what_is_claimed_and_not_so_is_found(file: Path, job: dict[str, Any]) -> None:
    claims = read(file).claims
    rewrite(file, val=claims["val"] | {"accuracy": "0.98765432109876543"})
    said = lcsweep("verify", file, "--study", "tiny.py")
    assert (said.code, said.out) == (5, "")
    assert "claims validation accuracy 0.987654" in said.err
    other = next(record for record in read_records(Path(RUN)) if record.id != job.id)
    rewrite(file, val=claims["val"], job=other.id, packed_sha256=other.artifact_sha256)
    said = lcsweep("verify", file, "--study", "tiny.py")
    assert said.code == 5
    assert "within 1e-05 of torch's" in said.err


def test_another_study_is_refused(file: Path) -> None:
    write_study(Path.cwd(), text=changed("nn.Tanh()", "nn.ReLU()", text=STUDY), name="other.py")
    said = lcsweep("verify", file, "--study", "other.py")
    assert said.code == 1
    assert "not the one that model.onnx was made from" in said.err


def test_a_damaged_file_is_exit_code_5(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-3])
    said = lcsweep("verify", file)
    assert (said.code, said.out, said.err.count("\n")) == (5, "", 1)


def test_eight_bits_say_what_they_cost(job: dict[str, Any]) -> None:
    said = lcsweep("export", RUN, "--job", job.id, "--format", "onnx", "--int8", "static", "--out", "i.onnx", "--json")
    assert said.code == 0, said.err
    assert said.json["claims"]["weights"] == "int8, static"
    assert said.json["packed_val"] == to_json(job.val)
    assert 0 < said.json["int8_difference"] < 0.2
    assert said.json["bytes"] == Path("i.onnx").stat().st_size > said.json["packed_bytes"]
    verified = lcsweep("verify", "i.onnx", "--study", "tiny.py", "--json")
    assert verified.code == 0
    same = ("val", "packed_val", "int8_difference", "packed_bytes", "bytes")
    assert {name: verified.json[name] for name in same} == {name: said.json[name] for name in same}
    assert "parity" not in verified.json
    words = lcsweep("verify", "i.onnx", "--study", "tiny.py").out
    assert re.search(r"size +WARNING: [0-9.]+ times LARGER than the packed file", words)
    assert re.search(r"after int8 +outputs differ from the packed model's by at most [0-9.e-]+ of the largest", words)
    assert "; packed model " in words
    shutil.copy(verified.json["packed"], "another name.lcz")
    Path("runs").rename("elsewhere")
    beside = lcsweep("verify", "i.onnx", "--study", "tiny.py", "--json").json
    assert {name: beside[name] for name in same} == {name: said.json[name] for name in same}
    Path("another name.lcz").unlink()
    alone = lcsweep("verify", "i.onnx", "--study", "tiny.py")
    assert alone.code == 0
    assert re.search(r"packed file +not found", alone.out)
    assert re.search(r"size +WARNING: [0-9.]+ times LARGER than the packed file", alone.out)
    packed = f"{job.val.value:.2%}"
    assert re.search(rf"validation .* verified; packed model {packed}, as claimed", alone.out)


def test_a_sweep_of_any_name_in_runs_has_the_packed_file(file: Path) -> None:
    Path(RUN).rename("runs/another")
    assert "runs/another/" in lcsweep("verify", file, "--study", "tiny.py", "--json").json["packed"]


@pytest.mark.parametrize(
    ("packed", "code"),
    [(7, 0), ({}, 0), ({"bytes": "9"}, 0), ({"bytes": -1, "val": {}}, 0), ({"bytes": 9, "val": {"accuracy": "x"}}, 1)],
)
def test_what_a_file_says_of_the_packed_one_may_be_damaged(file: Path, packed: Any, code: int) -> None:
    rewrite(file, weights="int8, static", packed=packed)
    said = lcsweep("verify", file)
    assert (said.code, said.err.count("\n")) == (code, code)


def test_int8_needs_onnx(job: dict[str, Any]) -> None:
    said = lcsweep("export", RUN, "--job", job.id, "--int8", "static", "--out", "i.lcz")
    assert said.code == 2
    assert "--int8: expected --format onnx" in said.err


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_a_line(missing: str, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "sweep.pick.export" or name.startswith("lc_core.onnx")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("sweep.pick.export", raising=False)
    monkeypatch.setattr("lc_core.onnx", lc_core.onnx)  # importing it again gives lc_core another one
    monkeypatch.setitem(sys.modules, missing, None)
    said = lcsweep("export", RUN, "--job", job.id, "--format", "onnx", "--out", "m.onnx")
    assert (said.code, said.out) == (1, "")
    assert said.err == f"lcsweep: {missing} is not installed; run pip install 'lcsweep[onnx]'\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("returned", "of_classes", "forward"),
    [
        ("self.classes(hidden), self.sizes(hidden)", "outputs[0]", ""),
        ('{"logits": self.classes(hidden), "sizes": self.sizes(hidden), "loss": labels}', 'outputs["logits"]', ""),
        ("self.classes(hidden), hidden", "outputs", "forward=lambda model, inputs: model(**inputs)[0],\n    "),
    ],
    ids=["a tuple", "a mapping", "a forward of the study's own"],
)
def test_a_network_of_several_inputs_and_outputs_goes_the_whole_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returned: str, of_classes: str, forward: str
) -> None:
    """In ONNX Runtime it has torch's outputs, all of them, and its metric; it is measured on the study's own data."""
    write_study(tmp_path, text=words_study(returned, of_classes, forward), name="words.py")
    monkeypatch.chdir(tmp_path)
    sweep = prepared(tmp_path / "words.py", Path(RUN))
    for job in (entry.jobs[0] for entry in sweep.entries):
        if job.family in ("both", "low rank"):  # low rank runs in layers of its own
            assert run_job(job, sweep.context, report=lambda _: None).status == "done"
    picked = lcsweep("pick", RUN, "--min-accuracy", "0", "--study", "words.py", "--json")
    assert picked.code == 0, picked.err
    assert picked.json["parity"] <= 1e-5
    verified = lcsweep("verify", picked.json["artifact"], "--study", "words.py", "--json").json
    assert (verified["outputs"], verified["parity"]) == ("as claimed", picked.json["parity"])
    for out, *options in (("words.onnx",), ("int8.onnx", "--int8", "static")):
        made = lcsweep("export", RUN, "--format", "onnx", "--out", out, *options, "--json")
        assert made.code == 0, made.err
        assert made.json["parity"] <= 1e-5
        again = lcsweep("verify", out, "--study", "words.py", "--json").json
        assert (again["outputs"], again["val"]) == ("as claimed", made.json["val"])
    assert made.json["int8_difference"] == again["int8_difference"] > 0
    (tidy,) = lcsweep("export", RUN, "--tidy", "--out", "tidy.lcz", "--json").err.splitlines()
    assert "Words: expected a model that torch.fx can trace" in tidy  # it looks at its numbers
    alone = lcsweep("verify", "words.onnx", "--json").json
    assert next(iter(alone["output_shapes"].values())) == [3]
    assert len(alone["output_shapes"]) == (1 if forward else 2)

    monkeypatch.setattr("sweep.bench.latency.WARM_UP", 1)
    (low_rank,) = (record for record in read_records(Path(RUN)) if record.family == "low rank")
    of_sweep = lcsweep("bench", RUN, "--job", low_rank.id, "--rounds", "1", "--json")
    assert of_sweep.code == 0, of_sweep.err
    for model in of_sweep.json["models"].values():
        assert {row["runs"] for row in model["rows"]} >= {"onnx", "torch"}
        if sys.platform == "linux":
            assert model["memory"].keys() == {row["runs"] for row in model["rows"]}
    assert "torch, structured" in {row["runs"] for row in of_sweep.json["models"][low_rank.id]["rows"]}
    of_files = lcsweep("bench", "words.onnx", "int8.onnx", "--rounds", "1", "--json")
    assert of_files.code == 0, of_files.err
