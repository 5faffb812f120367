"""Every benchmark, one after the other, and one table of their ratios (`make bench`)."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rows import HEADING, Row, line, machine, said

FILES = (
    "c_steps",
    "l_step",
    "whole_job",
    "lenet300_table",
    "search",
    "orchestration",
    "exported",
    "size",
    "report",
)


def rows_of(name: str) -> list[Row]:
    """Runs the benchmark in that file in a process of its own and returns its rows; its standard error is passed on."""
    file = Path(__file__).parent / f"{name}.py"
    found = subprocess.run([sys.executable, str(file), "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if found.returncode:
        raise SystemExit(f"{file.name} ended with exit code {found.returncode}")
    return [Row(**row) for row in json.loads(found.stdout)["rows"]]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", metavar="NAME", help=f"some of {', '.join(FILES)}; by default all")
    chosen = parser.parse_args().files or FILES
    unknown = [name for name in chosen if name not in FILES]
    if unknown:
        parser.error(f"expected some of {', '.join(FILES)}, got {', '.join(unknown)}")
    print(said(machine()))
    print(HEADING, flush=True)
    for name in chosen:
        for row in rows_of(name):
            print(line(row), flush=True)
