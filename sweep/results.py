"""A sweep's results: its table, its front, its figure, the model to deploy."""

import contextlib
import functools
import html
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np
import pandas as pd
import torch

from sweep.pick.choice import By, candidates, check_known
from sweep.pick.picked import Picked
from sweep.pick.picking import pick_model
from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.records import finished, read_records
from sweep.store.table import table
from sweep.study.loading import StudySource
from sweep.target import Asked, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = ("family", "label", "method", "artifact_bytes", "compression_ratio", "mean_{metric}", "seeds", "macs")
"""The columns of the front that a notebook shows of a sweep."""


@dataclass(frozen=True)
class Sweep:
    """The results of a sweep, read from its folder each time. `run` and `load_sweep` return it.

    Attributes:
        location: the sweep's folder or URL.
        study: the study, where the user gave it; None for the one that the sweep names.
    """

    location: str
    study: StudySource | None = None

    @property
    def folder(self) -> Path:
        """The sweep's folder on this machine; of a URL, its mirror, which is brought up to date."""
        return remote.local(self.location)

    def table(self) -> pd.DataFrame:
        """A row for each job, done or failed. docs/records.md describes the columns."""
        return table(self.folder)

    def front(self, by: By = "bytes") -> pd.DataFrame:
        """The Pareto front of validation error against bytes, MACs or latency, the cheapest first.

        Each row is the job whose file would be exported, as in `table`. `seeds` counts the seeds of its configuration,
        and `mean_accuracy`, with the metric's name in place of "accuracy", is their mean on validation, by which the
        front is drawn.

        Raises:
            ValueError: `by` is "latency", and none was measured.
        """
        from sweep.pick.pareto import Costs, front

        rows = self.table().set_index("id", drop=False)
        known = check_known(candidates(read_records(self.folder)), by)
        costs: Costs = np.array([[each.cost(by), each.mean_error] for each in known]).reshape(-1, 2)
        on_front = sorted(
            (each for each, kept in zip(known, front(costs), strict=True) if kept), key=lambda each: each.cost(by)
        )
        found = rows.loc[[each.best_id for each in on_front]].reset_index(drop=True)
        metric = read_manifest(self.folder).metric
        found.insert(0, f"mean_{metric.name}", [each.mean_value for each in on_front])
        found.insert(0, "seeds", [len(each.seeds) for each in on_front])
        return found

    def pick(
        self,
        *,
        by: By = "bytes",
        confident: bool = False,
        knee: bool = False,
        test: bool | None = None,
        **target: Unpack[Asked],
    ) -> Picked:
        """The model to deploy: its file verified, then measured once on the test split, as `lcsweep pick` does.

        Args:
            by: what to minimise. Latency is known only of models that `lcsweep bench` measured.
            confident: every seed's 95 % bound must meet the target too.
            knee: use no target; pick the knee (bend) of the front.
            test: whether to look at the test split; None only for the question that was asked of it first.
            target: max_drop, at_least or at_most, as `sweep.target.Target` describes them, and relative. Without one,
                the study's own target counts.

        Raises:
            ValueError: there is no target, one beside `knee`, or one that makes no sense for the metric; or nothing can
                be picked.
            ArtifactError: the file is not what its record says.
            StudyError: the study cannot be loaded, or has changed.
        """
        folder = SweepFolder(self.folder)
        asked = Target.of(**target)
        if knee and (asked is not None or confident):
            raise ValueError("knee: expected no target beside it, got one, or confident")
        aim = None if knee else asked or read_manifest(folder.root).target
        if aim is None and not knee:
            raise ValueError(
                "pick: expected max_drop, at_least or at_most, since the study has no target; or knee=True to do "
                "without one"
            )
        with unchanged():
            picked = pick_model(
                folder.root,
                target=aim,
                by=by,
                user_folder=os.getcwd(),
                study_reference=self.study,
                confident=confident,
                test=test,
                place=self.location,
            )
        remote.put_back(self.location, folder.pick, folder.test)
        return picked

    def figure(self, *, by: By = "bytes", **target: Unpack[Asked]) -> "Figure":
        """The Pareto figure, with the target and the choice; a notebook shows it. Without a target, the study's own.

        Raises:
            ValueError: `by` is "latency", and none was measured.
        """
        from reports.facts.findings import read_findings
        from reports.figures.formats import encode
        from reports.figures.front import draw_front

        figure = draw_front(read_findings(self.folder, target=self._aim(target), by=by), by=by)
        # A notebook asks each object for this; Matplotlib's figures answer only where pyplot made them.
        setattr(figure, "_repr_png_", functools.partial(encode, figure, format="png"))  # noqa: B010
        return figure

    def report(self, *, by: By = "bytes", **target: Unpack[Asked]) -> Path:
        """Writes the report, as `lcsweep report` does, and returns the path of its page."""
        from reports import write_report

        folder = SweepFolder(self.folder)
        summary = write_report(folder.root, target=self._aim(target), by=by, place=self.location)
        remote.put_back(self.location, folder.report)
        return Path(summary["paths"]["html"])

    def _aim(self, target: Asked) -> Target | None:
        """The target that was asked for; ValueError where it makes no sense for the metric."""
        aim = Target.of(**target)
        if aim is not None:
            aim.check(read_manifest(self.folder).metric)
        return aim

    def __repr__(self) -> str:
        manifest, records = read_manifest(self.folder), read_records(self.folder)
        done, whole = len(finished(records)), manifest.reference
        failed = f", {len(records) - done} failed" if len(records) > done else ""
        metric = whole.val.metric
        return (
            f"Sweep({self.location!r}): study {manifest.study}, {done} jobs done{failed}; "
            f"reference {whole.bytes:,} bytes, {metric.label} {metric.told(whole.val.value, gap='')}{whole.footing}"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the sweep in a line, and its front."""
        front, metric = self.front(), read_manifest(self.folder).metric
        shown = front[[name.format(metric=metric.name) for name in SHOWN]].to_html(
            index=False, float_format=lambda number: f"{number:.4g}"
        )
        return f"<p>{html.escape(repr(self))}</p>" + (shown if len(front) else "")


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Leaves torch's threads, all random numbers and denormal numbers as they were: the process is the user's."""
    drawn = random.getstate(), np.random.get_state()  # noqa: NPY002
    threads, flushes = torch.get_num_threads(), float(torch.tensor(1e-39) / 2) == 0
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(flushes)
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])  # noqa: NPY002
