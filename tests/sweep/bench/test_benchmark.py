"""`lcsweep bench` and what goes by it: files in the store, records, picks, and the words for what is not faster."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from lc_core.file.artifact import encode
from lc_core.onnx import file as onnx_file
from lc_core.onnx.graph import ExportError
from lc_core.structure.surgery import StructureError
from sweep.bench import latency, runtimes, timing, torch_alone
from sweep.bench.memory import Peak, peak
from sweep.bench.runtimes import Model, packed_model
from sweep.bench.timing import Setup, measured
from sweep.cli.bench import describe
from sweep.job.compress import run_job
from sweep.pick.size_and_speed import faster, speed
from sweep.store.fields import to_json
from sweep.store.files import write_json
from sweep.store.folder import SweepFolder
from sweep.store.job import name_of
from sweep.store.manifest import read_manifest
from sweep.store.record import Done
from sweep.store.records import finished, read_records
from sweep.study.loading import load_study
from tests.lc_core.onnx.test_limits import a_model
from tests.sweep.tiny import changed, edit, lcsweep, prepared, tree, write_study

RUN = Path("runs", "tiny")
WORDS = '''
class Words(nn.Module):
    """Words and numbers, summed."""

    def __init__(self):
        super().__init__()
        self.words, self.numbers = nn.Embedding(5, 64), nn.Linear(8, 64)

    def forward(self, inputs):
        assert inputs["words"].min() > 0 <= inputs["numbers"].min()
        return self.words(inputs["words"]) + self.numbers(inputs["numbers"])
'''
FOLDER = SweepFolder(RUN)


def job(family: str) -> Done:
    return next(record for record in finished(read_records(RUN)) if record.family == family)


@pytest.fixture(autouse=True)
def _one_call_to_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads on a busy machine take tens of milliseconds for a call; how often it is called has its own tests."""
    monkeypatch.setattr(latency, "WARM_UP", 1)


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without processes for memory, which take seconds."""
    monkeypatch.setattr(timing, "peak", lambda arguments: None)


@pytest.fixture
def no_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without the extra `onnx`: without ONNX files, of which each takes a second."""
    for module in (runtimes, timing):
        monkeypatch.setattr(module, "has_onnx", lambda: False)


def bench(*arguments: str | Path) -> dict[str, Any]:
    said = lcsweep("bench", *arguments, "--rounds", "2", "--json")
    assert said.code == 0, said.err
    return said.json


def put_latency(record: Done, ratio: float, **others: Any) -> None:
    """As if `bench` had found that ratio."""
    facts = {"ratio": ratio, "ratio_low": ratio - 0.01, "ratio_high": ratio + 0.01}
    own = {"format": 1, "id": record.id, "artifact_sha256": record.artifact_sha256}
    write_json(FOLDER.latency(record.id), own | facts | others)


# What is measured


