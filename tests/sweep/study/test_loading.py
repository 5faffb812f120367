"""Studies by name, and the hash of what makes their numbers."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.study import Study
from sweep.study.errors import StudyError
from sweep.study.fingerprint import study_parts
from sweep.study.loading import load_study
from tests.sweep.tiny import STUDY, changed, write_study

numbers = itertools.count()


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`sys.path` and `sys.modules` as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        del sys.modules[name]
    sys.modules.update(before)


def load(reference: str, folder: Path) -> Study:
    return load_study(reference, user_folder=str(folder))


def parts(folder: Path, text: str) -> dict[str, str]:
    """Of the study in `text`, each in a file of its own: nothing is left of one that was loaded before."""
    study = load(write_study(folder, text=text, name=f"state_{next(numbers)}.py").name, folder)
    return study_parts(study, study.load_data())


def test_a_module_with_and_without_a_name(tmp_path: Path) -> None:
    write_study(tmp_path, text=STUDY + "\nother = study\n", name="somewhere.py")
    assert load("somewhere", tmp_path).name == "tiny"
    assert load("somewhere:other", tmp_path) is load("somewhere:study", tmp_path)


def test_a_module_of_a_package(tmp_path: Path) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").touch()
    write_study(package)
    assert load("mine.tiny", tmp_path).name == "tiny"


def test_a_path_with_and_without_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = write_study(folder, text=STUDY + "\nother = study\n")
    for reference in ("a folder/tiny.py", str(path), "a folder/tiny.py:other", f"{path}:study"):
        assert load(reference, tmp_path).name == "tiny"


def test_the_ready_study_loads() -> None:
    assert load("studies.digits_mlp", Path.cwd()).name == "digits_mlp"


def test_the_users_folder_comes_last_and_once(tmp_path: Path) -> None:
    """A file of the user's named as a package does not take its place."""
    (tmp_path / "json.py").write_text("raise RuntimeError('taken for the json of the library')")
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('taken for the colorsys of the library')")
    write_study(tmp_path, text="import colorsys\nimport json\n" + STUDY)
    sys.modules.pop("colorsys", None)
    before = list(sys.path)
    for _ in range(2):
        load("tiny.py", tmp_path)
    assert sys.path == [*before, str(tmp_path)]


@pytest.mark.parametrize("name", ["sweep.py", "torch.py", "json.py"])
def test_a_file_may_be_called_as_a_package_is(tmp_path: Path, name: str) -> None:
    package = sys.modules[name.removesuffix(".py")]
    write_study(tmp_path, name=name)
    assert load(name, tmp_path).name == "tiny"
    assert sys.modules[name.removesuffix(".py")] is package
    write_study(
        tmp_path, name=name, text=changed("cross_entropy(outputs, targets)", "cross_entropy(2 * outputs, targets)")
    )
    other = load(name, tmp_path)
    assert study_parts(other, other.load_data())["loss"] != parts(tmp_path, STUDY)["loss"]


