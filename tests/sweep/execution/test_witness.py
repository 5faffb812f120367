"""A process that ends without a word leaves a line; one that ends as it should leaves none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENDS = """
import os, signal, sys, time
from pathlib import Path
from sweep.execution.witness import RayProcess, witnessed
from sweep.store.lock import process_start
with witnessed(Path("the/log")) as witness:
    {}
"""
USUAL = (
    "lcsweep: this run's process has ended without a word: it was killed, or Ray ended it (the/log says why); no "
    "result is lost: run the same command again to continue\n"
)


@pytest.mark.parametrize(
    ("last", "code", "said"),
    [
        ("pass", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("os._exit(1)", 1, USUAL),
        ("os.kill(0, signal.SIGKILL)", -9, USUAL),  # to the whole group
        ("witness.tell('two\\nlines'); os._exit(1)", 1, "lcsweep: two lines\n"),
        ("witness.look_at([RayProcess('x', os.getppid(), process_start(os.getppid()))]); os._exit(1)", 1, USUAL),
        (
            "witness.look_at([RayProcess('x', 4711, 'y')]); time.sleep(1); os._exit(1)",
            1,
            "lcsweep: Ray's x, process 4711, died; the/log "
            "says more; no result is lost: run the same command again to continue\n",
        ),
        ("witness.look_at([RayProcess('x', 4711, 'y')])", 0, ""),
        ("os.kill(witness._process.pid, 9)", 0, ""),
    ],
)
def test_what_the_witness_says(last: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS.format(last)], stderr=subprocess.PIPE, text=True, check=False,
        start_new_session=True, env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, said)