@pytest.mark.slow
def test_a_sweeps_model_is_measured_in_every_way_and_kept(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of torch takes seconds: the structured model's is real, the dense one runs here, the reference none."""
    record = job("low rank")
    reference = str(FOLDER.reference)

    def peak_of(arguments: Sequence[str]) -> Peak | None:
        if reference in arguments:
            return None
        if "dense" not in arguments:
            return peak(arguments)
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            torch_alone.main(*arguments[3:])
        assert said.getvalue() == "imported\nran\n"
        return Peak(2, 1)

    monkeypatch.setattr(timing, "peak", peak_of)
    before = tree(RUN)
    facts = bench(RUN, "--job", record.id)
    assert list(facts["models"]) == ["reference", record.id]
    found = facts["models"][record.id]
    settings = [(row["runs"], row["threads"], row["batch"], row["denormals"]) for row in found["rows"]]
    cores = facts["machine"]["cores"]
    ways = ("onnx", "torch", "torch, structured")
    assert set(settings) == {
        (runs, threads, batch, "flushed") for runs in ways for threads in {1, cores} for batch in (1, 64)
    } | {(runs, 1, 1, "kept") for runs in ways}
    assert len(settings) == len(set(settings))
    for row in found["rows"]:
        assert row["p50_s"] > 0
        assert row["p95_s"] is row["p99_s"] is None  # two rounds are too few samples
        assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["dense_p50_s"] > 0
        assert row["throughput"] > 0
    headline = found["rows"][settings.index(("onnx", 1, 1, "flushed"))]
    assert headline == {name: found[name] for name in headline}
    assert set(found["memory"]) == set(ways)
    if sys.platform == "linux":
        onnx, torchs = found["memory"]["onnx"], found["memory"]["torch, structured"]
        assert found["memory"]["torch"] == {"bytes": 2, "imported_bytes": 1}
        assert 0 < onnx["imported_bytes"] < onnx["bytes"] < torchs["imported_bytes"] < torchs["bytes"]
    assert facts["models"]["reference"]["ratio"] == 1.0

    after = tree(RUN)
    assert set(after) - set(before) == {f"latency/{record.id}.json"}
    assert before.items() <= after.items()
    kept = json.loads(FOLDER.latency(record.id).read_text())
    assert kept["artifact_sha256"] == record.artifact_sha256
    assert kept["machine"]["versions"]["torch"] == torch.__version__
    assert to_json(job("low rank").latency) == kept
    assert job("both").latency is None


def test_without_a_job_the_front_and_the_pick_are_measured(
    finished: Path, no_memory: None, no_onnx: None, without_onnx: None
) -> None:
    records = read_records(RUN)
    costs = [(record.artifact_bytes, 1 - record.val.value, record.id) for record in records]
    front = {
        own for size, error, own in costs
        if not any(s <= size and e <= error and (s, e) != (size, error) for s, e, _ in costs)
    }  # fmt: skip
    assert lcsweep("pick", RUN, "--min-accuracy", "0.1", "--by", "macs").code == 0
    pick = json.loads(FOLDER.pick.read_text())["id"]
    assert pick not in front
    said = lcsweep("bench", RUN, "--rounds", "2", "--json")
    assert set(said.json["models"]) == {"reference", pick} | front
    named = {name_of(record) for record in records if record.id in said.json["models"]}
    steps = {f"{step}: {name}" for step in ("model", "memory") for name in {"reference"} | named}
    assert steps == {line.partition(", torch")[0] for line in said.err.splitlines() if not line.startswith("latency")}
    kinds = dict.fromkeys(line.partition(":")[0] for line in said.err.splitlines())
    assert [*kinds] == ["model", "memory", "latency"]  # the long part last: what does not run ends before it


@pytest.mark.slow
def test_files_are_measured_beside_a_dense_model(finished: Path, no_memory: None) -> None:
    path = FOLDER.artifact(job("both").id)
    exported = lcsweep("export", RUN, "--job", job("both").id, "--format", "onnx", "--out", "both.onnx")
    assert exported.code == 0, exported.err
    before = tree(Path.cwd())
    facts = bench(path, "both.onnx", "--study", "tiny.py")
    assert list(facts["models"]) == ["reference", str(path), "both.onnx"]
    assert {row["runs"] for row in facts["models"]["both.onnx"]["rows"]} == {"onnx"}
    assert facts["models"]["both.onnx"]["ratio"] > 0
    wrong = a_model(9)
    Path("nine.onnx").write_bytes(onnx_file.seal(wrong, {}))
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [2], [7, -1])  # 64 x 9 numbers are not 7 times as many
    wrong.graph.initializer.append(sizes)
    wrong.graph.node[0].CopyFrom(helper.make_node("Reshape", ["input", "sizes"], ["y"]))
    wrong.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "m"
    Path("wrong.onnx").write_bytes(onnx_file.seal(wrong, {}))
    for names, code, words in (
        (["wrong.onnx"], 5, "expected a model that it can run"),
        (
            ["both.onnx", "nine.onnx"],
            1,
            "files of the same inputs, got float32 (1, 8) and float32 (1, 9); measure them",
        ),
    ):
        said = lcsweep("bench", *names)
        assert (said.code, said.out) == (code, "")
        assert words in said.err
    before = tree(Path.cwd())
    alone = bench("both.onnx")
    assert list(alone["models"]) == ["both.onnx"]
    assert alone["models"]["both.onnx"]["ratio"] == 1.0
    assert tree(Path.cwd()) == before


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("bench", 2, "Missing argument"),
        ("bench runs/tiny other", 2, "expected one sweep's folder, or files"),
        ("bench nowhere.lcz", 2, "nowhere.lcz: no such file"),
        ("bench {artifact} --job a", 2, "--job: expected a sweep's folder"),
        ("bench {artifact}", 1, "expected --study STUDY"),
        ("bench runs/tiny --job zzz", 1, "starts with 'zzz', found 0"),
        ("bench runs/tiny --trial zzz", 1, "starts with 'zzz', found 0"),
        ("bench nowhere", 1, "nowhere: no such folder"),
        ("bench {artifact} --study other.py", 1, "not the one that"),
    ],
)
def test_what_cannot_be_measured_is_a_line(finished: Path, line: str, code: int, words: str) -> None:
    write_study(Path.cwd(), text=changed("nn.Tanh()", "nn.ReLU()"), name="other.py")
    said = lcsweep(*line.format(artifact=FOLDER.artifact(job("both").id)).split())
    assert (said.code, said.out) == (code, "")
    assert words in said.err


