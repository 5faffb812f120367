"""What the driver tells the runner, and the runner tells its workers, of a run."""

from dataclasses import dataclass

import numpy as np

from sweep.run.tracking import Tracking
from sweep.store.folder import SweepFolder


@dataclass(frozen=True, eq=False)
class RunContext:
    """Where the jobs of a run find their study and data, where their results go, and on what they run.

    Attributes:
        folder: the sweep's, which every node sees; or the mirror of the cloud folder at `url`.
        study_reference: how the user named the study.
        user_folder: the folder in which the user gave the command.
        splits: the data, of `sweep.job.context.split_arrays`; each worker gets it once, read-only.
        workers: the most jobs that run at once.
        address: of a Ray cluster, "auto" or HOST:PORT; None to start Ray on this machine.
        gpus_per_job: a number, or a fraction of one.
        url: of a cloud folder; None where `folder` is the sweep itself.
        tracking: the tracker that is told of every LC step; None for none.
    """

    folder: SweepFolder
    study_reference: str
    user_folder: str
    splits: dict[str, np.ndarray]
    workers: int
    address: str | None = None
    gpus_per_job: float = 0.0
    url: str | None = None
    tracking: Tracking | None = None
