"""`lcsweep pick`: chooses the model to deploy."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sweep.cli.console import (
    DONE,
    NO_MODEL,
    DataFolder,
    Folder,
    Json,
    MovedStudy,
    UsageError,
    show,
    use_data,
)
from sweep.cli.target_options import with_target
from sweep.cli.text import fresh_seeds, in_seeds, measured, parity, table, verdict
from sweep.criteria import CONFIRMED, MEANINGS, TOO_CLOSE, UNCONFIRMED, best_of
from sweep.pick.choice import By
from sweep.pick.picked import Alternative, OnTest, Picked
from sweep.pick.size_and_speed import speed, times
from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.job import name_of
from sweep.store.manifest import not_counted, read_manifest
from sweep.target import NoTargetError, Target


@with_target
def pick(
    folder: Folder,
    target: Target | None = None,
    by: Annotated[
        By, typer.Option(help="What to minimise; latency only of models that lcsweep bench measured.")
    ] = "bytes",
    confident: Annotated[
        bool, typer.Option("--confident", help="Every seed's 95 % bound must meet the target too.")
    ] = False,
    knee: Annotated[bool, typer.Option("--knee", help="Use no target: pick the knee (bend) of the front.")] = False,
    test: Annotated[
        bool | None,
        typer.Option(
            "--test/--no-test",
            help="Whether to look at the test split; by default only for the question that was asked of it first.",
            show_default=False,
        ),
    ] = None,
    study: MovedStudy = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Choose the model to deploy.

    Picks the smallest model that meets the target on the validation split, or else the one that misses it least (exit
    code 4). Models that are confirmed by fresh seeds go first. Verifies the file, then measures it on the test split,
    once.
    """
    from sweep.pick import picking

    named = use_data(data)
    root = remote.local(folder)
    manifest = read_manifest(root)
    if knee and (target is not None or confident):
        raise UsageError("--knee: expected no target beside it, got one, or --confident")
    target = None if knee else target or manifest.target
    if target is None and not knee:
        raise NoTargetError("pick")
    picked = picking.pick_model(
        root,
        target=target,
        by=by,
        user_folder=os.getcwd(),
        study_reference=study,
        confident=confident,
        test=test,
        place=str(folder),
        data=named,
    )
    remote.put_back(folder, SweepFolder(root).pick, SweepFolder(root).test)
    show(picked.to_json(), describe(picked, SweepFolder(root).report / "index.html"), as_json=as_json)
    return DONE if picked.meets_target else NO_MODEL


def describe(picked: Picked, page: Path) -> str:
    """The picked model in words: what it is, its size, its metric on validation and on test."""
    size, speeds = picked.artifact_bytes, picked.speed
    how = {"lc": "by LC", "dc": "by direct compression, untrained"}.get(picked.method, f"by {picked.method}")
    whole = speeds["reference_bytes"]
    rows = [
        ("picked", f"{name_of(picked)}, {how} (job {picked.id})"),
        ("target", verdict(picked)),
        *_beside(picked),
        ("file", picked.artifact),
        ("size", f"{size:,} bytes, {times(size, whole)} than the reference's {whole:,}"),
        ("MACs", f"{speeds['macs']:,} of the reference's {speeds['reference_macs']:,}{not_counted(picked.uncounted)}"),
        ("speed", speed(speeds | picked.parity)),
        *parity(picked.parity),
        *_on_validation(picked),
        *([("test", picked.no_test or "not looked at")] if picked.test is None else _on_test(picked.test)),
    ]
    if page.exists():
        rows.append(("report", str(page)))
    return table(rows, right=set())


def _beside(picked: Picked) -> list[tuple[str, str]]:
    """The candidates beside the pick: a better one to confirm, why the next smaller one was not picked, the next."""
    rows, smaller = _to_confirm(picked), "next smaller"
    if picked.by == "latency":
        smaller, (known, of) = "next faster", picked.measured
        rows.append(("measured", f"{known} of {of} candidates; to measure others: lcsweep bench DIR --job ID"))
    better = None if picked.better is None else picked.better.id
    if (other := picked.next_smaller) and other.id != better:
        missed = f"misses by {picked.val.metric.told_change(-other.margin)}"
        why = missed if other.margin < 0 else f"{UNCONFIRMED}, {MEANINGS[UNCONFIRMED]}"
        rows.append((smaller, f"{_other(other, picked.by)}: {why}, {in_seeds(other.seeds, failed=other.failed)}"))
    if picked.runner_up and picked.runner_up.id != better:
        rows.append(("runner-up", _other(picked.runner_up, picked.by)))
    return rows


def _to_confirm(picked: Picked) -> list[tuple[str, str]]:
    """The best unconfirmed candidate that is better than the pick, beside the pick's cost; the command to confirm."""
    command = [("to confirm", picked.confirm or f"none: it {TOO_CLOSE}")]
    if not picked.better:
        return command if picked.state == UNCONFIRMED else []
    pick = _cost(
        picked.by,
        artifact_bytes=picked.artifact_bytes,
        macs=picked.speed["macs"],
        latency=(picked.speed.get("latency") or {}).get("ratio"),
    )
    seeds = in_seeds(picked.better.seeds, failed=picked.better.failed)
    words = f"{_other(picked.better, picked.by)} (the pick: {pick}): {MEANINGS[UNCONFIRMED]}, {seeds}"
    return [(UNCONFIRMED, f"{words}; picked once it is {CONFIRMED}"), *command]


def _other(other: Alternative, by: By) -> str:
    cost = _cost(by, artifact_bytes=other.artifact_bytes, macs=other.macs, latency=other.latency)
    return f"{name_of(other)}, {cost}"


def _cost(by: By, *, artifact_bytes: int, macs: int, latency: float | None) -> str:
    match by:
        case "bytes":
            return f"{artifact_bytes:,} bytes"
        case "macs":
            return f"{macs:,} MACs"
        case "latency":
            return f"{latency:.2f} of the reference's latency"


def _change(test: OnTest) -> str:
    """By how much the test split's value is worse than the reference's."""
    scale, digits = (100, ".2f") if test.metric.fraction else (1, ".4g")
    low, high = f"{scale * test.drop_low:{digits}}", f"{scale * test.drop_high:{digits}}"
    return f"{test.metric.told_change(test.drop)} (paired 95 % interval {low} to {high})"


def _on_validation(picked: Picked) -> list[tuple[str, str]]:
    """The mean over the fresh seeds, and what the file itself measures, which is one of several seeds."""
    metric, count = picked.val.metric, len(picked.values)
    if count == 1 or picked.mean is None:
        return [("validation", f"{measured(picked.val)}, of the one seed by which it was chosen")]
    spread = " to ".join(metric.told(end, gap="") for end in (min(picked.values), max(picked.values)))
    mean = f"{metric.label} {metric.told(picked.mean, gap='')}, mean of {fresh_seeds(count)} (all seeds: {spread})"
    return [
        ("validation", mean),
        ("the file's own", f"{measured(picked.val)}; {best_of(count)}"),
    ]


def _on_test(test: OnTest) -> list[tuple[str, str]]:
    metric = test.metric
    return [
        ("test", f"{measured(test)}; reference {metric.told(test.reference_value, gap='')}"),
        ("test drop" if metric.higher_is_better else "test rise", _change(test)),
        ("test split", f"{test.looks} models measured on it so far, the reference included"),
    ]
