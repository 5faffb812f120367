"""A job trains as its study says: with Adam, by the reference's outputs, with batch-norm statistics of Delta(Theta)."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lc_core import Distillation
from lc_core.file.artifact import load, read
from lc_core.training.loop import predict
from sweep.job.compress import run_job
from sweep.job.context import JobContext
from sweep.job.tidying import tidied_file
from sweep.pick.verify import verify_record
from sweep.prepare.prepared import PreparedSweep
from sweep.store.record import Record
from sweep.study import Data, Split
from sweep.study.fingerprint import study_parts
from tests.sweep.tiny import STUDY, changed, prepared, write_study

IMPORTED = changed("import Chain", "import Chain, Distillation")
ADAM = changed("Schedule(epochs=2, lr=0.1", 'Schedule(optimizer="adam", clip_norm=1.0, epochs=2, lr=0.01')


def distilled(how: str) -> str:
    return changed("    target=Target", f"    distillation=Distillation({how}),\n    target=Target", text=IMPORTED)


def begin(folder: Path, text: str) -> PreparedSweep:
    folder.mkdir(exist_ok=True)
    return prepared(write_study(folder, text=text), folder / "out")


def run(sweep: PreparedSweep, *, context: JobContext | None = None, entry: int = 0) -> Record:
    return run_job(sweep.entries[entry].jobs[0], context or sweep.context, report=lambda _: None)


def relabelled(context: JobContext) -> JobContext:
    """`context` with the labels to train by moved around."""
    data = context.data
    train = Split(data.train.inputs, data.train.targets.roll(1))
    return dataclasses.replace(context, data=Data(train, data.val, data.test))


def test_a_job_trains_with_the_optimizer_of_its_schedule(tmp_path: Path) -> None:
    adam, sgd = begin(tmp_path / "adam", ADAM), begin(tmp_path / "sgd", STUDY)
    job = adam.entries[0].jobs[0]
    assert (job.schedule["optimizer"], job.schedule["clip_norm"], job.schedule["lr_decay"]) == ("adam", 1.0, "linear")
    assert job.study_hash == sgd.entries[0].jobs[0].study_hash  # the reference is the same
    assert job.id != sgd.entries[0].jobs[0].id
    record = run(adam)
    assert (record.status, record.error) == ("done", None)
    assert record.schedule == json.loads(json.dumps(job.schedule))
    assert record.gap != run(sgd).gap


@pytest.mark.parametrize("labels, same", [(0.0, True), (0.5, False)])
def test_a_job_without_labels_is_the_same_whatever_the_labels(tmp_path: Path, labels: float, same: bool) -> None:
    sweep = begin(tmp_path / "distilled", distilled(f"temperature=4, labels={labels}"))
    record = run(sweep)
    other = prepared(tmp_path / "distilled" / "tiny.py", tmp_path / "distilled" / "again")
    moved = run(other, context=relabelled(other.context))
    assert record.status == moved.status == "done"
    assert (moved.gap == record.gap) is same
    assert (moved.artifact_sha256 == record.artifact_sha256) is same


@pytest.mark.parametrize("how", ["temperature=4", "temperature=4, labels=0.5"])
def test_a_job_by_the_references_outputs_differs_from_one_by_the_labels(tmp_path: Path, how: str) -> None:
    by_labels, by_outputs = run(begin(tmp_path / "a", STUDY)), run(begin(tmp_path / "b", distilled(how)))
    assert by_outputs.status == by_labels.status == "done"
    assert by_outputs.direct == by_labels.direct
    assert by_outputs.gap != by_labels.gap


def test_outputs_that_are_no_class_logits_fail_the_job_in_a_line(tmp_path: Path) -> None:
    sweep = begin(tmp_path / "flat", distilled("temperature=4"))
    model = sweep.context.study.build_model

    def folded() -> nn.Module:
        return nn.Sequential(*model(), nn.Unflatten(1, (3, 1)))

    study = dataclasses.replace(sweep.context.study, build_model=folded)
    record = run(sweep, context=dataclasses.replace(sweep.context, study=study))
    assert record.status == "failed"
    assert (
        "ValueError: distillation: expected outputs of shape (n, classes), two or more, got (120, 3, 1)"
        in record.error.message
    )


class Dimmed:
    """Inputs of which every example is seen at half its size."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs, self.shape = inputs, inputs.shape

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        return self.inputs.index_select(dim, index) / 2


class AsTheyAre(Dimmed):
    """Inputs as they are, shown by a class."""

    def index_select(self, dim: int, index: Tensor, /) -> Tensor:
        return self.inputs.index_select(dim, index)


@pytest.mark.parametrize("augment, same", [(Dimmed, False), (AsTheyAre, True)])
def test_a_job_trains_on_what_the_study_shows_it_and_is_measured_on_what_there_is(
    tmp_path: Path, augment: type[Dimmed], same: bool
) -> None:
    sweep = begin(tmp_path / "tiny", STUDY)
    plain = run(sweep)
    shown = dataclasses.replace(sweep.context.study, augment=augment)
    other = prepared(tmp_path / "tiny" / "tiny.py", tmp_path / "tiny" / "again")
    record = run(other, context=dataclasses.replace(other.context, study=shown))
    assert record.status == plain.status == "done"
    assert record.direct == plain.direct
    assert (record.gap == plain.gap) is same


