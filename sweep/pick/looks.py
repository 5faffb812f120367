"""Looks at the test split: each file is measured on it once, and each look is kept and counted."""

import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sweep.criteria import MISSED
from sweep.job.evidence import Points, drop
from sweep.job.measure import evidence, summary
from sweep.pick.choice import By, Choice
from sweep.pick.picked import REFERENCE, OnTest, read_looks
from sweep.pick.verify import open_model
from sweep.store.files import read_optional, sha256_of, write_json
from sweep.store.folder import SweepFolder
from sweep.store.metric import Metric
from sweep.store.record import Done
from sweep.study import Data, Study
from sweep.target import Target

Question = dict[str, Any]
"""What a pick was asked, as a look keeps it: two targets with the same threshold are one question."""


def question(target: Target | None, reference_score: float, *, by: By, confident: bool) -> Question:
    """The question of a pick."""
    return {
        "threshold": None if target is None else target.threshold(reference_score),
        "by": by,
        "confident": confident,
    }


def why_not(choice: Choice, record: Done, folder: SweepFolder, *, asked: Question, test: bool | None) -> str | None:
    """Why a pick does not look at the test split; None where it does.

    Trying several targets and looking each time would choose by the test split. So a pick looks for its answer to the
    question for which the first pick looked, and for other questions only where it is told to.
    """
    if test is False:
        return "not looked at, as asked"
    if choice.state == MISSED and not test:
        return "not looked at, since the target is missed"
    looks = [look for look in read_looks(folder) if look.get("id") != REFERENCE]
    known = any(look.get("artifact_sha256") == record.artifact_sha256 for look in looks)
    if test or known or not looks or any(look.get("asked", asked) == asked for look in looks):
        return None
    return "not looked at: it was looked at for another target before; --test looks again"


def look_at_test(job_id: str, folder: SweepFolder, study: Study, data: Data, *, asked: Question) -> OnTest:
    """What a job's file measures on the test split and its drop from the reference's, with 95 % intervals.

    Each file is measured once, and what was measured is kept, with what was asked.
    """
    reference = _look(REFERENCE, folder.reference, folder, study, data, asked={})
    found = _look(job_id, folder.artifact(job_id), folder, study, data, asked={"asked": asked})
    metric = study.metric
    change = drop(metric, _points(reference, metric), _points(found, metric))
    return OnTest(
        **{key: found[key] for key in ("id", "artifact_sha256", "n", "low", "high", "finished")},
        value=found[metric.name],
        drop=change.drop,
        drop_low=change.low,
        drop_high=change.high,
        reference_value=reference[metric.name],
        looks=len(read_looks(folder)),
        metric=metric,
    )


def _points(look: Mapping[str, Any], metric: Metric) -> Points:
    """What was kept of a look at the test split for the interval of a drop."""
    resampled = "resampled" in look
    points = [math.nan if value is None else value for value in look["resampled" if resampled else "scores"]]
    return Points(look[metric.name], torch.tensor(points).double(), resampled=resampled)


def _look(job_id: str, path: Path, folder: SweepFolder, study: Study, data: Data, *, asked: Question) -> dict[str, Any]:
    digest = sha256_of(path)
    kept = folder.test / f"{digest}.json"
    known = read_optional(kept)
    if known is not None:
        return known
    model, _ = open_model(path, study)
    all_found = evidence(model, data.test, study=study)
    points, score = all_found[study.metric.name].points, summary(all_found)
    found = {
        "id": job_id,
        "artifact_sha256": digest,
        score.metric.name: score.value,
        "n": score.n,
        "low": score.low,
        "high": score.high,
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "resampled" if points.resampled else "scores": [
            value if math.isfinite(value) else None for value in points.points.tolist()
        ],
    } | asked
    write_json(kept, found)
    return found
