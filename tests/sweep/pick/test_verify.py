"""Packed files verified or refused, and the one measurement on the test split."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lc_core.compressions.pruning import L0Pruning
from lc_core.file.artifact import ArtifactError, encode, load, read
from lc_core.task import CompressionTask
from sweep.cli.file_text import packed_file
from sweep.intervals import paired_drop
from sweep.pick.origin import recorded
from sweep.pick.picked import Picked, read_picked
from sweep.pick.picking import pick_model
from sweep.pick.verify import verify
from sweep.store.files import StoreError
from sweep.store.folder import SweepFolder
from sweep.store.record import Done, Record
from sweep.store.records import read_records
from sweep.study.errors import StudyError
from sweep.study.loading import load_study
from sweep.target import Target
from tests.sweep.tiny import STUDY, changed, edit, tree, write_study

pytestmark = pytest.mark.usefixtures("without_onnx")

DROP = Target(max_drop=0.05)
ALL = Target(min_accuracy=0.0)


@pytest.fixture
def folder(finished: Path) -> SweepFolder:
    return SweepFolder(finished / "runs" / "tiny")


def record_of(folder: SweepFolder, family: str, place: int = 0) -> Record:
    return [record for record in read_records(folder.root) if record.family == family][place]


def pick(
    folder: SweepFolder,
    target: Target | None,
    by: Any = "bytes",
    *,
    confident: bool = False,
    test: bool | None = None,
) -> Picked:
    return pick_model(folder.root, target=target, by=by, user_folder=str(Path.cwd()), confident=confident, test=test)


# Verification


def test_a_whole_file_is_described(folder: SweepFolder) -> None:
    record = record_of(folder, "both")
    path = folder.artifact(record.id)
    facts = verify(path, study_reference=None, user_folder=str(Path.cwd()))
    assert facts["bytes"] == record.artifact_bytes == path.stat().st_size
    assert facts["sha256"] == record.artifact_sha256
    assert facts["payload_bytes"] == record.nominal_bytes
    assert facts["parameters"] == 771
    assert facts["info"]["configuration"] == {"keep": 0.3, "size": 4}
    assert "outputs" not in facts
    verified = verify(path, study_reference="tiny.py", user_folder=str(Path.cwd()))
    known = {name: getattr(record, name) for name in ("macs", "reference_macs", "reference_bytes")}
    assert facts.items() >= known.items()
    assert verified == facts | {"outputs": "as claimed", "latency": None, "faster": False}
    moved = shutil.copy(path, "elsewhere.lcz")  # its study's sweep is in the user's folder
    assert verify(Path(moved), study_reference=None, user_folder=str(Path.cwd())) == facts | {"file": moved}
    alone = verify(Path(moved), study_reference=None, user_folder=str(folder.root))
    assert "reference_bytes" not in alone


def test_a_file_that_was_cut_or_goes_on_is_refused(folder: SweepFolder, tmp_path: Path) -> None:
    data = folder.artifact(record_of(folder, "both").id).read_bytes()
    path = tmp_path / "spoilt.lcz"
    cut = [data[:length] for length in (*range(0, len(data), 50), len(data) - 4, len(data) - 1)]
    for spoilt in [*cut, data + b"x", data + data, b"a text", b"PK\x03\x04"]:
        path.write_bytes(spoilt)
        with pytest.raises(ArtifactError, match=r"spoilt.lcz: expected a whole packed model") as caught:
            verify(path, study_reference=None, user_folder=str(tmp_path))
        assert "\n" not in str(caught.value)


def test_a_file_with_a_flipped_bit_is_refused_or_holds_the_same(folder: SweepFolder, tmp_path: Path) -> None:
    """zstd's frames have a few bits that mean nothing; no other flip passes."""
    whole = folder.artifact(record_of(folder, "both").id)
    data, held = whole.read_bytes(), read(whole)
    path = tmp_path / "spoilt.lcz"
    passed = 0
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1 << place % 8
        path.write_bytes(spoilt)
        try:
            found = read(path)
        except ArtifactError:
            continue
        passed += 1
        assert found.info == held.info
        assert all(torch.equal(found.weights()[name], tensor) for name, tensor in held.weights().items())
    assert passed <= 0.02 * len(data)


