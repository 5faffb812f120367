"""One LC job: what its record says is true, and nothing that goes wrong in it is lost."""

import dataclasses
import hashlib
import itertools
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lc_core.file import format_2
from lc_core.file.artifact import load, read
from lc_core.training.loop import DivergedError
from lc_core.training.nest import leaves
from sweep.intervals import wilson
from sweep.job import checkpoint, compress
from sweep.job.compress import Sizes, job_sizes, run_job
from sweep.job.context import open_context, split_arrays
from sweep.job.measure import evidence, measure
from sweep.prepare.prepared import PreparedSweep
from sweep.search.index import index_url, open_index
from sweep.store.fields import to_json
from sweep.store.job import Job, content_hash, versions
from sweep.store.record import Record
from sweep.store.records import read_records
from tests.sweep.tiny import STUDY, changed, prepared, write_study

FIELDS = {
    *(
        "format",
        "id",
        "status",
        "study_hash",
        "family",
        "configuration",
        "method",
        "seed",
        "schedule",
        "nominal_bytes",
        "plan",
    ),
    *("artifact_bytes", "artifact_sha256", "reference_bytes", "macs", "reference_macs", "val", "drop", "direct", "gap"),
    *("epochs", "seconds", "device", "versions", "finished", "error", "stopped"),
}


def begin(folder: Path, text: str = STUDY, **others: Any) -> PreparedSweep:
    folder.mkdir(exist_ok=True)
    return prepared(write_study(folder, text=text), folder / "out", **others)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> PreparedSweep:
    return begin(tmp_path_factory.mktemp("sweep"))


@pytest.fixture(scope="module")
def told(sweep: PreparedSweep) -> tuple[Job, Record, list[dict[str, Any]]]:
    """A job of both prunes and quantizes, its record, and what it reported on its way."""
    job = sweep.entries[-1].jobs[0]
    reports: list[dict[str, Any]] = []
    return job, run_job(job, sweep.context, report=reports.append), reports


def raising(*, in_: str = "training") -> str:
    """The study with a family whose jobs raise, or turn to NaN, in one place."""
    bodies = {
        "training": "raise RuntimeError('no such luck,\\nsaid in two lines')",
        "loss": "return outputs.sum() * float('nan')",
        "infinite loss": "return outputs.sum() * float('inf')",
    }
    marked = f"    if SPOILT.exists():\n        {bodies[in_]}\n    return nn.functional.cross"
    text = changed("    return nn.functional.cross", marked)
    return f"from pathlib import Path\n\nSPOILT = Path(__file__).with_name('spoilt')\n{text}"


# Jobs


def test_a_jobs_id_is_of_what_it_does_whatever_the_order_of_its_keys() -> None:
    data: dict[str, Any] = {
        "study_hash": "f" * 16,
        "family": "both",
        "configuration": {"keep": 0.3, "size": 4},
        "method": "lc",
        "seed": 0,
        "schedule": {"epochs": 2, "lr": 0.1},
    }
    job = Job.from_dict(data)
    turned = {"configuration": {"size": 4, "keep": 0.3}, "schedule": {"lr": 0.1, "epochs": 2}}
    assert Job.from_dict(dict(reversed(list((data | turned).items())))).id == job.id
    assert Job.from_dict(json.loads(json.dumps(job.as_dict()))) == job
    assert len(job.id) == 16
    assert int(job.id, 16) >= 0
    assert job.id == "24db68beb64c23e7"  # records on disk are found by it
    others: list[dict[str, Any]] = [
        {"study_hash": "e" * 16},
        {"family": "other"},
        {"configuration": {"keep": 0.3, "size": 5}},
        {"method": "dc"},
        {"seed": 1},
        {"schedule": {"epochs": 3, "lr": 0.1}},
    ]
    assert len({job.id, *(Job.from_dict(data | other).id for other in others)}) == 7
    assert job.label == "both: keep 0.3, size 4, seed 0"


def test_a_content_hash_does_not_depend_on_the_process() -> None:
    assert content_hash({"b": [1, 2.5, "x"], "a": None}) == content_hash({"a": None, "b": [1, 2.5, "x"]})
    assert content_hash({"a": 1}) == hashlib.sha256(b'{"a": 1}').hexdigest()[:16]


# Done


