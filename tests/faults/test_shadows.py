"""Folders named as lcsweep's own packages where the user stands, in a real run too: they are never imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.tiny import Said, write_study

pytestmark = pytest.mark.slow
OWN = ("sweep", "studies", "lc_core", "reports", "ray", "torch", "optuna", "typer")


def lcsweep(here: Path, *arguments: str) -> Said:
    """The installed command."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lcsweep"), *arguments],
        cwd=here,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    return Said(done.returncode, done.stdout, done.stderr)


def test_a_package_of_the_users_folder_never_shadows_lcsweeps(tmp_path: Path) -> None:
    for name in OWN:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"open({str(tmp_path / 'imported')!r}, 'a').write({name!r})\nraise ImportError('shadowed')\n"
        )
    write_study(tmp_path)
    for arguments in (
        ("run", "tiny.py", "--workers", "1", "--trials", "1"),
        ("pick", "runs/tiny", "--max-drop", "50%"),
        ("report", "runs/tiny", "--format", "md"),
        ("check", "studies.digits_mlp"),
    ):
        said = lcsweep(tmp_path, *arguments)
        assert (said.code, "shadowed" in said.out + said.err) == (0, False), (arguments, said)
    assert not (tmp_path / "imported").exists()
