"""`lcsweep check`: tries a study's functions and families, before anything costly."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.cli.console import DONE, DataFolder, Json, show, steps, use_data
from sweep.cli.text import table
from sweep.store.coverage import uncovered
from sweep.store.job import label
from sweep.store.manifest import not_counted

if TYPE_CHECKING:
    from lc_core.structure.coverage import CoveredParameter
    from sweep.prepare.check import Checked
    from sweep.prepare.check_onnx import OnnxTrial

LISTED = 3
"""Of more families than these, or more biases, the number is printed, not their names."""


def check(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="A module (studies.digits_mlp), module:name, or a path to a .py file."),
    ],
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Try the functions of STUDY on one batch, and its families at both ends.

    Takes seconds and trains nothing. A run begins with the same checks, with ONNX where it begins a sweep.
    """
    use_data(data)
    said: list[str] = []
    with steps() as step:
        step(f"loading {study}")
        from sweep.prepare.check import check
        from sweep.prepare.check_onnx import OnnxTrial
        from sweep.prepare.notes import notes
        from sweep.study.loading import load_splits, load_study

        loaded = load_study(study, user_folder=os.getcwd())
        splits = load_splits(loaded, say=said.append)
        trial = OnnxTrial(loaded, splits, step=step)
        checked = check(loaded, splits, look=trial.look, step=step)
    said += [*notes(checked), *trial.lines()]
    show(facts(checked, trial, notes=said), words(checked, notes=said), as_json=as_json)
    return DONE


def facts(checked: "Checked", trial: "OnnxTrial", *, notes: Sequence[str]) -> dict[str, Any]:
    """What `--json` prints."""
    batch = checked.batch
    return {
        "study": checked.study.name,
        "splits": {name: len(split) for name, split in checked.data.items()},
        "batch": {"inputs": batch.inputs, "targets": batch.targets, "outputs": batch.outputs},
        "loss": batch.loss,
        "metrics": batch.scores,
        "macs": {"one example": checked.macs.total, "not counted": list(checked.macs.uncounted)},
        "parameters": [
            {"name": each.name, "shape": list(each.shape), "count": each.count, "families": _families(checked, index)}
            | {"macs": macs}
            for index, (each, macs) in enumerate(zip(_parameters(checked), _macs(checked), strict=True))
        ],
        "families": [
            {
                "name": each.family,
                "loosest": each.loosest,
                "tightest": each.tightest,
                "bytes": list(each.bytes),
                "share": each.coverage.share,
                "onnx": trial.verdicts[each.family].serves if trial.verdicts else None,
            }
            for each in checked.families
        ],
        "notes": list(notes),
    }


def words(checked: "Checked", *, notes: Sequence[str]) -> str:
    """The same as text."""
    from sweep.prepare.notes import family_coverage
    from sweep.study import Checkpoint
    from sweep.study.measure import described

    study, batch = checked.study, checked.batch
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in checked.data.items())
    metrics = {name: described(name, study.metrics[name]) for name in batch.scores}
    scores = "".join(
        f", {metrics[name].label} {metrics[name].told(value, gap='')}" for name, value in batch.scores.items()
    )
    begun = "checkpoint" if isinstance(study.reference, Checkpoint) else "untrained"
    rows = [
        ("data", f"{sizes} examples"),
        ("batch", f"inputs {batch.inputs}, targets {batch.targets}"),
        ("outputs", batch.outputs),
        ("MACs", f"{checked.macs.total:,} multiply-accumulates for one example{not_counted(checked.macs.uncounted)}"),
        (begun, f"loss {batch.loss:.4g}{scores}, on one batch each"),
    ]
    parts = [
        f"{study.name}: one batch went through forward, loss, backward and metrics; each family through packing",
        table(rows, right=set()),
        "",
        _layers(checked),
        "",
        _ends(checked),
        *uncovered(family_coverage(checked)),
        *notes,
    ]
    return "\n".join(parts)


def _parameters(checked: "Checked") -> "tuple[CoveredParameter, ...]":
    return checked.families[0].coverage.parameters


def _families(checked: "Checked", index: int) -> list[str]:
    """The families that govern the parameter of this number."""
    return [each.family for each in checked.families if each.coverage.parameters[index].task is not None]


def _macs(checked: "Checked") -> list[int | None]:
    """Of each parameter, the multiply-accumulates of the modules that hold it; None but for the largest of a module."""
    parameters, found = _parameters(checked), _without_children(checked)
    holders = [dict.fromkeys(name.rpartition(".")[0] for name in (each.name, *each.also)) for each in parameters]
    largest: dict[str, int] = {}
    for index in sorted(range(len(parameters)), key=lambda index: -parameters[index].count):
        for holder in holders[index]:
            largest.setdefault(holder, index)
    counts = [[found.get(name, 0) for name in names if largest[name] == index] for index, names in enumerate(holders)]
    return [sum(each) if each else None for each in counts]


def _without_children(checked: "Checked") -> dict[str, int]:
    """Name of a module -> the multiply-accumulates of its runs, less those of the modules in it."""
    whole = {"": checked.macs.total} | dict(checked.macs.modules)
    own = dict(whole)
    for name in checked.macs.modules:
        holder = name.rpartition(".")[0]
        while holder not in whole:  # a list of modules does not run itself
            holder = holder.rpartition(".")[0]
        own[holder] -= whole[name]
    return {name: max(count, 0) for name, count in own.items()}


def _layers(checked: "Checked") -> str:
    """A row a parameter. Many biases or parameters of norms, which no family governs, are a row together at the end."""
    rows = [("parameter", "shape", "count", "share", "MACs", "families")]
    dense = [each for index, each in enumerate(_parameters(checked)) if not _families(checked, index)]
    alike = {why: [each for each in dense if each.why == why] for why in ("bias", "norm")}
    together = {why: found for why, found in alike.items() if len(found) > LISTED}
    for index, (each, macs) in enumerate(zip(_parameters(checked), _macs(checked), strict=True)):
        if each in together.get(str(each.why), ()):
            continue
        shape = " x ".join(map(str, each.shape)) or "one number"
        shape += "" if each.dtype == "float32" else f", {each.dtype}"
        governing = _families(checked, index)
        families = len(checked.families)
        under = "; ".join(governing) if len(governing) <= LISTED else f"{len(governing)} of {families}"
        under = "all" if len(governing) == families else under or f"none: {each.why}"
        names, count = " = ".join((each.name, *each.also)), "" if macs is None else f"{macs:,}"
        rows.append((names, shape, f"{each.count:,}", f"{each.share:.1%}", count, under))
    for why, found in together.items():
        whole, share = sum(each.count for each in found), sum(each.share for each in found)
        rows.append((f"{len(found)} others", "", f"{whole:,}", f"{share:.1%}", "", f"none: {why}"))
    return table(rows, right={2, 3, 4})


def _ends(checked: "Checked") -> str:
    rows = [("family", "governs", "loosest", "bytes", "tightest", "bytes")]
    for each in checked.families:
        loosest, tightest = (f"{size:,}" for size in each.bytes)
        share = f"{each.coverage.share:.1%}"
        rows.append((each.family, share, label(each.loosest), loosest, label(each.tightest), tightest))
    return table(rows, right={1, 3, 5})