def test_a_record_has_every_field(sweep: PreparedSweep, told: Any) -> None:
    job, record, _ = told
    assert set(record.to_json()) == FIELDS
    assert record.status == "done"
    assert record.error is None
    assert record.job == job
    assert (record.id, record.device) == (job.id, "cpu")
    assert record.study_hash == sweep.manifest.study_hash
    assert record.reference_bytes == sweep.folder.reference.stat().st_size == sweep.manifest.reference.bytes
    assert record.macs == record.reference_macs == 8 * 64 + 64 * 3
    assert record.epochs * 6 == 20  # iterations: never fewer than a step each
    assert record.versions == versions()
    assert set(record.versions) >= {"python", "torch", "optuna", "ray"}
    assert record.seconds > 0
    assert record.to_json() == json.loads(sweep.folder.record(job.id).read_text())


def test_the_file_is_what_the_record_says(sweep: PreparedSweep, told: Any) -> None:
    job, record, _ = told
    data = sweep.folder.artifact(job.id).read_bytes()
    assert record.artifact_bytes == len(data)
    assert record.artifact_sha256 == hashlib.sha256(data).hexdigest()
    assert read(sweep.folder.artifact(job.id)).info == {}
    assert format_2.sizes(data).header < 110


def test_a_file_of_format_1_says_where_it_comes_from(sweep: PreparedSweep) -> None:
    job = sweep.entries[0].jobs[0]
    info = compress._info(job, dataclasses.replace(sweep.context, format=1), value=0.5)
    assert (info["job"], info["study_hash"], info["family"]) == (job.id, job.study_hash, job.family)
    assert info["val"] == {"accuracy": f"{0.5:.17f}", "n": 90}


def test_the_accuracy_is_the_files(sweep: PreparedSweep, told: Any) -> None:
    """Counted here by hand, in a model that only the file made."""
    job, record, _ = told
    torch.manual_seed(12345)
    model = sweep.context.study.build_model()
    load(sweep.folder.artifact(job.id), model)
    val = sweep.context.data.val
    with torch.no_grad():
        right = int((model(val.inputs).argmax(dim=1) == val.targets).sum())
    assert record.val.value == pytest.approx(right / 90)
    assert (record.val.low, record.val.high) == wilson(record.val.value, n=90)
    distinct = [len(tensor.unique()) for name, tensor in model.state_dict().items() if name.endswith("weight")]
    assert max(distinct) <= 1 + 4
    assert sum(int(tensor.count_nonzero()) for name, tensor in model.state_dict().items() if "weight" in name) <= 211


def test_the_sizes_known_before_training_are_those_after_it(sweep: PreparedSweep) -> None:
    for entry in sweep.entries:
        (job,) = entry.jobs
        record = run_job(job, sweep.context, report=lambda _: None)
        payload = read(sweep.folder.artifact(job.id)).payload_bytes
        assert entry.nominal_bytes == record.nominal_bytes == payload, job.label
        assert (entry.macs, entry.fixed) == (record.macs, True)
        assert job_sizes(job, sweep.context) == Sizes(payload, record.macs, True, True, record.plan)
    low_rank = next(entry for entry in sweep.entries if entry.family == "low rank")
    assert low_rank.macs == 2 * (8 + 64) + 64 * 3


def test_the_diagnostics_have_a_row_an_lc_step(sweep: PreparedSweep, told: Any) -> None:
    job, record, reports = told
    steps = json.loads(sweep.folder.diagnostics(job.id).read_text())["steps"]
    assert [step["step"] for step in steps] == list(range(21))
    assert all(set(step) == {"step", "mu", "loss", "gap", "val_error"} for step in steps)
    assert steps[0]["loss"] is None
    assert steps[0]["mu"] == 0
    assert all(later["mu"] > earlier["mu"] for earlier, later in itertools.pairwise(steps))
    assert steps[0]["val_error"] == pytest.approx(1 - record.direct.value)
    assert steps[-1]["val_error"] == pytest.approx(1 - record.val.value)
    assert steps[-1]["gap"] == record.gap < steps[0]["gap"]
    assert [report["step"] for report in reports] == list(range(21))
    assert {report["steps"] for report in reports} == {20}
    assert [(report["val_error"], report["gap"]) for report in reports] == [(s["val_error"], s["gap"]) for s in steps]


