"""What a user says of a study: a model, its data, how it is trained, the compressions to try and the target."""

from lc_core.training.data import Split
from sweep.criteria import Target
from sweep.store.job import Configuration, Level
from sweep.study.checkpoint import Checkpoint
from sweep.study.definition import Data, Family, Metric, Study, accuracy, check_levels

__all__ = [
    "Checkpoint",
    "Configuration",
    "Data",
    "Family",
    "Level",
    "Metric",
    "Split",
    "Study",
    "Target",
    "accuracy",
    "check_levels",
]