@pytest.mark.parametrize("folder", ["", "deeper"])
def test_a_study_may_import_a_neighbour(tmp_path: Path, folder: str) -> None:
    """Also where the user stands in another folder."""
    neighbour = f"neighbour_{folder}"
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / f"{neighbour}.py").write_text("NAME = 'named next door'")
    write_study(
        tmp_path / folder,
        text=changed('"tiny"', "NAME.replace(' ', '_')", text=f"from {neighbour} import NAME\n" + STUDY),
    )
    assert load(str(Path(folder, "tiny.py")), tmp_path).name == "named_next_door"


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nowhere_at_all", ["'nowhere_at_all': no such module", "studies.digits_mlp", "a path to a .py file"]),
        ("nowhere_at_all.below", ["'nowhere_at_all.below': no such module"]),
        ("studies.nowhere", ["'studies.nowhere': no such module"]),
        ("nowhere.py", ["nowhere.py': no such file", "a path to a .py file"]),
        ("", ["''"]),
        (".tiny", ["'.tiny'"]),
        ("studies", ["expected a Study called 'study' in studies, found nothing", "its studies: none"]),
        ("tiny.py:other", ["expected a Study called 'other' in tiny.py, found nothing", "its studies: study"]),
        ("tiny.py:build_model", ["expected a Study called 'build_model'", "found a function", "its studies: study"]),
        ("cut.py", ["'cut.py' does not import: SyntaxError", "cut.py", "line 1"]),
        ("raising.py", ["'raising.py' does not import: ZeroDivisionError: division by zero (raising.py:2)"]),
        ("leaving.py", ["'leaving.py' does not import: SystemExit: 3"]),
        ("wanting.py", ["'wanting.py' does not import: No module named 'a_package_that_is_missing'", "missing?"]),
        ("nameless.py", ["'nameless.py' does not import: ValueError: name: expected letters", "'a b'"]),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_line(tmp_path: Path, reference: str, words: list[str]) -> None:
    write_study(tmp_path)
    write_study(tmp_path, name="cut.py", text="def study(:\n")
    write_study(tmp_path, name="raising.py", text="# a comment\nstudy = 1 / 0\n")
    write_study(tmp_path, name="leaving.py", text="raise SystemExit(3)\n")
    write_study(tmp_path, name="wanting.py", text="import a_package_that_is_missing\n")
    write_study(tmp_path, name="nameless.py", text=changed('"tiny"', '"a b"'))
    with pytest.raises(StudyError) as caught:
        load(reference, tmp_path)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


SAME = {
    "a comment": STUDY + "\n# nothing is changed\n",
    "a comment in a function": changed("    generator =", "    # the same points each time\n    generator ="),
    "a docstring": changed('"""Cross-entropy."""', '"""Something else\n\n    in more lines.\n    """'),
    "no docstring": changed('    """Cross-entropy."""\n', ""),
    "layout": changed("cross_entropy(outputs, targets)", "cross_entropy(\n        outputs,\n        targets,\n    )"),
    "a level": changed("(16, 8, 4, 3, 2)", "(32, 16, 8, 4, 3, 2)"),
    "the grid": changed('{"size": (4, 2)}', '{"size": (8, 2)}'),
    "the target": changed("max_drop=0.05", "max_drop=0.01"),
    "no target": changed("    target=Target(max_drop=0.05),\n", ""),
    "the budget of a job": changed("Schedule(epochs=2", "Schedule(epochs=3"),
    "the name": changed('"tiny"', '"another"'),
}


@pytest.mark.parametrize("state", SAME)
def test_the_hash_is_of_what_makes_the_numbers_only(tmp_path: Path, state: str) -> None:
    assert parts(tmp_path, SAME[state]) == parts(tmp_path, STUDY)


ACTIVATION = """class Activation(nn.Module):
    def forward(self, inputs):
        return inputs.tanh()


def load_data():"""
FIRST = """def first(outputs, targets):
    return (targets == 0).float()


study = Study(
    metrics={"accuracy": first},
"""
DIFFERENT = {
    "a layer's width": ([("Linear(8, 64)", "Linear(8, 32)"), ("Linear(64, 3)", "Linear(32, 3)")], "model"),
    "an activation": ([("nn.Tanh()", "nn.ReLU()")], "model"),
    "a module of its own": ([("nn.Tanh()", "Activation()"), ("def load_data():", ACTIVATION)], "model"),
    "the data's numbers": ([("generator) + 2.0", "generator) + 2.001")], "data"),
    "the data's seed": ([("manual_seed(0)", "manual_seed(1)")], "data"),
    "the split": ([("[120, 90, 90]", "[121, 89, 90]")], "data"),
    "the data's dtype": ([("inputs[part].clone()", "inputs[part].double()")], "data"),
    "the loss": ([("entropy(outputs, targets)", "entropy(outputs, targets, label_smoothing=0.1)")], "loss"),
    "a loss of the library": ([("loss=loss", "loss=nn.functional.cross_entropy")], "loss"),
    "a metric": ([("study = Study(\n", FIRST)], "loss"),
    "the reference's budget": ([("Recipe(epochs=20", "Recipe(epochs=21")], "reference"),
    "the reference's seed": ([("Recipe(", "Recipe(seed=1, ")], "reference"),
}


