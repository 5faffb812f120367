"""Runs a study by every method and ends with their comparison: one table of errors, costs and paired tests.

    python benchmarks/rivals.py studies.rivals_digits

Run again, it goes on where it stopped. A job that failed is run again too.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sweep.cli.console import DONE, SOME_FAILED
from sweep.store.job import METHODS
from sweep.study.loading import load_study


def main(arguments: argparse.Namespace) -> int:
    """Runs the methods, one after the other; the exit code of the first that could not run, or of the comparison."""
    study = load_study(arguments.study, user_folder=os.getcwd())
    out = arguments.out or Path("runs", study.name)
    workers = [] if arguments.workers is None else ["--workers", str(arguments.workers)]
    for method in arguments.methods:
        how = ["--method", method, "--repeats", str(arguments.repeats), "--out", str(out), *workers]
        code = lcsweep("run", arguments.study, *how)
        if code not in (DONE, SOME_FAILED):
            return code
    return lcsweep("compare", str(out))


def lcsweep(*arguments: str) -> int:
    """Prints and runs a command of lcsweep; its exit code."""
    print("$ lcsweep", *arguments, flush=True)
    program = "from sweep.cli import main; raise SystemExit(main())"
    return subprocess.run([sys.executable, "-c", program, *arguments], check=False).returncode


def given(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", metavar="STUDY", help="as lcsweep run takes it: studies.rivals_digits")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="by default all")
    parser.add_argument("--repeats", type=int, default=3, metavar="R", help="seeds of each configuration; by default 3")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the sweep's folder; by default runs/<study>")
    parser.add_argument("--workers", type=int, metavar="N", help="jobs at a time; by default as many as fit")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main(given()))
