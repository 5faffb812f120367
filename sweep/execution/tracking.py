"""Reports every LC step to MLflow or Weights & Biases, with Ray's own callbacks. Each needs its extra."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweep.prepare.options import Tracker

if TYPE_CHECKING:
    from ray import tune


@dataclass(frozen=True)
class Tracking:
    """The tracker that gets every LC step.

    Attributes:
        tracker: "mlflow" or "wandb".
        experiment: the name of MLflow's experiment, or of W&B's project.
    """

    tracker: Tracker
    experiment: str


@contextlib.contextmanager
def trackers(tracking: Tracking | None) -> Iterator[list[tune.Callback]]:
    """Tune's callbacks for the tracker, ended with the block. Each job is a run of its own.

    The tracker's own variables say where it writes: MLFLOW_TRACKING_URI; WANDB_API_KEY, or WANDB_MODE=offline and
    WANDB_DIR.
    """
    if tracking is None:
        yield []
        return
    callback = _callback(tracking)
    try:
        yield [callback]
    finally:
        callback.on_experiment_end(trials=[])  # Tune does not call it when its loop is left by LeaveTune


def _callback(tracking: Tracking) -> tune.Callback:
    if tracking.tracker == "mlflow":
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        return MLflowLoggerCallback(tracking_uri=uri, experiment_name=tracking.experiment)
    from ray.air.integrations.wandb import WandbLoggerCallback

    # By default it writes into Ray's own folder, which is removed after the run together with offline runs.
    return WandbLoggerCallback(project=tracking.experiment, dir=os.path.abspath(os.environ.get("WANDB_DIR", ".")))
