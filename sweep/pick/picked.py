"""What a pick found: pick.json, as typed objects."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sweep.criteria import MISSED, UNCONFIRMED, State
from sweep.pick.choice import By, Candidate, candidates, chosen, shortfall
from sweep.pick.size_and_speed import speed_facts
from sweep.store.fields import Unfit, from_json, to_json
from sweep.store.files import StoreError, read_optional
from sweep.store.folder import SweepFolder
from sweep.store.manifest import Manifest
from sweep.store.metric import ACCURACY, Metric
from sweep.store.record import Record, Score
from sweep.store.records import finished
from sweep.target import Target

REFERENCE = "reference"
"""The id of the reference among the looks at the test split."""


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A candidate that was not picked.

    Attributes:
        method: "lc" in a pick by an early version, which did not write it.
        latency: over the dense reference's; None where it was not measured.
        id: the job whose file would be exported.
        seeds: how many are done.
        failed: how many more failed.
        margin: 0 or more meets the criteria. JSON holds it as "shortfall", which is 0 there.
    """

    family: str
    configuration: dict[str, Any]
    artifact_bytes: int
    macs: int
    latency: float | None
    id: str
    seeds: int
    method: str = "lc"
    failed: int = 0
    margin: float

    @staticmethod
    def of(candidate: Candidate | None, *, margin: float = 0.0) -> "Alternative | None":
        """What a pick says of a candidate."""
        if candidate is None:
            return None
        names = ("family", "configuration", "method", "artifact_bytes", "macs", "latency", "failed")
        facts = {name: getattr(candidate, name) for name in names}
        return Alternative(**facts, id=candidate.best_id, seeds=len(candidate.seeds), margin=margin)


@dataclass(frozen=True, kw_only=True)
class OnTest:
    """What a file's model measures on the test split, in the metric's units; intervals are of 95 %.

    Attributes:
        id: the job.
        n: examples.
        finished: when it was measured; ISO 8601, UTC.
        value: JSON holds it under the metric's name, as "accuracy".
        drop: from the reference's value, on the same examples.
        reference_value: JSON holds it as "reference_accuracy", or with the metric's name likewise.
        looks: how many models of the sweep have been measured on the test split so far.
    """

    id: str
    artifact_sha256: str
    value: float
    n: int
    low: float
    high: float
    finished: str
    drop: float
    drop_low: float
    drop_high: float
    reference_value: float
    looks: int
    metric: Metric = ACCURACY

    def to_json(self) -> dict[str, Any]:
        """What pick.json holds of it; the metric is that of "val" there."""
        names = {"value": self.metric.name, "reference_value": f"reference_{self.metric.name}"}
        return {names.get(name, name): value for name, value in asdict(self).items() if name != "metric"}