@pytest.mark.parametrize("state", DIFFERENT)
def test_what_makes_the_numbers_has_a_part_of_its_own(tmp_path: Path, state: str) -> None:
    changes, part = DIFFERENT[state]
    text = STUDY
    for old, new in changes:
        text = changed(old, new, text=text)
    before, after = parts(tmp_path, STUDY), parts(tmp_path, text)
    assert [name for name in before if before[name] != after[name]] == [part]


def test_how_a_model_begins_is_part_of_the_hash(tmp_path: Path) -> None:
    text = changed(
        "return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))",
        "model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))\n"
        "    nn.init.orthogonal_(model[0].weight)\n    return model",
    )
    assert parts(tmp_path, text)["model"] != parts(tmp_path, STUDY)["model"]


def test_the_options_of_a_librarys_loss_are_part_of_the_hash(tmp_path: Path) -> None:
    plain, smooth = (
        parts(tmp_path, changed("loss=loss", f"loss=nn.CrossEntropyLoss({option})"))
        for option in ("", "label_smoothing=0.1")
    )
    assert plain["loss"] != smooth["loss"]


def test_a_loss_that_is_an_object_has_the_same_hash_each_time(tmp_path: Path) -> None:
    text = changed("loss=loss", "loss=Loss()").replace(
        "def prune(",
        "class Loss:\n    def __call__(self, outputs, targets):\n        return outputs.mean()\n\n\ndef prune(",
    )
    assert parts(tmp_path, text) == parts(tmp_path, text)


def test_a_partial_loss_is_hashed_with_its_arguments(tmp_path: Path) -> None:
    def of(smoothing: float) -> dict[str, str]:
        text = f"import functools\n{STUDY}"
        partial = f"loss=functools.partial(nn.functional.cross_entropy, label_smoothing={smoothing})"
        return parts(tmp_path, changed("loss=loss", partial, text=text))

    assert of(0.1) == of(0.1)
    assert of(0.1)["loss"] != of(0.2)["loss"]


LOSS = "def loss(outputs, targets):"
SEEN = {
    "a constant": ("SMOOTHING = {}\n\n\n" + LOSS, "targets)", "targets, label_smoothing=SMOOTHING)"),
    "a function": ("def smoothing():\n    return {}\n\n\n" + LOSS, "targets)", "targets, label_smoothing=smoothing())"),
}


@pytest.mark.parametrize("what", SEEN)
def test_what_the_loss_names_is_part_of_the_hash(tmp_path: Path, what: str) -> None:
    head, old, new = SEEN[what]
    call = "cross_entropy(outputs, "
    mild, strong = (
        parts(tmp_path, changed(LOSS, head.format(value)).replace(call + old, call + new)) for value in ("0.1", "0.2")
    )
    assert [name for name in mild if mild[name] != strong[name]] == ["loss"]


def test_what_the_loss_closes_over_is_part_of_the_hash(tmp_path: Path) -> None:
    made = "def make(smoothing):\n    def smooth(outputs, targets):\n        return smoothing * outputs.mean()\n\n"
    made += "    return smooth\n\n\ndef prune("
    mild, strong = (
        parts(tmp_path, changed("def prune(", made).replace("loss=loss", f"loss=make({value})")) for value in (1, 2)
    )
    assert [name for name in mild if mild[name] != strong[name]] == ["loss"]


def test_the_scale_of_the_initial_weights_is_part_of_the_hash(tmp_path: Path) -> None:
    scaled = (
        "import torch\n\nSCALE = torch.tensor({})\n\n\ndef build_model():\n    model = begin()\n"
        "    model[0].weight.data *= SCALE\n    return model\n\n\ndef begin():"
    )
    one, three = (parts(tmp_path, changed("def build_model():", scaled.format(scale))) for scale in (1.0, 3.0))
    assert [name for name in one if one[name] != three[name]] == ["model"]