def test_augmentation_is_part_of_the_studys_hash(tmp_path: Path) -> None:
    study = begin(tmp_path / "plain", STUDY).context.study
    data = study.load_data()
    ways = (None, Dimmed, AsTheyAre)
    hashes = [study_parts(dataclasses.replace(study, augment=way), data) for way in ways]
    assert len({parts["loss"] for parts in hashes}) == 3
    assert hashes[0]["reference"] != hashes[1]["reference"] == hashes[2]["reference"]
    plain = study_parts(dataclasses.replace(study, augment=Dimmed, augment_reference=False), data)
    assert plain["reference"] == hashes[0]["reference"]


def test_distillation_is_part_of_the_studys_hash(tmp_path: Path) -> None:
    study = begin(tmp_path / "plain", STUDY).context.study
    data = study.load_data()
    plain = study_parts(study, data)
    ways = [
        Distillation(temperature=4),
        Distillation(temperature=2),
        Distillation(temperature=4, labels=0.5),
        Distillation(temperature=4, hints={"0": 1.0}),
        Distillation(temperature=4, attention={"0": 1.0}),
    ]
    hashes = [study_parts(dataclasses.replace(study, distillation=way), data) for way in ways]
    assert len({parts["loss"] for parts in (plain, *hashes)}) == 6
    for parts in hashes:
        assert {name for name in plain if plain[name] != parts[name]} == {"loss"}


def test_a_job_trains_under_autocast_where_the_study_asks(tmp_path: Path) -> None:
    """The compressed model before any training has the same score: models are measured in float32."""
    sweep = begin(tmp_path / "tiny", STUDY)
    plain = run(sweep)
    other = prepared(tmp_path / "tiny" / "tiny.py", tmp_path / "tiny" / "again")
    study = dataclasses.replace(other.context.study, autocast="bfloat16")
    record = run(other, context=dataclasses.replace(other.context, study=study))
    assert record.status == plain.status == "done"
    assert record.direct == plain.direct
    assert record.gap != plain.gap
    data = study.load_data()
    assert study_parts(study, data)["loss"] != study_parts(sweep.context.study, data)["loss"]
    with pytest.raises(ValueError, match="autocast: expected 'bfloat16' or None, got 'float16'"):
        dataclasses.replace(study, autocast="float16")


@pytest.mark.parametrize("family", ["prune", "both"])
def test_a_job_tidies_its_file_where_the_study_asks(tmp_path: Path, family: str) -> None:
    """Tidied, the file of "both" has more arrays: uncoded, it would be larger."""
    sweep = begin(tmp_path / "tiny", STUDY)
    entry = next(number for number, each in enumerate(sweep.entries) if each.family == family)
    plain = run(sweep, entry=entry)
    other = prepared(tmp_path / "tiny" / "tiny.py", tmp_path / "tiny" / "again")
    study = dataclasses.replace(other.context.study, tidy=True)
    record = run(other, context=dataclasses.replace(other.context, study=study), entry=entry)
    assert record.status == plain.status == "done", record
    assert (record.val, record.gap, record.macs) == (plain.val, plain.gap, plain.macs)
    path = other.folder.artifact(record.id)
    assert path.stat().st_size == record.artifact_bytes < plain.artifact_bytes
    packed = sweep.folder.artifact(plain.id).read_bytes()
    data = study.load_data()
    assert path.read_bytes() == tidied_file(packed, study.new_model(), study=study, data=data)
    verify_record(record, other.folder, study, data)
    weights = read(path).weights()
    layers = json.loads(other.folder.diagnostics(record.id).read_text())["layers"]
    assert {each["name"]: each["kept"] for each in layers} == {
        each["name"]: int(weights[each["name"]].count_nonzero()) for each in layers
    }
    parts, others = (study_parts(each, data) for each in (study, sweep.context.study))
    assert {name for name in parts if parts[name] != others[name]} == {"loss"}


NORMED = changed(
    "return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))",
    "return nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.Tanh(), nn.Linear(64, 3))",
)


def test_the_packed_model_has_the_batch_norm_statistics_of_the_compressed_network(tmp_path: Path) -> None:
    """By hand, from the first layer of the file alone: mean and variance of what it makes of the training inputs."""
    sweep = begin(tmp_path / "normed", NORMED)
    context = sweep.context
    names = [entry.family for entry in sweep.entries]
    entry = names.index("quantize")
    record = run(sweep, entry=entry)
    assert record.status == "done"
    model = context.study.build_model()
    load(sweep.folder.artifact(record.id), model)
    first, norm = model[0], model[1]
    assert len(first.weight.unique()) <= 4
    batches = context.data.train.inputs.split(20)  # the schedule's batch size
    with torch.no_grad():
        seen = [first(batch) for batch in batches]
    mean = torch.stack([part.mean(dim=0) for part in seen]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, mean)
    torch.testing.assert_close(norm.running_var, torch.stack([part.var(dim=0) for part in seen]).mean(dim=0))
    reference = context.reference["1.running_mean"]
    assert float((norm.running_mean - reference).abs().max()) > 1e-3
    val = context.data.val
    right = (predict(model, val.inputs).argmax(dim=1) == val.targets).double().mean()
    assert record.val.value == pytest.approx(float(right))
    steps = json.loads((sweep.folder.artifact(record.id).parent / "diagnostics.json").read_text())["steps"]
    assert 1 - steps[-1]["val_error"] == pytest.approx(record.val.value)
    assert 1 - steps[0]["val_error"] == pytest.approx(record.direct.value)
