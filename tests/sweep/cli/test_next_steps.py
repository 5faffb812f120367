"""The line that ends a run suggests only commands that can succeed, quoted for a shell."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.cli.next_steps import next_steps
from sweep.store.metric import ACCURACY
from sweep.target import Target

MET, MISSED = SimpleNamespace(feasible=True), SimpleNamespace(feasible=False)


def line(
    *,
    choice: Any = None,
    models: int = 3,
    failed: int = 0,
    root: str = "runs/tiny",
    target: Target | None = None,
    named: str = "tiny.py",
    study: Any = "tiny.py",
    data: Path | None = None,
) -> str:
    options = SimpleNamespace(url=None, target=target, study=study, user_folder=".", by="bytes")
    manifest = SimpleNamespace(reference_study=named, metric=ACCURACY)
    sweep: Any = SimpleNamespace(options=options, folder=SimpleNamespace(root=Path(root)), manifest=manifest)
    outcome: Any = SimpleNamespace(choice=choice, models=models, summary=SimpleNamespace(failed=failed))
    return next_steps(sweep, outcome, data=data)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"choice": MET}, "lcsweep report runs/tiny; lcsweep pick runs/tiny"),
        ({"choice": MET, "target": Target(max_drop=0.02)}, "lcsweep pick runs/tiny --max-drop 0.02"),
        ({"choice": MET, "target": Target(max_drop=0.3)}, "lcsweep pick runs/tiny --max-drop 30%"),  # 0.3 is refused
        ({"choice": MISSED}, "lcsweep pick runs/tiny --knee"),  # the target would be missed
        ({}, "lcsweep pick runs/tiny --knee"),  # there is no target
        ({"choice": MET, "data": Path("my data")}, "lcsweep pick runs/tiny --data 'my data'"),
        ({"choice": MET, "root": "a sweep's"}, f"lcsweep pick {shlex.quote('a sweep' + chr(39) + 's')}"),
        ({"choice": MET, "failed": 1}, "; to see why a job failed: lcsweep status runs/tiny"),
        ({"choice": MET, "named": "/else/s.py", "study": "/else/s.py"}, "pick runs/tiny --study /else/s.py"),
    ],
)
def test_the_commands_fit_what_the_run_came_to(given: dict[str, Any], expected: str) -> None:
    said = line(**given)
    assert said.startswith("next: lcsweep report ")
    assert said.endswith(expected)


def test_without_a_model_there_is_nothing_to_pick() -> None:
    said = line(models=0, failed=2)
    assert said == "next: lcsweep report runs/tiny; to see why jobs failed: lcsweep status runs/tiny"
