"""Models exported as dense weights with a model card, as Hugging Face keeps them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lc_core.file.artifact import load
from sweep.pick import safetensors_export
from sweep.store.folder import SweepFolder
from sweep.store.record import Done
from sweep.store.records import finished, read_records
from sweep.study.loading import load_study
from tests.sweep.tiny import edit, folders_and_files, lcsweep

RUN = "runs/tiny"


@pytest.fixture
def job(finished: Path) -> Done:
    return next(record for record in all_done() if record.family == "both")


def all_done() -> list[Done]:
    return finished(read_records(Path(RUN)))


def export(job: Done, *others: str) -> Any:
    return lcsweep("export", RUN, "--job", job.id, "--format", "safetensors", "--out", "hub/model", *others)


def test_the_weights_give_the_same_outputs(job: Done) -> None:
    said = export(job, "--json")
    assert said.code == 0, said.err
    assert sorted(folders_and_files(Path("hub"))) == ["model", "model/README.md", "model/model.safetensors"]
    path = Path("hub/model/model.safetensors")
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"}
    study = load_study("tiny.py", user_folder=".")
    dense, packed, inputs = study.build_model(), study.build_model(), study.load_data().val.inputs
    dense.load_state_dict(load_file(path))
    load(SweepFolder(Path(RUN)).artifact(job.id), packed)
    assert torch.equal(dense(inputs), packed(inputs))
    accuracy = float((dense(inputs).argmax(dim=1) == study.load_data().val.targets).double().mean())
    assert said.json["accuracy"] == job.val.value == pytest.approx(accuracy)
    assert said.json["bytes"] == path.stat().st_size


def test_the_card_says_what_it_is(job: Done, without_onnx: None) -> None:
    manifest = Path(RUN, "sweep.json")
    edit(manifest, reference=json.loads(manifest.read_text())["reference"] | {"rates": [0.1, 0.3]})
    assert export(job).code == 0
    card = Path("hub/model/README.md").read_text()
    head, front, text = card.split("---\n", 2)
    assert head == ""
    lines = dict(line.split(": ", 1) for line in front.splitlines() if ": " in line)
    assert lines["library_name"] == "pytorch"
    assert json.loads(lines["model_name"]) == f"tiny, both: {job.label}"
    size = Path("hub/model/model.safetensors").stat().st_size
    for words in (
        f"{job.artifact_bytes:,} bytes",
        f"this file | {size:,} bytes",
        f"validation | accuracy {job.val.value:.2%} (95 % interval {job.val.low:.2%} to {job.val.high:.2%}, n = 90)",
        "test | not measured",
        "the reference of `tiny` (tiny.py)",
        "; trained at a learning rate of 0.1, the LC jobs at 0.3 |",
    ):
        assert words in text
    assert str(Path.cwd()) not in card
    (code,) = (part.partition("```")[0] for part in text.split("```python\n")[1:])
    assert len([line for line in code.splitlines() if line]) <= 5
    study = load_study("tiny.py", user_folder=".")
    names: dict[str, Any] = {"build_model": study.build_model}
    exec(code.replace("model.safetensors", "hub/model/model.safetensors"), names)
    assert not names["model"].training

    assert lcsweep("pick", RUN, "--max-drop", "50%").code == 0
    assert lcsweep("export", RUN, "--format", "safetensors", "--out", "picked").code == 0
    picked = json.loads(Path(RUN, "pick.json").read_text())
    assert f"test | accuracy {picked['test']['accuracy']:.2%} (95 % interval" in Path("picked/README.md").read_text()


def test_it_appears_whole_or_not_at_all(job: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    written = safetensors_export.write_whole

    def full(path: Path, data: bytes) -> None:
        if path.name == "README.md":
            raise OSError(28, "No space left on device")
        written(path, data)

    monkeypatch.setattr(safetensors_export, "write_whole", full)
    assert export(job).code == 1
    assert list(folders_and_files(Path("hub"))) == []
    monkeypatch.undo()


def test_another_folder_stays(job: Done) -> None:
    for _ in range(2):
        assert export(job).code == 0, "the same again"
    before = Path("hub/model/README.md").read_bytes()
    other = next(record for record in all_done() if record.id != job.id)
    said = export(other)
    assert (said.code, "expected a new folder, got one that holds other files" in said.err) == (1, True)
    assert Path("hub/model/README.md").read_bytes() == before
    Path("file").touch()
    said = lcsweep("export", RUN, "--job", job.id, "--format", "safetensors", "--out", "file")
    assert (said.code, "expected a new folder, got a file" in said.err) == (1, True)


def test_a_damaged_file_is_not_exported(job: Done) -> None:
    path = SweepFolder(Path(RUN)).artifact(job.id)
    other = next(record for record in all_done() if record.id != job.id)
    path.write_bytes(SweepFolder(Path(RUN)).artifact(other.id).read_bytes())
    said = export(job)
    assert said.code != 0
    assert f"expected SHA-256 {job.artifact_sha256}" in said.err
    assert not Path("hub").exists()
