"""What a user asks of a run."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from sweep.criteria import CONFIRM, UNTRAINED
from sweep.search.protocol import FOR_A_TARGET, SearchBy, SearchName
from sweep.store.job import Method
from sweep.target import Target

if TYPE_CHECKING:
    from sweep.study.loading import StudySource

Tracker = Literal["mlflow", "wandb"]


def check_tracker(tracker: Tracker) -> None:
    """ValueError where the tracker's package is missing. A folder of that name, as trackers leave them, is none."""
    found = importlib.util.find_spec(tracker)
    if found is None or found.origin is None:
        raise ValueError(
            f"--track {tracker}: expected the package {tracker}, found none; pip install 'lcsweep[{tracker}]'"
        )


class Settings(TypedDict, total=False):
    """What `sweep.run` takes and `lcsweep run` has as options of the same names.

    Attributes:
        search: "grid" (the default) runs the study's whole grid; "smallest" finds the smallest model that meets the
            target; "tpe" does the same with Optuna's TPE sampler; "pareto" trades error against bytes.
        target: in place of the study's.
        trials: the most jobs that may start; by default no limit.
        repeats: seeds of each configuration; 1 by default.
        seed: the first of them; 0 by default.
        confirm: the fewest further seeds on which a search for a target confirms its winner; 3 by default, 0 for none.
        macs: with search "pareto", minimise multiply-accumulates too.
        by: what a search for a target minimises, "bytes" (the default) or "macs"; ties go to fewer bytes.
        job: run only this job's configuration, on `repeats` seeds or, with one, on as many as confirm it.
        method: how a job compresses (`sweep.store.job.METHODS`): "lc" (the default), "dc" and "ptq" without training,
            and others of the literature.
        storage: the URL of Optuna's storage; by default study.db in the sweep's folder.
        address: of a Ray cluster, "auto" or HOST:PORT; by default Ray is started on this machine and ended again.
        gpus_per_job: a number, or a fraction of one; 0 by default.
        track: "mlflow" or "wandb" to log every LC step there too.
        job_timeout: seconds after which a job that has not ended fails; by default ten times the median of the jobs of
            its schedule that are done, and at least 600.
    """

    search: SearchName
    target: Target | None
    trials: int | None
    repeats: int
    seed: int
    confirm: int
    macs: bool
    by: SearchBy
    job: str | None
    method: Method
    storage: str | None
    address: str | None
    gpus_per_job: float
    track: Tracker | None
    job_timeout: float | None


@dataclass(frozen=True)
class Options:
    """What a run was asked for: its Settings, and where it reads and writes.

    Attributes:
        study: a module, `module:name` or a path to a .py file; or a Study.
        user_folder: the folder in which the user gave the command.
        workers: the most jobs that run at once.
        out: the sweep's folder; None for runs/<study>.
        url: of the cloud folder that `out` mirrors; None where there is none.
    """

    study: "StudySource"
    user_folder: str
    workers: int = 1
    out: Path | None = None
    url: str | None = None
    search: SearchName = "grid"
    target: Target | None = None
    trials: int | None = None
    repeats: int = 1
    seed: int = 0
    confirm: int = CONFIRM
    macs: bool = False
    by: SearchBy = "bytes"
    job: str | None = None
    method: Method = "lc"
    storage: str | None = None
    address: str | None = None
    gpus_per_job: float = 0.0
    track: Tracker | None = None
    job_timeout: float | None = None

    @property
    def objectives(self) -> tuple[str, ...]:
        """What a search without a target minimises."""
        return ("error", "bytes", "macs") if self.macs else ("error", "bytes")

    @property
    def aimed(self) -> bool:
        """Whether the search is for the smallest model that meets a target."""
        return self.search in FOR_A_TARGET

    @property
    def seeds(self) -> tuple[int, int]:
        """Seeds of a configuration, and fresh seeds of a winner."""
        repeats = 1 + self.confirm if self.job is not None and self.repeats == 1 else self.repeats
        return (repeats, self.confirm if self.aimed else 0) if self.method not in UNTRAINED else (1, 0)