def test_a_file_of_another_study_is_refused(folder: SweepFolder, tmp_path: Path) -> None:
    write_study(tmp_path, name="other.py", text=changed("manual_seed(0)", "manual_seed(1)"))
    path = folder.artifact(record_of(folder, "both").id)
    with pytest.raises(StudyError, match=r"study 'other.py': not the one that .*model.lcz was made from") as caught:
        verify(path, study_reference="other.py", user_folder=str(tmp_path))
    assert "expected the same model, data, loss and reference" in str(caught.value)


def claiming(folder: SweepFolder, path: Path, **claims: Any) -> Path:
    """A whole file in `path` that holds a job's weights and claims something else of them."""
    record = record_of(folder, "both")
    assert isinstance(record, Done)
    artifact = read(folder.artifact(record.id))
    path.write_bytes(encode((), (), artifact.weights(), info=recorded(folder, record) | claims))
    return path


@pytest.mark.parametrize(
    ("val", "message"),
    [
        ({"accuracy": f"{1.0:.17f}", "n": 90}, "claims validation accuracy 1.000000 on 90 examples, measures 0."),
        ({"accuracy": f"{0.5:.17f}", "n": 90}, "claims validation accuracy 0.500000 on 90 examples, measures 0."),
    ],
)
def test_a_claim_that_does_not_hold_is_refused(
    folder: SweepFolder, tmp_path: Path, val: dict[str, Any], message: str
) -> None:
    path = claiming(folder, tmp_path / "model.lcz", val=val)
    with pytest.raises(ArtifactError, match=message):
        verify(path, study_reference="tiny.py", user_folder=str(tmp_path))


def test_an_accuracy_on_other_examples_is_refused(folder: SweepFolder, tmp_path: Path) -> None:
    accuracy = record_of(folder, "both").val.value
    path = claiming(folder, tmp_path / "model.lcz", val={"accuracy": f"{accuracy:.17f}", "n": 91})
    with pytest.raises(ArtifactError, match=r"on 91 examples, measures 0\.\d+ on 90"):
        verify(path, study_reference="tiny.py", user_folder=str(tmp_path))
    claiming(folder, path, val={"accuracy": f"{accuracy:.17f}", "n": 90})
    assert verify(path, study_reference="tiny.py", user_folder=str(tmp_path))["outputs"] == "as claimed"


def test_a_file_that_claims_nothing_cannot_be_verified(folder: SweepFolder) -> None:
    facts = verify(folder.reference, study_reference=None, user_folder=str(Path.cwd()))
    assert facts["parameters"] == 771
    with pytest.raises(ArtifactError, match=r"reference.lcz: claims no validation accuracy"):
        verify(folder.reference, study_reference="tiny.py", user_folder=str(Path.cwd()))


def test_a_file_of_which_nothing_is_known_is_measured(folder: SweepFolder, tmp_path: Path) -> None:
    """Its sweep is elsewhere, and it says nothing of itself."""
    record = record_of(folder, "both")
    assert isinstance(record, Done)
    away = tmp_path / "away"
    away.mkdir()
    shutil.copy("tiny.py", away)
    moved = Path(shutil.copy(folder.artifact(record.id), away / "moved.lcz"))
    assert verify(moved, study_reference=None, user_folder=str(away))["info"] == {}
    facts = verify(moved, study_reference="tiny.py", user_folder=str(away))
    assert facts["outputs"] == "not claimed"
    assert facts["val"] == {"accuracy": f"{record.val.value:.17f}", "n": 90}
    assert "on 90 examples, measured now; no record of this file was found" in packed_file(facts)


