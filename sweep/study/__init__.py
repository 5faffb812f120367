"""What a user says of a study: a model, its data, how it is trained, the compressions to try and the target."""

from lc_core.training.data import Split
from sweep.store.job import Configuration, Level
from sweep.study.checkpoint import Checkpoint
from sweep.study.definition import Data, Family, Study, check_levels
from sweep.study.measure import Measure, Metric, accuracy
from sweep.target import Target

__all__ = [
    "Checkpoint",
    "Configuration",
    "Data",
    "Family",
    "Level",
    "Measure",
    "Metric",
    "Split",
    "Study",
    "Target",
    "accuracy",
    "check_levels",
]
