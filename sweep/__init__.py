"""Sweeps of LC jobs: studies, jobs, searches, the store, fronts and the pick.

The names below are loaded when they are asked for: `from sweep import Study, run, load_sweep`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweep.library import load_sweep as load_sweep
    from sweep.library import run as run
    from sweep.results import Sweep as Sweep
    from sweep.store.table import table as table
    from sweep.study import Data as Data
    from sweep.study import Family as Family
    from sweep.study import Split as Split
    from sweep.study import Study as Study
    from sweep.study import Target as Target

_WHERE = {
    "Data": "sweep.study",
    "Family": "sweep.study",
    "Split": "sweep.study",
    "Study": "sweep.study",
    "Sweep": "sweep.results",
    "Target": "sweep.study",
    "load_sweep": "sweep.library",
    "run": "sweep.library",
    "table": "sweep.store.table",
}
__all__ = [*_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})