def test_weights_that_do_not_fit_the_model_are_refused(folder: SweepFolder, tmp_path: Path) -> None:
    artifact = read(folder.artifact(record_of(folder, "both").id))
    weights = artifact.weights()
    weights.pop("2.bias")
    path = tmp_path / "model.lcz"
    path.write_bytes(encode((), (), weights, info=artifact.info))
    with pytest.raises(ArtifactError, match=r"does not fit the model Sequential: .*2\.bias"):
        verify(path, study_reference="tiny.py", user_folder=str(tmp_path))


# The pick


def test_a_pick_is_the_smallest_file_that_meets_the_target(folder: SweepFolder) -> None:
    picked = pick(folder, DROP)
    records = read_records(folder.root)
    reference = json.loads(folder.manifest.read_text())["reference"]
    meeting = [r for r in records if r.val.value >= reference["val"]["accuracy"] - 0.05]
    smallest = min(meeting, key=lambda record: record.artifact_bytes)
    assert 0 < len(meeting) < len(records)
    assert picked.id == smallest.id
    assert picked.meets_target
    assert picked.margin >= 0
    assert picked.artifact_bytes == folder.artifact(picked.id).stat().st_size
    assert picked.compression_ratio == reference["bytes"] / picked.artifact_bytes
    assert (picked.target, picked.by, picked.seeds) == (Target(max_drop=0.05), "bytes", (0,))
    within = {"artifact": f"artifacts/{picked.id}/model.lcz"}  # from the sweep's folder, which may move
    assert json.loads(folder.pick.read_text()) == picked.to_json() | within
    assert picked.margin > 0
    again = read_picked(folder)
    assert again is not None
    assert again.margin == 0
    assert again.to_json() == picked.to_json()
    assert again.test == picked.test
    assert pick(folder, ALL, by="macs").family == "low rank"


def test_a_damaged_pick_is_one_line_that_names_the_field(folder: SweepFolder) -> None:
    assert read_picked(folder) is None
    data = pick(folder, DROP).to_json()
    for spoilt, name, got in (
        ({}, "id", "nothing"),
        ({k: v for k, v in data.items() if k != "seeds"}, "seeds", "nothing"),
        (data | {"test": {k: v for k, v in data["test"].items() if k != "looks"}}, "test.looks", "nothing"),
        (data | {"runner_up": {"family": "prune"}}, "runner_up.configuration", "nothing"),
        (data | {"seeds": 3}, "seeds", "3"),
        (data | {"shortfall": "much"}, "margin", "'much'"),
        (data | {"target": {"most": 1}}, "target", "{'most': 1}"),
        (data | {"test": [1]}, "test", "[1]"),
        (data | {"val": data["val"] | {"n": True}}, "val.n", "True"),
    ):
        folder.pick.write_text(json.dumps(spoilt))
        with pytest.raises(StoreError) as caught:
            read_picked(folder)
        said = str(caught.value)
        assert said.startswith(f"{folder.pick}: {name}: expected ")
        assert said.endswith(f", got {got}; run lcsweep pick again")
        assert "\n" not in said


def test_the_test_accuracy_is_the_files(folder: SweepFolder) -> None:
    picked = pick(folder, DROP)
    study = load_study("tiny.py", user_folder=str(Path.cwd()))
    test = study.load_data().test
    right = []
    for path in (folder.reference, folder.artifact(picked.id)):
        model = study.build_model()
        load(path, model)
        with torch.no_grad():
            right.append(model(test.inputs).argmax(dim=1) == test.targets)
    measured = picked.test
    assert (measured.n, measured.id) == (90, picked.id)
    assert measured.value == pytest.approx(float(right[1].float().mean()))
    assert measured.reference_value == pytest.approx(float(right[0].float().mean()))
    assert measured.drop == pytest.approx(measured.reference_value - measured.value)
    assert measured.drop_low < measured.drop < measured.drop_high
    assert measured.low < measured.value < measured.high


