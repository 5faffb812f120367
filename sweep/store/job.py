"""What a job is, its id, and the versions that decide its numbers."""

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol

Level = int | float | str | bool
Configuration = dict[str, Level]
"""Knob -> its level."""
Method = Literal[
    "lc",
    "dc",
    "ptq",
    "retrain",
    "idc",
    "gradual",
    "qat",
    "direct",
    "distill",
    "label_free",
    "adam_masks",
    "lc_distill",
    "lc_label_free",
    "lc_retrain",
]
METHODS: dict[Method, str] = {
    "lc": "the learning-compression algorithm",
    "dc": "direct compression, without training",
    "ptq": "post-training quantization of weights: uniform steps between the extremes, without training",
    "retrain": "direct compression, then training with support, assignments and ranks fixed",
    "idc": "iterated direct compression: free training and projection in turn",
    "gradual": "gradual magnitude pruning",
    "qat": "quantization-aware training",
    "direct": "the compressed structure trained from scratch",
    "distill": "retrain with the reference's outputs beside the labels",
    "label_free": "retrain with the reference's outputs and no labels",
    "adam_masks": "masks by Adam, then distill",
    "lc_distill": "lc with the reference's outputs beside the labels",
    "lc_label_free": "lc with the reference's outputs and no labels",
    "lc_retrain": "lc, then training with support, assignments and ranks fixed",
}
"""Every method, and what it is in words; `lc_core.methods` has them."""


@dataclass(frozen=True)
class Job:
    """A job: what is to be compressed, and how. Equal jobs have equal ids.

    Attributes:
        study_hash: hash of the study's model, data, loss and reference.
        family: a family of the study.
        configuration: the levels of the family's knobs.
        method: "lc", or another of METHODS.
        seed: decides the order of the batches.
        schedule: the settings of the LC run.
    """

    study_hash: str
    family: str
    configuration: Configuration
    method: Method
    seed: int
    schedule: dict[str, Any]

    @functools.cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the attributes."""
        return content_hash({field.name: getattr(self, field.name) for field in fields(self)})  # asdict copies all

    @property
    def label(self) -> str:
        """The job in words."""
        return f"{name_of(self)}, seed {self.seed}"

    @property
    def key(self) -> str:
        """What the job does but for its seed: equal for the seeds of one candidate."""
        return json.dumps([self.family, self.configuration, self.method, self.schedule], sort_keys=True)

    def as_dict(self) -> dict[str, Any]:
        """JSON data; `from_dict` is its inverse."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Job":
        return Job(**data)


class Made(Protocol):
    """A job, or a result of one: what was compressed, and how."""

    @property
    def family(self) -> str: ...
    @property
    def configuration(self) -> Mapping[str, Any]: ...
    @property
    def method(self) -> str: ...


def name_of(made: Made) -> str:
    """The name by which everything that is printed or drawn calls a configuration: "prune (dc): keep 0.05"."""
    return f"{series_of(made)}: {label(made.configuration)}"


def series_of(made: Made) -> str:
    """The name without the levels: the family, and the method where that is not LC."""
    return made.family if made.method == "lc" else f"{made.family} ({made.method})"


def label(configuration: Mapping[str, Any]) -> str:
    """A configuration as people read it: "keep 0.05, size 4"."""
    return ", ".join(f"{knob} {level}" for knob, level in configuration.items())


def content_hash(data: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of JSON data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what decides numbers. Without the compiled loops, large codebooks differ a little."""
    from lc_core.numerics.kernels import built

    packages = ("lcsweep", "torch", "numpy", "scikit-learn", "optuna", "ray")
    found = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
    return found | {"kernels": "compiled" if built() else "absent"}