def test_without_the_extra_torch_alone_is_measured(finished: Path, no_memory: None, no_onnx: None) -> None:
    said = lcsweep("bench", RUN, "--job", job("both").id, "--rounds", "1")
    assert said.code == 0, said.err
    assert "torch only: ONNX Runtime is not installed" in said.out
    assert job("both").latency.ratio is None
    assert "speed         NOT FASTER" in lcsweep("pick", RUN, "--min-accuracy", "0.1").out
    assert {row["runs"] for row in job("both").latency.details["rows"]} == {"torch"}
    assert lcsweep("pick", RUN, "--by", "latency").code == 1


def test_a_model_that_has_no_onnx_file_is_measured_in_torch_and_an_error_of_ours_comes_out(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study("tiny.py", user_folder=str(Path.cwd()))
    path, example = FOLDER.artifact(job("low rank").id), torch.randn(2, 8)

    def refuse(error: Exception) -> Callable[..., Any]:
        def fail(*arguments: Any, **named: Any) -> Any:
            raise error

        return fail

    monkeypatch.setattr("lc_core.onnx.build.build", refuse(ExportError("cannot be exported")))
    assert packed_model("m", path, study, example).runtimes == ("torch", "torch, structured")
    monkeypatch.setattr(runtimes, "restructured", refuse(StructureError("other outputs")))
    assert packed_model("m", path, study, example).runtimes == ("torch",)
    monkeypatch.setattr("lc_core.onnx.build.build", refuse(ValueError("a mistake")))
    with pytest.raises(ValueError, match="a mistake"):
        packed_model("m", path, study, example)
    monkeypatch.setattr(runtimes, "restructured", refuse(ValueError("another mistake")))
    with pytest.raises(ValueError, match="another mistake"):
        packed_model("m", path, study, example)


# Denormal numbers, and memory


class Processor:
    """Runs on a clock of its own: a pass takes a millisecond, or `cost` where denormal numbers are kept."""

    def __init__(self, cost: float) -> None:
        self.now, self.cost, self.flushes = 0.0, cost, False

    def flush(self, on: bool) -> bool:
        self.flushes = on
        return True

    def perf_counter(self) -> float:
        return self.now

    def model(self) -> nn.Module:
        model = nn.Linear(2, 2, bias=False)
        model.register_forward_hook(lambda *_: self.run())
        return model.eval()

    def run(self) -> None:
        self.now += 1e-3 if self.flushes else self.cost

    def __deepcopy__(self, memo: object) -> "Processor":
        return self


@pytest.mark.parametrize(
    "cost, said",
    [
        (1e-2, "it takes 10.00 times as long in torch"),
        (1.06e-3, "it takes 1.06 times as long in torch"),
        (1.04e-3, "it is no slower"),
    ],
)
def test_what_denormal_numbers_cost_is_found(
    tmp_path: Path, no_memory: None, monkeypatch: pytest.MonkeyPatch, cost: float, said: str
) -> None:
    """Only on some processors a layer full of them takes longer where these are not told to take them for zeros."""
    processor = Processor(cost)
    monkeypatch.setattr(timing, "time", processor)
    monkeypatch.setattr(torch, "set_flush_denormal", processor.flush)
    facts = measured([Model("slow", tmp_path, {"torch": processor.model()}, None, 512 * 512)], setup(tmp_path))
    assert facts["models"]["slow"]["denormal_weights"] == 512 * 512
    (kept,) = (row for row in facts["models"]["slow"]["rows"] if row["denormals"] == "kept")
    assert kept["denormals_cost"] == pytest.approx(cost / 1e-3)
    assert processor.flushes
    assert f"262,144 weights are denormal numbers; if denormal numbers are not flushed to zero, {said}" in describe(
        facts
    )
    assert "1.00 to 1.00" in describe(facts)
    few = describe(facts | {"rounds": 5})  # as few have no 95 % interval, they show no cost
    assert "262,144 weights are denormal numbers; what they cost shows in 6 rounds or more" in few
    assert "1.00 to 1.00" not in few
    assert "it takes" not in few
    assert "; 1 round, every model in each" in describe(facts | {"rounds": 1})


def setup(folder: Path) -> Setup:
    return Setup(torch.randn(64, 2), "nothing", (str(folder),), 8, lambda words: None)


def test_denormal_weights_are_counted_in_a_file(finished: Path) -> None:
    study = load_study("tiny.py", user_folder=str(Path.cwd()))
    torch.set_flush_denormal(False)
    state = study.seeded_model().state_dict()
    state["0.weight"][:3] = 1e-39
    Path("file.lcz").write_bytes(encode([], [], state, info={}))
    torch.set_flush_denormal(True)
    assert packed_model("file", Path("file.lcz"), study, torch.randn(2, 8)).denormals == 24


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_is_that_of_the_work_and_not_of_the_parent() -> None:
    ballast = bytearray(300_000_000)
    steps = "print('imported', flush=True); input()", "x = b'1' * 50_000_000", "print('ran', flush=True); input()"
    found = peak(["-c", "\n".join(steps)])
    assert isinstance(found, Peak)
    assert 50_000_000 < found.bytes - found.imported_bytes < 150_000_000
    assert found.imported_bytes < 50_000_000 < len(ballast)
    with pytest.raises(ValueError, match="ended: KeyError: 'no such thing'"):
        peak(["-c", "{}['no such thing']"])


def test_a_network_of_several_inputs_is_measured_on_the_studys_own_data(
    tmp_path: Path, no_onnx: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids of words, of which none is 0, and numbers that may not be negative: random ones fail, also for the memory."""
    text = changed("nn.Linear(8, 64), nn.Tanh()", "Words(), nn.Tanh()")
    text = changed("def build_model", f"{WORDS}\n\ndef build_model", text=text)
    text = changed(
        "Split(inputs[part].clone(),", "Split({'words': part % 4 + 1, 'numbers': inputs[part].abs()},", text=text
    )
    text = changed('{"0": LowRank', '{"0.numbers": LowRank', text=text)
    text = changed(
        "    target=Target", "    forward=lambda model, inputs: model(inputs),\n    target=Target", text=text
    )
    write_study(tmp_path, text=text, name="words.py")
    monkeypatch.chdir(tmp_path)
    sweep = prepared(tmp_path / "words.py", RUN)
    (low_rank,) = (job for entry in sweep.entries for job in entry.jobs if job.family == "low rank")
    assert run_job(low_rank, sweep.context, report=lambda _: None).status == "done"
    ran: list[str] = []

    def peak_here(arguments: Sequence[str]) -> Peak:
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
        with contextlib.redirect_stdout(io.StringIO()) as said:
            torch_alone.main(*arguments[3:])
        ran.append(said.getvalue())
        return Peak(2, 1)

    monkeypatch.setattr(timing, "peak", peak_here)
    (record,) = finished(read_records(RUN))
    models = bench(RUN, "--job", record.id)["models"]
    ways = [{row["runs"] for row in model["rows"]} for model in models.values()]
    assert ways == [{"torch"}, {"torch", "torch, structured"}]
    assert ran == ["imported\nran\n"] * 3


# What goes by it


def test_a_pick_by_latency_is_the_fastest_that_was_measured(finished: Path, without_onnx: None) -> None:
    said = lcsweep("pick", RUN, "--by", "latency")
    assert (said.code, said.out) == (1, "")
    assert (
        said.err
        == "lcsweep: by latency: expected models of which the latency was measured, found none; first run lcsweep "
        "bench DIR, which needs the extra lcsweep[onnx], and a network that has ONNX files (lcsweep check says so)\n"
    )
    small, fast = job("both"), job("low rank")
    put_latency(small, 1.01)
    put_latency(fast, 0.4)
    picked = lcsweep("pick", RUN, "--by", "latency", "--min-accuracy", "0.1", "--json").json
    assert (picked["id"], picked["by"], picked["measured"]) == (fast.id, "latency", [2, 7])
    assert (picked["faster"], picked["latency"]["ratio"]) == (True, 0.4)
    assert picked["runner_up"]["id"] == small.id
    words = lcsweep("pick", RUN, "--by", "latency", "--min-accuracy", "0.1").out
    assert "2 of 7 candidates" in words
    assert "faster: 0.40 (0.39 to 0.41) of the latency of the reference" in words
    put_latency(fast, 1.01)
    tie = lcsweep("pick", RUN, "--by", "latency", "--min-accuracy", "0.1", "--json").json
    assert tie["id"] == min((small, fast), key=lambda record: record.artifact_bytes).id
    assert lcsweep("pick", RUN, "--knee", "--by", "latency").code == 0


def test_a_measurement_of_another_file_does_not_count(finished: Path) -> None:
    record = job("both")
    put_latency(record, 0.5, artifact_sha256="0" * 64)
    assert job("both").latency is None
    put_latency(record, 0.5)
    assert job("both").latency.ratio == 0.5
    FOLDER.latency(record.id).write_text("{")
    assert lcsweep("status", RUN).code == 1


@pytest.mark.parametrize(
    ("ratio", "high", "expected"),
    [(0.5, 0.6, True), (0.95, 0.99, True), (0.96, 0.99, False), (0.9, 1.0, False), (1.2, 1.3, False)],
)
def test_faster_is_by_a_margin_and_beyond_doubt(ratio: float, high: float, expected: bool) -> None:
    record = {"latency": {"ratio": ratio, "ratio_low": 0.4, "ratio_high": high}, "macs": 5, "reference_macs": 7}
    assert faster(record) is expected
    assert speed(record).startswith("faster: ") is expected


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"ratio": 0.62, "ratio_low": 0.52, "ratio_high": 0.7}, "faster: 0.62 (0.52 to 0.70) of"),
        ({"ratio": 0.62, "ratio_low": 0.52, "ratio_high": 1.5}, "speed-up not proven: 0.62 (0.52 to 1.50) of"),
        ({"ratio": 1.2, "ratio_low": 1.1, "ratio_high": 1.3}, "SLOWER: 1.20 (1.10 to 1.30) of"),
        ({"ratio": 0.97, "ratio_low": 0.96, "ratio_high": 0.99}, "hardly faster: 0.97 (0.96 to 0.99) of"),
        (
            {"ratio": 0.62, "ratio_low": 0.62, "ratio_high": 0.62, "rounds": 1},
            "speed-up not proven: 0.62 (0.62 to 0.62)",
        ),
    ],
)
def test_a_speed_is_a_claim_with_an_interval(facts: dict[str, float], words: str) -> None:
    assert speed({"latency": facts, "macs": 5, "reference_macs": 7}).startswith(words)


def test_what_was_not_measured_is_not_faster_unless_it_computes_less() -> None:
    assert faster({"macs": 7, "reference_macs": 7}) is False
    assert speed({"macs": 7, "reference_macs": 7}) == "NOT FASTER, as many multiply-accumulates as the reference"
    assert faster({"macs": 5, "reference_macs": 7, "latency": None}) is None
    assert speed({"macs": 5, "reference_macs": 7}) == "not measured; lcsweep bench does"
    without = {"macs": 5, "reference_macs": 7, "parity": None, "no_parity": "cannot be exported"}
    assert speed(without) == "not measured, since it has no ONNX file"  # bench would not tell either


def test_wherever_a_model_is_shown_it_is_said_to_be_no_faster(finished: Path, without_onnx: None) -> None:
    record = job("quantize")
    assert lcsweep("pick", RUN, "--min-accuracy", "0.1").code == 0
    path = FOLDER.artifact(record.id)
    shown = [
        lcsweep("pick", RUN, "--min-accuracy", "0.1"),
        lcsweep("status", RUN),
        lcsweep("export", RUN, "--job", record.id, "--out", "out.lcz"),
        lcsweep("verify", path, "--study", "tiny.py"),
    ]
    assert read_manifest(RUN).reference.macs == record.macs
    for said in shown:
        assert said.code == 0, said.err
        assert "NOT FASTER" in said.out, said.out


# What verify measures again


def test_verify_measures_the_test_accuracy_again_where_it_is_known(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lcsweep("pick", RUN, "--min-accuracy", "0.1").code == 0
    picked = json.loads(FOLDER.pick.read_text())
    path = FOLDER.artifact(picked["id"])
    said = lcsweep("verify", path, "--study", "tiny.py", "--json")
    assert said.json["test"] == {"accuracy": picked["test"]["accuracy"], "n": 90}
    assert said.json["parity"] == picked["parity"] <= 1e-5
    monkeypatch.setattr("sweep.pick.verify.has_onnx", lambda: False)  # what follows makes no ONNX file
    Path("elsewhere").mkdir()
    copy = Path("elsewhere", "model.lcz")
    copy.write_bytes(path.read_bytes())  # found in runs/tiny, where the user stands
    assert "test" in lcsweep("verify", copy, "--study", "tiny.py", "--json").json
    edit(FOLDER.test / f"{picked['artifact_sha256']}.json", accuracy=0.5)
    for file in (path, copy):
        said = lcsweep("verify", file, "--study", "tiny.py")
        assert (said.code, said.out) == (5, "")
        assert "its sweep says a test accuracy of 0.500000" in said.err


def test_outputs_that_differ_in_onnx_runtime_are_exit_code_5(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lc_core.onnx.build

    monkeypatch.setattr(lc_core.onnx.build, "TOLERANCE", -1.0)
    for line in ("verify {artifact} --study tiny.py", "pick runs/tiny --min-accuracy 0.1",
                 "export runs/tiny --job {job} --study tiny.py --out new.lcz"):  # fmt: skip
        own = job("both").id
        said = lcsweep(*line.format(artifact=FOLDER.artifact(own), job=own).split())
        assert (said.code, said.out) == (5, "")
        assert "ONNX: expected outputs within" in said.err
    assert not FOLDER.pick.exists()
    assert not FOLDER.test.exists()
    assert not Path("new.lcz").exists()


def test_a_model_that_torch_cannot_export_is_not_compared(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lc_core.onnx.build

    def refuse(*arguments: Any, **named: Any) -> None:
        raise ExportError("expected a model that\ntorch.onnx can export")

    monkeypatch.setattr(lc_core.onnx.build, "build", refuse)
    said = lcsweep("verify", FOLDER.artifact(job("both").id), "--study", "tiny.py")
    assert said.code == 0
    assert "not compared: expected a model that torch.onnx can export" in said.out