def test_a_file_is_looked_at_on_the_test_split_once(folder: SweepFolder) -> None:
    first = pick(folder, DROP)
    assert first.test.looks == 2  # the reference and the pick
    before = tree(folder.test)
    assert pick(folder, DROP) == first
    assert tree(folder.test) == before
    other = pick(folder, ALL)
    assert other.id != first.id
    assert (other.test, other.no_test) == (
        None,
        "not looked at: it was looked at for another target before; --test looks again",
    )
    assert pick(folder, ALL, test=True).test.looks == 3
    assert pick(folder, ALL).test.looks == 3  # it is known by now
    assert before.items() <= tree(folder.test).items()


def test_a_look_that_is_kept_is_what_is_told(folder: SweepFolder) -> None:
    """The split is not measured again: the file's own record of it is."""
    first = pick(folder, DROP)
    kept = next(path for path in folder.test.iterdir() if first.artifact_sha256 in path.name)
    edit(kept, accuracy=0.125)
    assert pick(folder, DROP).test.value == 0.125


def test_without_one_that_meets_the_target_the_nearest_miss_is_picked(folder: SweepFolder) -> None:
    picked = pick(folder, Target(min_accuracy=1.0))
    best = max(record.val.value for record in read_records(folder.root))
    assert not picked.meets_target
    assert picked.val.value == best
    assert picked.margin == pytest.approx(best - 1.0)
    assert (picked.state, picked.test, picked.no_test) == ("missed", None, "not looked at, since the target is missed")
    assert not folder.test.exists()
    again = read_picked(folder)
    assert again is not None
    assert (again.state, again.test, again.mean) == ("missed", None, picked.val.value)


def assert_refused(folder: SweepFolder, error: type[Exception], words: str, target: Target = DROP) -> None:
    """A pick fails and changes nothing: no look at the test split, no pick.json."""
    before = tree(folder.root)
    with pytest.raises(error, match=words):
        pick(folder, target)
    assert tree(folder.root) == before


def test_a_pick_says_what_the_next_smaller_misses_by_and_what_comes_next(folder: SweepFolder) -> None:
    picked = pick(folder, DROP)
    records = sorted(read_records(folder.root), key=lambda record: record.artifact_bytes)
    place = [record.id for record in records].index(picked.id)
    threshold = json.loads(folder.manifest.read_text())["reference"]["val"]["accuracy"] - 0.05
    smaller = records[place - 1]
    assert place > 0
    assert picked.next_smaller.id == smaller.id
    assert picked.next_smaller.margin == pytest.approx(smaller.val.value - threshold)
    meeting = [record.id for record in records if record.val.value >= threshold]
    assert (picked.id, picked.runner_up.id) == tuple(meeting[:2])


