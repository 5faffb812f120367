"""A study's hash follows from what its code says and from our names, wherever they lie; earlier hashes are known."""

import dataclasses
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lc_core
from lc_core import L0Pruning, PixelShifts
from sweep.store.job import content_hash
from sweep.study import Study, accuracy, earlier
from sweep.study.earlier import earlier_parts, has_hash, recognised
from sweep.study.fingerprint import study_parts
from sweep.study.loading import load_study
from tests.sweep.tiny import changed, write_study

PLAIN = """def loss(outputs, targets):
    \"\"\"Cross-entropy.\"\"\"
    return nn.functional.cross_entropy(outputs, targets)
"""
LOSS = """RECIPE = Recipe(epochs=1, lr=0.1, batch_size=2)


@dataclass
class Own:
    share: float

    def half(self):
        return self.share / 2


OWN = Own(0.5)


class Loss:
    def again(self):
        return Loss()

    def of(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)


def loss(outputs, targets):
    return (RECIPE.epochs + OWN.half()) * Loss().of(outputs, targets)
"""
AUGMENT = "    augment=functools.partial(PixelShifts, height=2, width=4),\n"
IMPORTS = "import functools\nfrom dataclasses import dataclass\n\nfrom lc_core import PixelShifts\n"
OURS = IMPORTS + changed(PLAIN, LOSS, text=changed("    target=Target(max_drop=0.05),\n", AUGMENT))
"""A loss that names a class that names itself, values of a class of ours and of the user's; an augmentation of ours."""


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`sys.path` and `sys.modules` as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


def load(folder: Path, *, text: str = OURS, name: str = "ours.py") -> Study:
    return load_study(write_study(folder, text=text, name=name).name, user_folder=str(folder))


def parts(study: Study) -> dict[str, str]:
    return study_parts(study, study.load_data())


def test_a_class_or_function_of_ours_may_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = load(tmp_path)
    now, before = parts(study), earlier_parts(study, study.load_data())
    for each in (PixelShifts, accuracy, type(study.reference)):
        monkeypatch.setattr(each, "__module__", f"{each.__module__.partition('.')[0]}.a_room.and_a_file")
    assert parts(study) == now
    assert earlier_parts(study, study.load_data()) == before
    assert now["loss"] != before["loss"]


def test_the_users_file_may_move(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    found = [load(tmp_path), load(tmp_path, name="moved.py"), load(package, name="moved_too.py")]
    write_study(package, text=OURS, name="inside.py")
    found.append(load_study("package.inside", user_folder=str(tmp_path)))
    assert [parts(study) for study in found[1:]] == 3 * [parts(found[0])]


@pytest.mark.parametrize(
    "old, new",
    [
        ("cross_entropy(outputs, targets)", "cross_entropy(2 * outputs, targets)"),
        ("return Loss()", "return Loss"),
        ("RECIPE = Recipe(epochs=1", "RECIPE = Recipe(epochs=2"),
        ("OWN = Own(0.5)", "OWN = Own(0.25)"),
        ("return self.share / 2", "return self.share / 3"),
        ("height=2, width=4", "height=4, width=2"),
    ],
)
def test_what_the_users_code_says_counts_and_the_values_of_what_it_names(tmp_path: Path, old: str, new: str) -> None:
    before, after = parts(load(tmp_path)), parts(load(tmp_path, text=changed(old, new, text=OURS), name="other.py"))
    assert [part for part in before if before[part] != after[part]] == ["loss"]


def test_a_part_is_recognised_by_either_hash(tmp_path: Path) -> None:
    study = load(tmp_path)
    data = study.load_data()
    now, before = study_parts(study, data), earlier_parts(study, data)
    assert recognised(study, data, known={}) == recognised(study, data, known=now) == now
    assert recognised(study, data, known=before) == before
    assert recognised(study, data, known=before | {"model": "f" * 16}) == before | {"model": now["model"]}
    for known in (now, before):
        assert has_hash(study, data, study_hash=content_hash(known))
    assert not has_hash(study, data, study_hash="f" * 16)
    other = dataclasses.replace(study, augment=functools.partial(PixelShifts, height=4, width=2))
    assert recognised(other, data, known=before)["loss"] not in (now["loss"], before["loss"])


def test_what_a_plan_says_names_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    said = repr(L0Pruning(keep=0.5))
    monkeypatch.setattr(L0Pruning, "__module__", "lc_core.a_room.and_a_file")
    assert repr(L0Pruning(keep=0.5)) == said == "L0Pruning(keep=0.5)"


def test_the_table_names_all_that_a_study_could_name() -> None:
    """Release 0.1.0 had none of what came later."""
    names = [name for names in earlier.MODULES.values() for name in names.split()]
    later = {"ActivationSteps", "Allotted", "Budget", "Coverage", "CoveredParameter", "SMALL", "Separable", "Separated"}
    later |= {"coverage", "fisher", "fold", "frozen"}
    assert len(names) == len(set(names))
    assert set(names) >= set(lc_core.__all__) - later
    assert later.isdisjoint(names)
