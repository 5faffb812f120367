"""A sweep's folder begun: what is said of the reference."""

from pathlib import Path

import pytest

from sweep.cli.text import reference
from sweep.prepare.prepared import prepare
from tests.sweep.tiny import changed, options

SHOWN = changed("    target=Target(max_drop=0.05),\n", "    augment=lambda inputs: 0.5 * inputs,\n")
"""A study that trains on dimmed inputs."""


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ("0", "taking the reference of tiny as it is: no epochs of training"),
        ("0.5", "training the reference of tiny: 0.5 epochs"),
    ],
)
def test_it_is_said_whether_the_reference_is_trained(tmp_path: Path, epochs: str, said: str) -> None:
    study = tmp_path / "tiny.py"
    study.write_text(changed("epochs=20", f"epochs={epochs}"))
    lines: list[str] = []
    prepare(options(study, tmp_path / "sweep"), say=lines.append)
    assert lines[0] == said


def test_the_reference_trains_on_what_the_jobs_train_on_unless_the_study_says_otherwise(tmp_path: Path) -> None:
    found = {}
    for name, way in (("as the jobs", ""), ("plainly", "    augment_reference=False,\n")):
        folder = tmp_path / name
        folder.mkdir()
        study = folder / "tiny.py"
        study.write_text(changed("    augment=", f"{way}    augment=", text=SHOWN))
        found[name] = prepare(options(study, folder / "sweep"), say=lambda _: None)
    weights = [sweep.context.reference["0.weight"] for sweep in found.values()]
    assert not weights[0].equal(weights[1])
    words = "; trained without the augmentation that the LC jobs have"
    assert [reference(sweep.manifest).endswith(words) for sweep in found.values()] == [False, True]


def test_a_reference_trained_at_another_rate_or_decay_is_said_to_be(tmp_path: Path) -> None:
    study = tmp_path / "tiny.py"
    rate = "; trained at a learning rate of 0.05, the LC jobs at 0.1"
    decay = "; trained with a weight decay of 0.001, the LC jobs with 0"
    for change, said in (
        ("epochs=20, lr=0.1", ""),
        ("epochs=20, lr=0.05", rate),
        ("weight_decay=0.001, epochs=20, lr=0.1", decay),
        ("weight_decay=0.001, epochs=20, lr=0.05", rate + decay),
    ):
        text = changed("epochs=20, lr=0.1", change)
        study.write_text(text)
        sweep = prepare(options(study, tmp_path / f"sweep {len(said)}"), say=lambda _: None)
        assert sweep.manifest.reference.footing == said