def test_a_confident_pick_holds_the_bound_of_the_drop_on_the_same_examples(folder: SweepFolder) -> None:
    records = {record.id: record for record in read_records(folder.root)}
    bounds = sorted(record.drop.high for record in records.values())
    allowed = bounds[len(bounds) // 2]
    picked = pick(folder, Target(max_drop=allowed), confident=True)
    sure = [record for record in records.values() if record.drop.high <= allowed]
    assert picked.meets_target
    assert picked.id == min(sure, key=lambda record: record.artifact_bytes).id
    assert not pick(folder, Target(max_drop=bounds[0] / 2), confident=True).meets_target


def test_a_drop_in_a_record_is_that_of_the_file_on_validation(folder: SweepFolder) -> None:
    record = record_of(folder, "both")
    study = load_study("tiny.py", user_folder=str(Path.cwd()))
    data = study.load_data().val
    right = []
    for path in (folder.reference, folder.artifact(record.id)):
        model = study.build_model()
        load(path, model)
        with torch.no_grad():
            right.append((model.eval()(data.inputs).argmax(dim=1) == data.targets).double())
    assert record.drop.drop == pytest.approx(float((right[0] - right[1]).mean()))
    lost, won = (int(((right[0] - right[1]) == sign).sum()) for sign in (1, -1))
    assert (record.drop.low, record.drop.high) == paired_drop(lost, won, n=len(data.targets))


def test_records_of_an_earlier_version_have_no_bound_of_the_drop(folder: SweepFolder) -> None:
    for record in read_records(folder.root):
        path = folder.record(record.id)
        path.write_text(json.dumps({name: value for name, value in record.to_json().items() if name != "drop"}))
    with pytest.raises(StoreError, match="expected records with the drop on the same examples"):
        pick(folder, DROP, confident=True)
    assert pick(folder, Target(min_accuracy=0.5), confident=True).meets_target


def test_without_a_target_the_knee_is_picked(folder: SweepFolder) -> None:
    picked = pick(folder, None)
    assert (picked.target, picked.meets_target) == (None, True)
    assert picked.id in {record.id for record in read_records(folder.root)}


def test_a_pick_whose_file_is_damaged_is_refused_before_any_look(folder: SweepFolder) -> None:
    path = folder.artifact(pick(folder, DROP).id)
    shutil.rmtree(folder.test)
    path.write_bytes(path.read_bytes()[:-1])
    assert_refused(folder, ArtifactError, "expected a whole packed model")


def test_a_pick_whose_file_holds_the_same_in_other_bytes_is_refused(folder: SweepFolder) -> None:
    """Its hash is the record's, not only what it decodes to."""
    path = folder.artifact(pick(folder, DROP).id)
    artifact = read(path)
    tasks = [CompressionTask(governed, L0Pruning(keep=0.5)) for governed in artifact.governed]
    path.write_bytes(encode(tasks, artifact.thetas, artifact.uncompressed, info=artifact.info, format=1))
    assert read(path).weights().keys() == artifact.weights().keys()
    assert_refused(folder, ArtifactError, "as its record says")


def test_a_pick_whose_file_is_another_jobs_is_refused(folder: SweepFolder) -> None:
    first, other = pick(folder, DROP).id, record_of(folder, "prune").id
    assert first != other
    shutil.copy(folder.artifact(other), folder.artifact(first))
    assert_refused(folder, ArtifactError, r"expected \d+ bytes with SHA-256 .* as its record says, got")


def test_a_pick_whose_file_does_not_do_what_its_record_says_is_refused(folder: SweepFolder) -> None:
    """Its bytes and hash are the record's; its accuracy is not."""
    job = pick(folder, DROP).id
    path = claiming(folder, folder.artifact(job), val={"accuracy": f"{0.99:.17f}", "n": 90})
    for other in folder.artifacts.iterdir():
        if other.name != job:
            shutil.rmtree(other)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    edit(folder.record(job), artifact_bytes=1, artifact_sha256=digest)
    assert_refused(folder, ArtifactError, "expected 1 bytes")
    edit(folder.record(job), artifact_bytes=path.stat().st_size)
    assert_refused(folder, ArtifactError, r"claims validation accuracy 0\.990000 on 90 examples")


def test_a_pick_whose_file_is_gone_is_refused(folder: SweepFolder) -> None:
    folder.artifact(pick(folder, DROP).id).unlink()
    assert_refused(folder, ArtifactError, "model.lcz: cannot be read: No such file or directory")


def test_a_pick_whose_study_has_changed_is_refused(folder: SweepFolder) -> None:
    write_study(Path.cwd(), text=changed("cross_entropy(outputs, targets)", "cross_entropy(outputs, targets) * 2"))
    assert_refused(folder, StudyError, "study 'tiny.py': changed since the sweep ran")
    (Path.cwd() / "tiny.py").unlink()
    assert_refused(folder, StudyError, "no such file")


def test_a_pick_takes_a_study_whose_space_has_grown(folder: SweepFolder) -> None:
    write_study(Path.cwd(), text=changed("(0.8, 0.5, 0.3", "(0.9, 0.8, 0.5, 0.3", text=STUDY + "\n# a comment\n"))
    assert pick(folder, DROP).meets_target


def test_there_is_nothing_to_pick_from(folder: SweepFolder) -> None:
    shutil.rmtree(folder.artifacts)
    assert_refused(folder, StoreError, "no configuration is done")
