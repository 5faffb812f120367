"""The wheel in an environment and folders of its own: studies of one name in two folders, each with its own results."""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.sweep.tiny import changed, write_study

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lc_core", "sweep", "studies", "reports")

pytestmark = pytest.mark.slow


def run(command: list[str | Path], *, cwd: Path) -> str:
    """What a command prints, in an environment that knows nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with lcsweep's wheel; the packages that it needs come from this one."""
    folder = tmp_path_factory.mktemp("installed")
    tree = folder / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    pip: list[str | Path] = [sys.executable, "-m", "pip"]
    offline = ["--quiet", "--no-deps", "--no-index"]
    run([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, tree], cwd=folder)
    (wheel,) = folder.glob("lcsweep-*.whl")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env" / "bin" / "python"
    run([*pip, "--python", python, "install", *offline, wheel], cwd=folder)
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    (others,) = {Path(path) for path in sys.path if path.endswith("site-packages") and Path(path, "torch").is_dir()}
    # After the environment's own packages. Only a folder's name is read: links of an editable install do not count.
    (site / "needed.pth").write_text(f"{others}\n")
    return python.parent


def test_the_wheel_is_what_runs(installed: Path, tmp_path: Path) -> None:
    found = run(
        [installed / "python", "-c", "import sweep, lc_core; print(sweep.__file__, lc_core.__file__)"], cwd=tmp_path
    )
    assert all(path.startswith(str(installed.parent)) for path in found.split())


def test_studies_of_one_name_in_two_folders_do_not_meet(installed: Path, tmp_path: Path) -> None:
    """Same file, same study, same neighbour by name; the neighbour says how wide the network is."""
    text = "import width\n" + changed(
        "8, 64), nn.Tanh(), nn.Linear(64,", "8, width.WIDTH), nn.Tanh(), nn.Linear(width.WIDTH,"
    )
    for width in (64, 16):
        folder = tmp_path / f"folder_{width}"
        folder.mkdir()
        write_study(folder, text=text)
        (folder / "width.py").write_text(f"WIDTH = {width}\n")
    for width in (64, 16):
        folder = tmp_path / f"folder_{width}"
        run([installed / "lcsweep", "run", "tiny.py", "--trials", "2", "--workers", "1"], cwd=folder)
        run([installed / "lcsweep", "report", "runs/tiny"], cwd=folder)
        run([installed / "lcsweep", "pick", "runs/tiny", "--knee"], cwd=folder)
        manifest = json.loads((folder / "runs" / "tiny" / "sweep.json").read_text())
        assert manifest["reference"]["parameters"] == 12 * width + 3
        assert (folder / "runs" / "tiny" / "report" / "index.html").is_file()
        assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == [
            "runs",
            "tiny.py",
            "width.py",
        ]
    code = (
        "from sweep import load_sweep\n"
        "for width in (64, 16):\n"
        "    print(load_sweep(f'folder_{width}/runs/tiny').table()['reference_macs'].unique().tolist())\n"
    )
    assert run([installed / "python", "-c", code], cwd=tmp_path) == "[704]\n[176]\n"
