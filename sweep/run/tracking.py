"""Ray's own callbacks for those who follow their jobs in MLflow or Weights & Biases, each by an extra."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ray import tune

Tracker = Literal["mlflow", "wandb"]


@dataclass(frozen=True)
class Tracking:
    """Who hears of every LC step, and under which name: an experiment of MLflow's, a project of W&B's.

    Raises:
        ValueError: the tracker's package is missing.
    """

    tracker: Tracker
    experiment: str

    def __post_init__(self) -> None:
        if importlib.util.find_spec(self.tracker) is None:
            raise ValueError(
                f"--track {self.tracker}: expected the package {self.tracker}, found none; "
                f"pip install 'lcsweep[{self.tracker}]'"
            )


@contextlib.contextmanager
def trackers(tracking: Tracking | None) -> Iterator[list[tune.Callback]]:
    """The callbacks of a run, a job a run of theirs, ended with it.

    Where they write is said as their own users say it: MLFLOW_TRACKING_URI; WANDB_API_KEY, or WANDB_MODE=offline and
    WANDB_DIR.
    """
    if tracking is None:
        yield []
        return
    callback = _callback(tracking)
    try:
        yield [callback]
    finally:
        callback.on_experiment_end(trials=[])  # Tune's loop is left without


def _callback(tracking: Tracking) -> tune.Callback:
    if tracking.tracker == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        return MLflowLoggerCallback(tracking_uri=uri, experiment_name=tracking.experiment)
    from ray.air.integrations.wandb import WandbLoggerCallback

    # Left to itself it writes among Ray's own files, which go with the run: what is kept offline would be lost.
    return WandbLoggerCallback(project=tracking.experiment, dir=os.path.abspath(os.environ.get("WANDB_DIR", ".")))
