"""What sweep.json holds of a sweep."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from sweep.store.coverage import FamilyCoverage
from sweep.store.fields import Says, from_file, to_json
from sweep.store.files import FORMAT, StoreError, check_format, read_json
from sweep.store.folder import SweepFolder
from sweep.store.metric import ACCURACY, Metric
from sweep.store.record import Score
from sweep.target import Target

UNNAMED = "a Study object"
"""What sweep.json says of a study that no file holds, such as one from a notebook."""


def not_counted(operators: Sequence[str]) -> str:
    """The operators that MACs leave out, in words that follow the number; empty where there are none."""
    return f"; not counted: {', '.join(operators)}" if operators else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The reference model, which every job compresses."""

    bytes: Annotated[int, Says("Size of its own packed file", unit="bytes")]
    parameters: Annotated[int, Says("How many it has")]
    macs: Annotated[int, Says("Multiply-accumulates of one example", unit="MACs")]
    val: Annotated[Score, Says("What it measures on the validation split")]
    folded: Annotated[
        dict[str, str],
        Says("Each weight that `build_model` computes from others, and by what; here a plain parameter", older=True),
    ] = field(default_factory=dict)
    uncounted: Annotated[
        list[str], Says("Operators that multiply and accumulate and that `macs` leaves out", older=True)
    ] = field(default_factory=list)
    plainly_trained: Annotated[
        bool, Says("Whether it was trained without the augmentation that the LC jobs have", older=True)
    ] = False
    rates: Annotated[
        list[float],
        Says(
            "The learning rate that it was trained at, and that of the LC jobs; empty where it is the same", older=True
        ),
    ] = field(default_factory=list)
    decays: Annotated[
        list[float],
        Says("The weight decay that it was trained with, and that of the LC jobs, in the same way", older=True),
    ] = field(default_factory=list)

    @property
    def footing(self) -> str:
        """Words that follow its score where it was trained otherwise than the LC jobs; else empty."""
        words = "; trained without the augmentation that the LC jobs have" if self.plainly_trained else ""
        if len(self.rates) == 2:
            words += "; trained at a learning rate of {:g}, the LC jobs at {:g}".format(*self.rates)
        if len(self.decays) == 2:
            words += "; trained with a weight decay of {:g}, the LC jobs with {:g}".format(*self.decays)
        return words

    @property
    def not_counted(self) -> str:
        """What `not_counted` says of the MACs."""
        return not_counted(self.uncounted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A sweep: of which study, with how many seeds, from which reference."""

    study: Annotated[str, Says("Its name")]
    reference_study: Annotated[str, Says("How to load it: a module, `module:name`, or the path of a file", free=True)]
    study_hash: Annotated[str, Says("Of model, data and split, loss and metrics, and the reference's training")]
    study_parts: Annotated[dict[str, str], Says("The hash of each of these")]
    metric: Annotated[Metric, Says("The metric that the target is about; the accuracy by its name", older=True)] = (
        ACCURACY
    )
    user_folder: Annotated[str, Says("The folder in which `lcsweep run` was called", free=True)]
    sweep: Annotated[str, Says("A random name")]
    repeats: Annotated[int, Says("Seeds of a configuration")]
    confirm: Annotated[int, Says("Fresh seeds on which winners are confirmed, at least", older=True)] = 0
    target: Annotated[Target | None, Says("The study's own", null="when it has none")]
    splits: Annotated[dict[str, int], Says("How many examples `train`, `val` and `test` have")]
    reference: Annotated[Reference, Says("The reference model")]
    versions: Annotated[dict[str, str], Says("Of Python and the packages that decide numbers")]
    coverage: Annotated[
        dict[str, FamilyCoverage],
        Says(
            "Of each family, the share of the parameters that it governs, and the largest that stay dense", older=True
        ),
    ] = field(default_factory=dict)

    @staticmethod
    def from_json(data: Mapping[str, Any], path: Path) -> "Manifest":
        """The manifest that JSON data hold. StoreError, which names `path` and the field, where one does not fit."""
        check_format(data, path)
        if data.get("metric") == ACCURACY.name:
            data = {**data, "metric": to_json(ACCURACY)}
        return from_file(Manifest, data, path)

    def to_json(self) -> dict[str, Any]:
        """What sweep.json holds; `from_json` is its inverse."""
        data = {"format": FORMAT} | to_json(self)
        return data | {"metric": ACCURACY.name} if self.metric == ACCURACY else data


def read_manifest(root: Path) -> Manifest:
    """sweep.json of the sweep in `root`. StoreError where there is none that we wrote."""
    path = SweepFolder(root).manifest
    if not root.is_dir():
        raise StoreError(f"{root}: no such folder; expected a sweep's, such as runs/digits_mlp after `lcsweep run`")
    if not path.is_file():
        raise StoreError(f"{root}: not a sweep (it has no {path.name}); expected the folder that `lcsweep run` filled")
    return Manifest.from_json(read_json(path), path)
