"""What this process hides from others."""

import subprocess
import sys
from pathlib import Path

import pytest

SHOWN = """
import os, sys
from pathlib import Path
from sweep.execution.process import keep_secret
keep_secret(sys.argv[1].removeprefix("--storage="), "LCSWEEP_STORAGE")
print(Path("/proc/self/cmdline").read_text().split(chr(0))[3:-1], sys.argv[1:], "LCSWEEP_STORAGE" in os.environ)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
@pytest.mark.parametrize("option", ["", "--storage="])
@pytest.mark.parametrize("url", ["postgresql://me:secret@host/name", "postgresql:///name?password=secret"])
def test_a_password_is_hidden_from_the_process_list(url: str, option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LCSWEEP_STORAGE", url)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    command = [sys.executable, "-c", SHOWN, option + url, "more"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said == f"{[option + '*' * len(url), 'more']} {[option + url, 'more']} False\n"
