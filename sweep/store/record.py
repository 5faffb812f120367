"""What a record holds: a job that has ended. `artifacts/<id>/record.json` is one; its names are the fields' names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from sweep.store.fields import Says, from_file, to_json
from sweep.store.files import FORMAT, check_format
from sweep.store.job import Configuration, Job, Method, label
from sweep.store.metric import ACCURACY, Metric

Status = Literal["done", "failed", "stopped"]
Setting = int | float | str | bool | None
FRACTION = "fraction"
NOT_DONE, NOT_LOADED = "unless done", "when it failed before the study was loaded"
ALONE = "when the reference was not measured beside it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a model measures on a split, in the metrics' units. Further metrics stand beside the value in the JSON."""

    value: Annotated[
        float, Says("The study's metric, as `accuracy`; of another, `metric` says what it is", named_by="metric")
    ]
    metrics: Annotated[dict[str, float], Says("Further metrics of the study, by name", others=True)] = field(
        default_factory=dict
    )
    n: Annotated[int, Says("How many examples", unit="examples")]
    low: Annotated[float, Says("Lower end of the metric's 95 % interval; of the accuracy that of Wilson")]
    high: Annotated[float, Says("Its upper end")]
    metric: Metric = ACCURACY

    @property
    def error(self) -> float:
        """The metric's error: lower is better. Of the accuracy, 1 - accuracy."""
        return self.metric.error(self.value)

    @property
    def score(self) -> float:
        """The metric's score: higher is better. Of the accuracy, the accuracy."""
        return self.metric.score(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """By how much the metric is worse than the reference's, on the same validation examples; in its units."""

    drop: Annotated[float, Says("The reference's accuracy less the model's; where lower is better, the reverse")]
    low: Annotated[float, Says("Lower end of its paired 95 % interval")]
    high: Annotated[float, Says("Its upper end")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed."""

    message: Annotated[str, Says("In a line", free=True)]
    traceback: Annotated[str, Says("Python's traceback, or Ray's text on a worker that died", free=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Where a job of release 0.1.0 was stopped, since it was hopeless. Such a job is not done."""

    step: Annotated[int, Says("The LC step after which it was stopped")]
    steps: Annotated[int, Says("How many LC steps it would have had")]
    accuracy: Annotated[float, Says("On validation, after that step", unit=FRACTION)]
    bar: Annotated[float, Says("The least accuracy with which it would have gone on", unit=FRACTION)]
    below: Annotated[float, Says("The accuracy that it would have missed", unit=FRACTION)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """What `lcsweep bench` measured of a job's file: `latency/<id>.json` (docs/latency.md)."""

    artifact_sha256: Annotated[str, Says("Of the file that was measured")]
    ratio: Annotated[
        float | None,
        Says(
            "Latency as a part of the dense reference's in the same rounds",
            null=ALONE,
            older=True,
        ),
    ] = None
    ratio_low: Annotated[
        float | None,
        Says("Lower end of its 95 % interval", null=ALONE, older=True),
    ] = None
    ratio_high: Annotated[float | None, Says("Its upper end", null=ALONE, older=True)] = None
    details: Annotated[dict[str, Any], Says("All else: every measured way to run it", others=True)] = field(
        default_factory=dict
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A job that has ended: what it was, and what it came to. One that is done is a `Done`."""

    id: Annotated[
        str,
        Says(
            "The job: a hash of study, family, configuration, method, seed and schedule; its folder is `artifacts/<id>`"
        ),
    ]
    status: Annotated[
        Status, Says("`done`, or how else it ended, as `failed`; only what is done is on fronts and picked")
    ]
    study_hash: Annotated[str, Says("Of model, data and split, loss and metrics, and the reference's training")]
    family: Annotated[str, Says("The family of compressions, as the study names it")]
    configuration: Annotated[
        Configuration, Says("The knobs by name; in the JSON file an object, in `sweep.store.table.table` a dict")
    ]
    method: Annotated[Method, Says("`lc`; `dc` for direct compression, without training; or another method")]
    seed: Annotated[int, Says("Of the order of the batches; the first differs between the repeats of a configuration")]
    schedule: Annotated[dict[str, Setting], Says("The settings of the LC run; see `lc_core.schedule.Schedule`")]
    reference_bytes: Annotated[
        int | None, Says("Size of the reference's own packed file", unit="bytes", null=NOT_LOADED)
    ] = None
    reference_macs: Annotated[int | None, Says("Of one example in the reference", unit="MACs", null=NOT_LOADED)] = None
    seconds: Annotated[
        float | None,
        Says(
            "The whole job: training, evaluation, packing and verification; wall clock",
            unit="s",
            null="when it ended before it began",
        ),
    ] = None
    device: Annotated[str | None, Says("What it ran on: `cpu`, `cuda:0`", null=NOT_DONE)] = None
    versions: Annotated[dict[str, str], Says("Of Python and the packages that decide numbers")]
    finished: Annotated[str, Says("When it ended: ISO 8601, in UTC")]
    error: Annotated[Failure | None, Says("Why it failed", null="when it did not fail")] = None
    stopped: Annotated[Stopped | None, Says("Where it was stopped", null="when it was not stopped", older=True)] = None
    plan: Annotated[
        str | None,
        Says(
            "Hash of what the configuration comes to: which compression governs which parameters",
            null="when it failed",
        ),
    ] = None
    nominal_bytes: Annotated[
        int | None,
        Says(
            "Size of the file before coding, known before training; an upper bound for compressions that choose their "
            "own size",
            unit="bytes",
            null=NOT_DONE,
        ),
    ] = None
    artifact_bytes: Annotated[
        int | None,
        Says(
            "Size of the packed file, `artifacts/<id>/model.lcz`; fronts and picks go by it",
            unit="bytes",
            null=NOT_DONE,
        ),
    ] = None
    artifact_sha256: Annotated[str | None, Says("Of the packed file", null=NOT_DONE)] = None
    macs: Annotated[
        int | None,
        Says(
            "Multiply-accumulates of one example in the compressed model; rank and structure save some, zeros and "
            "codes none",
            unit="MACs",
            null=NOT_DONE,
        ),
    ] = None
    val: Annotated[Score | None, Says("What the packed file measures on the validation split", null=NOT_DONE)] = None
    drop: Annotated[
        Drop | None,
        Says("The drop of its metric from the reference's on the same examples", null=NOT_DONE, older=True),
    ] = None
    direct: Annotated[
        Score | None,
        Says("What direct compression measures: the same configuration before any training", null=NOT_DONE),
    ] = None
    gap: Annotated[
        float | None,
        Says(
            "norm(w - Delta(Theta)) / norm(Delta(Theta)) at the end, over all compressed layers: how far training "
            "stayed from the compressed weights",
            unit=FRACTION,
            null=NOT_DONE,
        ),
    ] = None
    epochs: Annotated[
        float | None, Says("Passes over the training split, over all L steps", unit="epochs", null=NOT_DONE)
    ] = None
    latency: Annotated[
        Latency | None,
        Says("What was measured of the file as it is now", null="unless `lcsweep bench` measured it", elsewhere=True),
    ] = None

    @staticmethod
    def from_json(data: Mapping[str, Any], path: Path) -> "Record":
        """The record that JSON data hold: a `Done` where the job is done.

        Raises:
            StoreError: a field is missing, of another type, NaN or infinite; `path` and the field are named.
        """
        check_format(data, path)
        kind = Done if data.get("status") == "done" else Record
        return from_file(kind, data, path)

    def to_json(self) -> dict[str, Any]:
        """What record.json holds; `from_json` is its inverse."""
        return {"format": FORMAT} | to_json(self)

    @property
    def job(self) -> Job:
        """What was done."""
        return Job(self.study_hash, self.family, self.configuration, self.method, self.seed, self.schedule)

    @property
    def label(self) -> str:
        """The configuration as people read it: "keep 0.05, size 4"."""
        return label(self.configuration)

    @property
    def key(self) -> str:
        """What the job does but for its seed: equal for the seeds of one candidate."""
        return self.job.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Record):
    """The record of a job that is done: all that was measured is there."""

    reference_bytes: int
    reference_macs: int
    seconds: float
    device: str
    plan: str
    nominal_bytes: int
    artifact_bytes: int
    artifact_sha256: str
    macs: int
    val: Score
    gap: float
    epochs: float