def test_the_same_job_twice_gives_the_same_bits(tmp_path: Path, sweep: PreparedSweep) -> None:
    """In another folder, and after the process's random numbers have gone on."""
    second = begin(tmp_path)
    for place in (0, 3, 6):
        first = run_job(sweep.entries[place].jobs[0], sweep.context, report=lambda _: None)
        torch.rand(17)
        again = run_job(second.entries[place].jobs[0], second.context, report=lambda _: None)
        own = ("seconds", "finished")
        assert replace(again, **dict.fromkeys(own)) == replace(first, **dict.fromkeys(own))
        diagnostics = (whole.folder.diagnostics(first.id).read_bytes() for whole in (sweep, second))
        assert len(set(diagnostics)) == 1


def test_another_seed_is_another_job_with_numbers_of_its_own(tmp_path: Path, sweep: PreparedSweep) -> None:
    job = sweep.entries[0].jobs[0]
    other = Job.from_dict(job.as_dict() | {"seed": 1})
    first, second = (run_job(one, sweep.context, report=lambda _: None) for one in (job, other))
    assert first.id != second.id
    assert first.gap != second.gap
    assert first.direct == second.direct
    assert first.nominal_bytes == second.nominal_bytes


def test_direct_compression_is_the_first_step_alone(sweep: PreparedSweep, told: Any) -> None:
    job, whole, _ = told
    record = run_job(Job.from_dict(job.as_dict() | {"method": "dc"}), sweep.context, report=lambda _: None)
    assert record.status == "done"
    assert record.epochs == 0
    assert record.val == record.direct == whole.direct
    assert record.nominal_bytes == whole.nominal_bytes
    assert len(json.loads(sweep.folder.diagnostics(record.id).read_text())["steps"]) == 1


def test_a_context_in_a_process_of_its_own_gives_the_same_numbers(sweep: PreparedSweep, told: Any) -> None:
    """From read-only arrays, as they come out of the object store; one torch thread."""
    job, record, _ = told
    arrays = split_arrays(sweep.context.data)
    for array in leaves(arrays):
        array.flags.writeable = False
    context = open_context(
        sweep.options.study, user_folder=sweep.options.user_folder, splits=arrays, folder=sweep.folder
    )
    assert torch.get_num_threads() == 1
    sweep.folder.record(job.id).unlink()  # or the record that stands would be the answer
    again = run_job(job, context, report=lambda _: None)
    assert again.artifact_sha256 == record.artifact_sha256
    assert again.val == record.val


def test_a_record_that_is_done_stays(sweep: PreparedSweep) -> None:
    job = sweep.entries[1].jobs[0]
    first = run_job(job, sweep.context, report=lambda _: None)
    assert run_job(job, sweep.context, report=lambda _: None) == first
    late = compress.publish_failure(compress.failure(job, message="late", traceback=""), sweep.folder)
    assert late == first
    assert sweep.folder.artifact(job.id).exists()


# Failed


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("training", "RuntimeError: no such luck, said in two lines"),
        ("loss", "DivergedError: the training loss became nan at learning rate"),
        ("infinite loss", "DivergedError: the training loss became inf at learning rate"),
    ],
)
def test_a_job_that_goes_wrong_is_a_failed_record_until_it_goes_right(tmp_path: Path, where: str, message: str) -> None:
    sweep = begin(tmp_path, raising(in_=where))
    job = sweep.entries[0].jobs[0]
    (tmp_path / "spoilt").touch()
    record = run_job(job, sweep.context, report=lambda _: None)
    assert record.status == "failed"
    assert set(record.to_json()) == FIELDS
    assert record.error.message.startswith(message)
    assert "\n" not in record.error.message
    assert record.error.traceback.startswith("Traceback (most recent call last):\n")
    assert "sweep/job/compress.py" in record.error.traceback
    unknown = ("artifact_bytes", "artifact_sha256", "val", "drop", "direct", "gap", "epochs", "macs", "stopped")
    assert {getattr(record, name) for name in unknown} == {None}
    assert record.seconds > 0
    assert read_records(sweep.folder.root) == [record]
    assert sorted(path.name for path in sweep.folder.artifacts.rglob("*")) == sorted([job.id, "record.json"])
    (tmp_path / "spoilt").unlink()
    right = run_job(job, sweep.context, report=lambda _: None)
    assert right.status == "done"
    assert read_records(sweep.folder.root) == [right]


