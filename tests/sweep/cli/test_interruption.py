"""A signal ends a command with one line, whatever a library makes of it."""

import subprocess
import sys
from pathlib import Path

import pytest

# A library that answers an interrupted import with an error of its own.
COMMAND = """
import os, signal, sys, types
app = types.ModuleType("sweep.cli.app")
def main(arguments):
    try:
        {}
    except KeyboardInterrupt:
        raise {}
app.main = main
sys.modules["sweep.cli.app"] = app
from sweep.cli import main
code = main()
os.kill(os.getpid(), signal.SIGTERM)  # while the process ends
sys.exit(code)
"""

# The tests may run under nohup or in the background of a shell, whose children ignore these.
NOT_IGNORED = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("error", ["KeyboardInterrupt", "ImportError('half a module')", "SystemExit(15)"])
def test_a_signal_is_one_line(number: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    script = COMMAND.format(f"os.kill(os.getpid(), signal.{number})", error)
    done = subprocess.run([sys.executable, "-c", NOT_IGNORED + script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "lcsweep: interrupted; run the same command again to continue\n"


def test_a_signal_in_a_callback_whose_errors_python_drops_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    killing = 'type("Dying", (), {"__del__": lambda self: os.kill(os.getpid(), signal.SIGTERM)})()'
    script = COMMAND.format(f"{killing}; import time; time.sleep(60)", "KeyboardInterrupt")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "lcsweep: interrupted; run the same command again to continue\n"


def test_what_nohup_ignores_stays_ignored_and_a_forked_child_ends_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    child = "os.kill(os.getpid(), signal.SIGHUP); pid = os.fork(); pid or os.kill(os.getpid(), signal.SIGTERM)"
    script = COMMAND.format(f"{child}; return os.waitpid(pid, 0)[1]", "KeyboardInterrupt")
    ignored = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    done = subprocess.run([sys.executable, "-c", ignored + script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (15, "", "")  # the child's SIGTERM, as waitpid tells it
