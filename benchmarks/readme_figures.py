"""The figures of the digits sweep in README.md and docs/results.md, made from the sweep's folder.

    lcsweep run studies.digits_mlp --repeats 3
    lcsweep run studies.digits_mlp --search smallest --max-drop 0.01 --workers 1
    lcsweep pick runs/digits_mlp --max-drop 0.01
    python benchmarks/readme_figures.py runs/digits_mlp

With one worker the search repeats. The script keeps what it found in tests/golden/digits.json, and prints the lines
that the two files must hold.
tests/docs/test_figures.py makes the lines again from what is kept, and looks for them.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sweep.pick.choice import Candidate, candidates
from sweep.pick.picked import read_picked
from sweep.store.files import write_json
from sweep.store.folder import SweepFolder
from sweep.store.job import label
from sweep.store.manifest import read_manifest
from sweep.store.records import read_records

KEPT = Path(__file__).resolve().parents[1] / "tests" / "golden" / "digits.json"
SEEDS = (0, 1, 2)
"""The seeds of the grid."""
DROP = 0.01

Facts = Mapping[str, Any]


def facts_of(root: Path) -> Facts:
    """What the sweep in `root` found: the reference, the smallest of each family, the search, the pick on test."""
    folder, manifest, picked = SweepFolder(root), read_manifest(root), read_picked(SweepFolder(root))
    if picked is None or picked.test is None or picked.mean is None:
        raise SystemExit(f"{root}: expected a pick that was measured on test; run the commands of --help first")
    reference = manifest.reference
    grid = candidates(record for record in read_records(root) if record.seed in SEEDS)
    search = json.loads(folder.search("smallest", method="lc").read_text(encoding="utf-8"))
    test = picked.test
    return {
        "reference": {"accuracy": reference.val.value, "n": reference.val.n, "bytes": reference.bytes},
        "families": [_row(found, reference.bytes) for found in _smallest(grid, reference.val.value)],
        "search": {
            "started": search["started"],
            "skipped": sum(search["skipped"].values()),
            "configurations": search["configurations"],
        },
        "pick": {
            "family": picked.family,
            "label": label(picked.configuration),
            "bytes": picked.artifact_bytes,
            "ratio": picked.compression_ratio,
            "fresh": len(picked.seeds) - 1,
            "mean": picked.mean,
        },
        "test": {"accuracy": test.value, "low": test.low, "high": test.high, "n": test.n}
        | {"reference": test.reference_value, "drop": test.drop, "drop_low": test.drop_low}
        | {"drop_high": test.drop_high},
    }


def _smallest(grid: Sequence[Candidate], reference: float) -> Iterator[Candidate]:
    """Of each family the smallest, every seed of which loses `DROP` at most; the smallest first."""
    seen: set[str] = set()
    for found in grid:
        holds = found.seeds == SEEDS and min(found.values) >= reference - DROP - 1e-12
        if holds and found.family not in seen:
            seen.add(found.family)
            yield found


def _row(found: Candidate, whole: int) -> Facts:
    return {
        "family": found.family,
        "label": found.label,
        "bytes": found.artifact_bytes,
        "ratio": whole / found.artifact_bytes,
        "accuracies": found.values,
        "direct": 1 - (found.direct_error or 0.0),
        "macs": found.macs,
    }


def lines(facts: Facts) -> dict[str, list[str]]:
    """File -> what it must hold, however its lines are wrapped."""
    reference, pick, search, test = (facts[name] for name in ("reference", "pick", "search", "test"))
    shared = [f"({100 * reference['accuracy']:.2f} %, n = {reference['n']}; {reference['bytes']:,} bytes)"]
    shared += [_line(row) for row in facts["families"]]
    size = f"{pick['label']}: {pick['bytes']:,} bytes, {pick['ratio']:.1f} times smaller**"
    mean = f"mean of {pick['fresh']} fresh seeds {100 * pick['mean']:.2f} %"
    results = [
        f"started {search['started']} jobs; {search['skipped']} of {search['configurations']} configurations",
        f"**{pick['family']}, {size}, {mean}",
        f"its file on test: {100 * test['accuracy']:.2f} % (95 % interval {100 * test['low']:.2f} to "
        f"{100 * test['high']:.2f}, n = {test['n']}), where the reference has {100 * test['reference']:.2f} %",
        f"a drop of {100 * test['drop']:.2f} points (paired interval {100 * test['drop_low']:.2f} to "
        f"{100 * test['drop_high']:.2f})",
    ]
    readme = [
        f"**{size}, {mean}",
        f"on test {100 * test['accuracy']:.2f} %, the reference {100 * test['reference']:.2f} %",
    ]
    return {"README.md": [*shared, *readme], "docs/results.md": [*shared, *results]}


def _line(row: Facts) -> str:
    accuracies = " ".join(f"{100 * accuracy:.2f}" for accuracy in row["accuracies"])
    numbers = f"{row['bytes']:,} | {row['ratio']:.1f} | {accuracies} | {100 * row['direct']:.1f} | {row['macs']:,}"
    return f"| {row['family']} | {row['label']} | {numbers} |"


def main(arguments: Iterable[str]) -> None:
    """Keeps the facts of the sweep whose folder is given, and prints the lines."""
    (root,) = arguments
    facts = facts_of(Path(root))
    write_json(KEPT, facts)
    for file, wanted in lines(facts).items():
        print("\n".join([f"{file}:", *wanted]))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    main(sys.argv[1:])