def test_outputs_that_are_nan_are_a_failed_record(tmp_path: Path) -> None:
    """The training loss is finite: the compressed model is what is measured."""
    module = (
        "class Spoilt(nn.Tanh):\n    def forward(self, inputs):\n"
        "        return super().forward(inputs) / (1.0 if self.training or not SPOILT.exists() else 0.0)\n\n\n"
        "def build_model():"
    )
    text = changed("def build_model():", module, text=raising()).replace("nn.Tanh(), nn", "Spoilt(), nn")
    text = text.replace("if SPOILT.exists():\n        raise", "if False:\n        raise")
    sweep = begin(tmp_path, text)
    (tmp_path / "spoilt").touch()
    record = run_job(sweep.entries[0].jobs[0], sweep.context, report=lambda _: None)
    assert record.status == "failed"
    assert record.error.message == "DivergedError: the model's outputs hold NaN or infinity"


def test_a_file_that_is_not_its_model_is_a_failed_record(sweep: PreparedSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is read back: a fault in between shows."""
    write = compress.write_whole

    def spoil(path: Path, data: bytes) -> None:
        write(path, data[:-4])

    monkeypatch.setattr(compress, "write_whole", spoil)
    job = Job.from_dict(sweep.entries[0].jobs[0].as_dict() | {"seed": 7})
    record = run_job(job, sweep.context, report=lambda _: None)
    assert record.status == "failed"
    assert record.error.message.startswith("ArtifactError: ")
    assert "model.lcz" in record.error.message


@pytest.mark.parametrize(("seed", "changed_by"), [(9, 0.0), (10, 1e-9), (11, 10.0)])
def test_a_file_with_other_weights_is_measured_and_must_score_the_same(
    sweep: PreparedSweep, monkeypatch: pytest.MonkeyPatch, seed: int, changed_by: float
) -> None:
    measured = []

    def fill(path: Path, model: Any) -> Any:
        artifact = load(path, model)
        model[0].weight.data += changed_by * torch.eye(64, 8)
        return artifact

    def watched(*given: Any, **named: Any) -> Any:
        measured.append(measure(*given, **named))
        return measured[-1]

    monkeypatch.setattr(compress, "load", fill)
    monkeypatch.setattr(compress, "measure", watched)
    job = Job.from_dict(sweep.entries[0].jobs[0].as_dict() | {"seed": seed})
    record = run_job(job, sweep.context, report=lambda _: None)
    assert len(measured) == (changed_by > 0)
    if changed_by > 1:
        assert record.error.message.startswith("ArtifactError: the packed file measures ")
    else:
        assert record.status == "done"


def test_an_interrupt_leaves_no_record(sweep: PreparedSweep) -> None:
    job = Job.from_dict(sweep.entries[0].jobs[0].as_dict() | {"seed": 8})

    def interrupt(report: dict[str, Any]) -> None:
        if report["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, sweep.context, report=interrupt)
    assert not sweep.folder.record(job.id).exists()
    assert job.id not in [record.id for record in read_records(sweep.folder.root)]
    assert run_job(job, sweep.context, report=lambda _: None).status == "done"


@pytest.mark.parametrize("fault", ["fsync", "mkdir"])
def test_a_store_that_cannot_be_written_is_not_a_failed_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    sweep = begin(tmp_path)

    def fail(*arguments: Any, **named: Any) -> None:
        raise OSError(28, "No space left on device")

    target: Any = os if fault == "fsync" else Path
    monkeypatch.setattr(target, fault, fail)
    with pytest.raises(OSError, match="No space left"):
        run_job(sweep.entries[0].jobs[0], sweep.context, report=lambda _: None)
    monkeypatch.undo()
    assert read_records(sweep.folder.root) == []
    assert not list(sweep.folder.artifacts.glob("*"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(5, "Input/output error"),
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000000 bytes"),
    ],
    ids=["a read", "Python", "CUDA", "torch"],
)
def test_a_passing_error_leaves_no_record_and_the_next_start_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    sweep = begin(tmp_path)
    job, steps = sweep.entries[0].jobs[0], list[int]()

    def stumble(report: dict[str, Any]) -> None:
        if report["step"] == 12:
            raise error

    with pytest.raises(type(error)):
        run_job(job, sweep.context, report=stumble)
    assert read_records(sweep.folder.root) == []
    assert not list(sweep.folder.artifacts.iterdir())
    assert run_job(job, sweep.context, report=lambda report: steps.append(report["step"])).status == "done"
    assert steps == list(range(12, 21))


def test_torch_says_that_there_is_no_memory_in_the_words_that_are_looked_for() -> None:
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_a_measurement_says_what_it_is_of(sweep: PreparedSweep) -> None:
    model = sweep.context.study.build_model()
    model.load_state_dict(sweep.context.reference)
    measured = measure(model, sweep.context.data.val, study=sweep.context.study)
    assert measured == sweep.manifest.reference.val
    assert set(to_json(measured)) == {"accuracy", "n", "low", "high"}
    each = evidence(model, sweep.context.data.val, study=sweep.context.study)["accuracy"].rows
    assert float(each.mean()) == measured.value
    assert each.dtype == torch.float64
    with torch.no_grad():
        next(model.parameters()).fill_(math.nan)
    with pytest.raises(DivergedError, match="NaN"):
        measure(model, sweep.context.data.val, study=sweep.context.study)


METRICS = {
    "one number": ("return (outputs.argmax(1) == targets).float().mean()", r"expected a score for each of 20 examples"),
    "percent": (
        "return 100 * (outputs.argmax(1) == targets).float()",
        r"expected scores in \[0, 1\], got 0 to 100",
    ),
    "NaN": ("return outputs[:, 0] * float('nan')", r"expected scores in \[0, 1\], got nan to nan"),
}


@pytest.mark.parametrize("what", METRICS)
def test_a_metric_that_is_none_is_named(tmp_path: Path, what: str) -> None:
    body, message = METRICS[what]
    text = changed("study = Study(\n", f"def wrong(outputs, targets):\n    {body}\n\n\nstudy = Study(\n")
    text = changed('    name="tiny",\n', '    name="tiny",\n    metrics={"accuracy": wrong},\n', text=text)
    with pytest.raises(ValueError, match=message):
        begin(tmp_path, text)


def test_a_second_metric_that_turns_nan_is_a_failed_record(tmp_path: Path) -> None:
    """It is fine on the reference, and NaN on what a job makes of it."""
    metric = "def odd(outputs, targets):\n    assert not SPOILT.exists()\n    return outputs[:, 0] * 0"
    text = changed("study = Study(\n", f"{metric}\n\n\nstudy = Study(\n", text=raising())
    text = changed(
        '    name="tiny",\n', '    name="tiny",\n    metrics={"accuracy": accuracy, "odd": odd},\n', text=text
    )
    text = changed(
        "import Data, Family, Split, Study, Target", "import Data, Family, Split, Study, Target, accuracy", text=text
    )
    sweep = begin(
        tmp_path,
        changed(
            "    assert not SPOILT.exists()\n    return outputs[:, 0] * 0",
            "    return outputs[:, 0] * (float('nan') if SPOILT.exists() else 0)",
            text=text,
        ),
    )
    (tmp_path / "spoilt").touch()
    told = run_job(dataclasses.replace(sweep.entries[0].jobs[0], method="dc"), sweep.context, report=lambda _: None)
    assert told.status == "failed"
    assert "metric 'odd': expected scores in [0, 1], got nan" in told.error.message
    assert not list(sweep.folder.artifacts.glob(".*"))


# Splits and levels that make no sense


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[120, 90, 90]",
            "[210, 0, 90]",
            "split val: .* and at least one, got 0 inputs and 0 targets",
        ),
        ("targets[part].clone()", "targets[part][1:].clone()", "split train: .* got 120 inputs and 119 targets"),
        (
            '{"keep": (0.8, 0.5,',
            '{"keep": (0.5, 0.8,',
            "family prune: expected the levels of keep from loosest to tightest",
        ),
        (
            '{"size": (16, 8, 4, 3, 2)}',
            '{"size": (16, 8, 4, 2, 2)}',
            "family quantize: expected distinct numbers or strings",
        ),
        ('{"rank": (6, 4, 2, 1)}', '{"rank": ()}', "family low rank: expected distinct numbers or strings"),
        (
            "    return nn.Sequential(",
            "    return nn.Sequential(nn.Linear(8, 8, dtype=torch.complex64), ",
            "expected real numbers, got torch.complex64",
        ),
    ],
)
def test_a_study_that_makes_no_sense_is_refused_before_anything_is_trained(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        begin(tmp_path, changed(old, new), search="smallest")


def test_a_folder_of_any_name_holds_its_own_index(tmp_path: Path) -> None:
    path = tmp_path / "a?b #1" / "study.db"
    path.parent.mkdir()
    open_index(index_url(path), study="s", search="grid", target={}, space="a0")
    assert path.is_file()
    assert [found.name for found in tmp_path.iterdir()] == ["a?b #1"]
