"""The settings of a run, which the driver gives to the runner, and the runner to its workers."""

from dataclasses import dataclass, field
from typing import Any

from sweep.execution.time_limit import TimeLimit
from sweep.execution.tracking import Tracking
from sweep.store.folder import SweepFolder
from sweep.study.loading import StudySource


@dataclass(frozen=True, eq=False)
class RunContext:
    """The study and the data of a run, where its results go, and where its jobs run.

    Attributes:
        folder: the sweep's folder, which every node sees; or the mirror of the cloud folder at `url`.
        study_reference: how the user named the study, or the study itself.
        user_folder: the folder in which the user gave the command.
        splits: the data, of `sweep.job.context.split_arrays`; each worker gets it once, read-only.
        workers: the largest number of jobs that run at once.
        address: the address of a Ray cluster, "auto" or HOST:PORT; None to start Ray on this machine.
        gpus_per_job: GPUs of a job; may be a fraction.
        url: the URL of a cloud folder; None where `folder` is the sweep itself.
        tracking: the tracker that gets every LC step; None for none.
        limit: how long a job may run.
    """

    folder: SweepFolder
    study_reference: StudySource
    user_folder: str
    splits: dict[str, Any]
    workers: int
    address: str | None = None
    gpus_per_job: float = 0.0
    url: str | None = None
    tracking: Tracking | None = None
    limit: TimeLimit = field(default_factory=TimeLimit)
