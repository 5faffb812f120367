"""What a user asks of `lcsweep run`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sweep.criteria import Target
from sweep.search.protocol import FOR_A_TARGET, SearchName
from sweep.store.job import Method
from sweep.study.loading import StudySource

Tracker = Literal["mlflow", "wandb"]


@dataclass(frozen=True)
class Options:
    """What `lcsweep run` was asked for.

    Attributes:
        study: a module, `module:name` or a path to a .py file; or a Study.
        user_folder: the folder in which the user gave the command.
        search: "grid", "smallest", "tpe" or "pareto".
        target: in place of the study's; None for the study's.
        trials: the most jobs that may start; None for no limit.
        workers: the most jobs that run at once.
        repeats: seeds of each configuration.
        seed: the first of them.
        out: the sweep's folder; None for runs/<study>.
        storage: the URL of Optuna's storage; None for study.db in the sweep's folder.
        address: of a Ray cluster; None to start Ray on this machine.
        method: "lc", or "dc" for direct compression.
        confirm: the fewest fresh seeds on which a search for a target confirms its winner.
        macs: whether a search without a target minimises multiply-accumulates too.
        gpus_per_job: a number, or a fraction of one.
        url: of the cloud folder that `out` mirrors; None where there is none.
        tracker: "mlflow" or "wandb" to report every LC step there; None for neither.
    """

    study: StudySource
    user_folder: str
    search: SearchName
    target: Target | None
    trials: int | None
    workers: int
    repeats: int
    seed: int
    out: Path | None
    storage: str | None
    address: str | None
    method: Method
    confirm: int = 0
    macs: bool = False
    gpus_per_job: float = 0.0
    url: str | None = None
    tracker: Tracker | None = None

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
        """Seeds of a configuration, and fresh seeds of a winner. Direct compression draws nothing, so one is enough."""
        return (self.repeats, self.confirm if self.aimed else 0) if self.method == "lc" else (1, 0)
