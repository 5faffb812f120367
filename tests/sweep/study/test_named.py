"""Study objects by name, studies of one name in two folders, and sources from a notebook's cells."""

import linecache
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from sweep.store.manifest import UNNAMED
from sweep.study import Study
from sweep.study.earlier import earlier_parts
from sweep.study.errors import StudyError
from sweep.study.fingerprint import study_parts
from sweep.study.loading import lasting_reference, load_study
from sweep.study.named import Named, importable, script
from tests.sweep.study.test_earlier import OURS
from tests.sweep.tiny import STUDY, changed, write_study


@pytest.fixture(autouse=True)
def _restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`sys.path` and `sys.modules` without the test's own."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if name != "__main__" and str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def run_as_main(text: str, monkeypatch: pytest.MonkeyPatch, *, file: Path | None = None) -> Study:
    """The study of code that runs as a script in `file`, or as a notebook's cells, which Python can show."""
    main = ModuleType("__main__")
    if file is None:
        name = f"/tmp/ipykernel_1/{abs(hash(text))}.py"
        lines = text.splitlines(keepends=True)
        monkeypatch.setitem(linecache.cache, name, (len(text), None, lines, name))
    else:
        name = str(file)
        main.__file__ = name
        file.write_text(text)
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(compile(text, name, "exec"), vars(main))
    study = vars(main)["study"]
    assert isinstance(study, Study)
    return study


def test_a_study_object_of_a_module_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from mine.tiny import study as first\n")
    write_study(package)
    path = write_study(tmp_path)
    found = load_study("mine.tiny", user_folder=str(tmp_path))
    assert importable(found) == Named("mine.tiny:study", str(tmp_path))
    assert load_study("mine.tiny:study", user_folder=str(tmp_path)) is found
    monkeypatch.chdir(tmp_path)
    assert importable(load_study("tiny.py", user_folder=str(tmp_path))) == Named(f"{path}:study", str(tmp_path))


def test_a_script_and_a_notebook_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "script.py"
    study = run_as_main(STUDY, monkeypatch, file=path)
    assert importable(study) is None
    assert script(study) == Named(f"{path}:study", str(tmp_path))
    assert lasting_reference(study, user_folder=".") == f"{path}:study"
    study = run_as_main(STUDY, monkeypatch)
    assert (importable(study), script(study)) == (None, None)
    assert lasting_reference(study, user_folder=".") == UNNAMED
    assert load_study(study, user_folder=".") is study
    with pytest.raises(StudyError, match=r"a Study object that no file holds.*study=study.*--study"):
        load_study(UNNAMED, user_folder=".")


def test_the_hash_is_the_same_from_a_file_a_script_and_a_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(write_study(tmp_path, text=OURS).name, user_folder=str(tmp_path))
    data = study.load_data()
    expected = study_parts(study, data)
    for file in (tmp_path / "script.py", None):
        assert study_parts(run_as_main(OURS, monkeypatch, file=file), data) == expected
    for old, new in [("cross_entropy(outputs", "cross_entropy(2 * outputs"), ("self.share / 2", "self.share / 3")]:
        other = study_parts(run_as_main(changed(old, new, text=OURS), monkeypatch), data)
        assert [part for part in expected if other[part] != expected[part]] == ["loss"]


def test_code_without_a_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    study = run_as_main(STUDY, monkeypatch)
    linecache.clearcache()
    with pytest.raises(StudyError, match=r"expected the source of build_model, .* found none"):
        study_parts(study, study.load_data())


def test_two_files_of_one_name_stand_side_by_side(tmp_path: Path) -> None:
    """What a class of the first says is still found after the second was loaded."""
    studies = []
    for name, share in (("first", "0.5"), ("second", "0.25")):
        folder = tmp_path / name
        folder.mkdir()
        text = changed("OWN = Own(0.5)", f"OWN = Own({share})", text=OURS)
        text = changed("return self.share / 2", f"return self.share / {2 if name == 'first' else 3}", text=text)
        studies.append(load_study(write_study(folder, text=text).name, user_folder=str(folder)))
    first, second = (study_parts(study, study.load_data()) for study in studies)
    assert first["loss"] != second["loss"]
    alone = load_study(str(tmp_path / "first" / "tiny.py"), user_folder=str(tmp_path))
    assert study_parts(alone, alone.load_data()) == first
    assert earlier_parts(alone, alone.load_data()) == earlier_parts(studies[0], studies[0].load_data())


def test_release_0_1_0_named_a_studys_module_by_its_file_alone(tmp_path: Path) -> None:
    """Its hash of OURS, whose loss names an object of a class of the user's, from any folder."""
    study = load_study(write_study(tmp_path, text=OURS, name="ours.py").name, user_folder=str(tmp_path))
    assert earlier_parts(study, study.load_data())["loss"] == "5f6743c88073ca36"


def test_a_study_does_not_take_the_module_beside_another(tmp_path: Path) -> None:
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "width_of_the_study.py").write_text("def name():\n    return 'tiny'\n")
        write_study(folder, text="import width_of_the_study\n" + changed('"tiny"', "width_of_the_study.name()"))
    for _ in range(2):
        load_study("tiny.py", user_folder=str(tmp_path / "first"))
    with pytest.raises(StudyError, match=r"expected the module width_of_the_study beside it, got the one in .*first"):
        load_study("tiny.py", user_folder=str(tmp_path / "second"))