@dataclass(frozen=True, kw_only=True)
class Picked:
    """The picked model.

    Attributes:
        id: the job whose file is exported. `artifact_bytes`, `artifact_sha256` and `val` are of that file.
        seeds: of all finished jobs of the configuration, like `values`.
        failed: how many more of its jobs failed.
        values: of the metric, unrounded. JSON holds those of the accuracy as "accuracies".
        mean: of the values of the fresh seeds, which the choice of the file does not touch: the estimate of the
            configuration. JSON holds it with the metric's name, as "mean_accuracy". None of a pick by an early version.
        state: what is known of it and the target; None without one, and of a pick by an early version.
        margin: 0 or more meets the target. JSON holds it as "shortfall", which is 0 there.
        target: None for a pick at the knee of the front.
        confident: whether the 95 % bounds had to meet the target too.
        measured: of how many candidates the latency is known, and how many candidates there are.
        better: the best candidate that would be picked if it were confirmed.
        confirm: the command that would confirm `better`, or else the pick; None where there is nothing to confirm, or
            no number of seeds is expected to do so.
        runner_up: what would be picked next.
        next_smaller: the largest candidate that costs less.
        artifact: the path of the packed file. pick.json holds it from the sweep's folder on, so that the folder may
            move; older releases wrote the whole path.
        compression_ratio: the reference's bytes over the file's.
        test: what the file's model measures on the test split; None where it was not looked at.
        no_test: why it was not.
        speed: MACs, the reference's MACs and bytes, and the latency where it was measured.
        parity: how far ONNX Runtime's outputs are from torch's; empty where they were not compared.
        uncounted: operators that multiply and accumulate and that the MACs leave out.
    """

    id: str
    family: str
    configuration: dict[str, Any]
    method: str
    artifact_bytes: int
    artifact_sha256: str
    val: Score
    seeds: tuple[int, ...]
    failed: int = 0
    values: tuple[float, ...]
    mean: float | None = None
    meets_target: bool
    state: State | None = None
    margin: float
    target: Target | None
    confident: bool = False
    by: By = "bytes"
    measured: tuple[int, int] = (0, 0)
    better: Alternative | None = None
    confirm: str | None = None
    runner_up: Alternative | None
    next_smaller: Alternative | None
    artifact: str
    compression_ratio: float
    test: OnTest | None = None
    no_test: str | None = None
    speed: dict[str, Any]
    parity: dict[str, Any]
    uncounted: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What pick.json holds."""
        data: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            match name:
                case "speed" | "parity":
                    data |= value
                case "margin":
                    data["shortfall"] = shortfall(value)
                case "target":
                    data[name] = value.as_dict() if value else None
                case "better" | "runner_up" | "next_smaller":
                    data[name] = _with_shortfall(value)
                case "val":
                    data[name] = to_json(value)
                case "test":
                    data[name] = None if value is None else value.to_json()
                case "mean":
                    data[f"mean_{self.val.metric.name}"] = value
                case "values":
                    data["accuracies" if self.val.metric == ACCURACY else name] = list(value)
                case _:
                    data[name] = list(value) if isinstance(value, tuple) else value
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Picked":
        """The inverse of `to_json`, but that a margin above 0 is read back as 0.

        Raises:
            Unfit: a field is missing or of another type.
        """
        speed = ("macs", "reference_macs", "reference_bytes", "latency", "faster")
        metric = _metric_of(data)
        values = "accuracies" if metric == ACCURACY else "values"
        names = {values: "values", f"mean_{metric.name}": "mean"}
        named = {names.get(name, name): value for name, value in data.items()}
        made = _with_margin(named) | {
            "target": data.get("target") or None,
            "better": _with_margin(data.get("better")),
            "runner_up": _with_margin(data.get("runner_up")),
            "next_smaller": _with_margin(data.get("next_smaller")),
            "speed": {name: data[name] for name in speed if name in data},
            "parity": {name: data[name] for name in ("parity", "no_parity") if name in data},
        }
        if data.get("test") is not None:
            made["test"] = _with_value(data["test"], metric)
        lists = [name for name in ("seeds", "values", "measured", "uncounted") if isinstance(made.get(name), list)]
        return from_json(Picked, made | {name: tuple(made[name]) for name in lists})


def read_picked(folder: SweepFolder) -> Picked | None:
    """What the last pick of a sweep found; None before any. StoreError where pick.json is damaged.

    Its file is the job's in this folder, wherever the folder was when it was picked.
    """
    data = read_optional(folder.pick)
    if data is None:
        return None
    try:
        picked = Picked.from_json(data)
        return replace(picked, artifact=str(folder.artifact(picked.id)))
    except Unfit as error:
        raise StoreError(f"{folder.pick}: {error}; run lcsweep pick again") from None


def known_now(picked: Picked, records: Sequence[Record], manifest: Manifest) -> Picked:
    """The same pick with what is known of it by now: its configuration's seeds, what they show, its file's speed."""
    own = next((record for record in finished(records) if record.id == picked.id), None)
    if own is None:
        return picked
    found = candidates(records)
    by_job = {job: candidate for candidate in found for job in candidate.ids}
    now = by_job[picked.id]
    picked = replace(picked, seeds=now.seeds, failed=now.failed, values=now.values, mean=now.mean_value)
    picked = replace(picked, speed=speed_facts(own))
    if picked.target is None:
        return picked
    choice = chosen(found, manifest, target=picked.target, confident=picked.confident)
    assert choice.criteria is not None
    state, to_confirm = choice.states[now.best_id], by_job.get((picked.better or picked).id)
    unconfirmed = to_confirm is not None and choice.states[to_confirm.best_id] == UNCONFIRMED
    return replace(
        picked,
        meets_target=state != MISSED,
        state=state,
        margin=choice.criteria.margin_of(now),
        confirm=picked.confirm if unconfirmed else None,
    )


def read_looks(folder: SweepFolder) -> list[dict[str, Any]]:
    """The looks at the test split so far, the first one first; the reference is one of them."""
    found = [look for path in sorted(folder.test.glob("[!.]*.json")) if (look := read_optional(path)) is not None]
    return sorted(found, key=lambda look: (str(look.get("finished")), str(look.get("id"))))


def _metric_of(data: Mapping[str, Any]) -> Metric:
    """What the pick was scored by; Unfit where it is damaged."""
    val = data.get("val")
    found = val.get("metric") if isinstance(val, Mapping) else None
    return from_json(Metric, found) if isinstance(found, Mapping) else ACCURACY


def _with_value(test: Any, metric: Metric) -> Any:
    """JSON data of `OnTest` with the names of its fields."""
    if not isinstance(test, Mapping):
        return test
    names = {metric.name: "value", f"reference_{metric.name}": "reference_value"}
    return {names.get(name, name): value for name, value in test.items()} | {"metric": to_json(metric)}


def _with_shortfall(other: Alternative | None) -> dict[str, Any] | None:
    if other is None:
        return None
    facts = asdict(other)
    return facts | {"shortfall": shortfall(facts.pop("margin"))}


def _with_margin(data: Any) -> Any:
    """JSON data with the margin in place of the shortfall."""
    if not isinstance(data, Mapping) or "shortfall" not in data:
        return data
    short = data["shortfall"]
    margin = -short if type(short) in (int, float) else short
    return {name: value for name, value in data.items() if name != "shortfall"} | {"margin": margin}
