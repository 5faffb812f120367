"""`lcsweep check`: tries a study's functions and families, before anything costly."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.cli.console import DONE, DataFolder, Json, show, use_data
from sweep.cli.text import table
from sweep.store.job import label

if TYPE_CHECKING:
    from lc_core.structure.coverage import Coverage, CoveredParameter
    from sweep.prepare.check import Checked

ENOUGH = 0.9
"""Below this share of governed parameters, the largest that stay dense are listed."""
LISTED = 3


def check(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="A module (studies.digits_mlp), module:name, or a path to a .py file."),
    ],
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Try the functions of STUDY on one batch, and its families at both ends.

    Takes seconds and trains nothing. A run begins with the same checks.
    """
    from sweep.prepare.check import check
    from sweep.study.loading import load_splits, load_study

    use_data(data)
    loaded = load_study(study, user_folder=os.getcwd())
    checked = check(loaded, load_splits(loaded))
    show(facts(checked), words(checked), as_json=as_json)
    return DONE


def facts(checked: "Checked") -> dict[str, Any]:
    """What `--json` prints."""
    batch = checked.batch
    return {
        "study": checked.study.name,
        "splits": {name: len(split) for name, split in checked.data.items()},
        "batch": {"inputs": batch.inputs, "targets": batch.targets, "outputs": batch.outputs},
        "loss": batch.loss,
        "metrics": batch.scores,
        "parameters": [
            {"name": each.name, "shape": list(each.shape), "count": each.count, "families": _families(checked, index)}
            for index, each in enumerate(_parameters(checked))
        ],
        "families": [
            {
                "name": each.family,
                "loosest": each.loosest,
                "tightest": each.tightest,
                "bytes": list(each.bytes),
                "share": each.coverage.share,
            }
            for each in checked.families
        ],
    }


def words(checked: "Checked") -> str:
    """The same as text."""
    from sweep.prepare.notes import notes

    study, batch = checked.study, checked.batch
    sizes = ", ".join(f"{name} {len(split):,}" for name, split in checked.data.items())
    scores = "".join(f", {name} {score:.2%}" for name, score in batch.scores.items())
    rows = [
        ("data", f"{sizes} examples"),
        ("batch", f"inputs {batch.inputs}, targets {batch.targets}"),
        ("outputs", batch.outputs),
        ("untrained", f"loss {batch.loss:.4g}{scores}, on one batch each"),
    ]
    parts = [
        f"{study.name}: one batch went through forward, loss, backward and metrics; each family through packing",
        table(rows, right=set()),
        "",
        _layers(checked),
        "",
        _ends(checked),
        *[line for each in checked.families for line in uncovered(each.family, each.coverage)],
        *notes(checked),
    ]
    return "\n".join(parts)


def _parameters(checked: "Checked") -> "tuple[CoveredParameter, ...]":
    return checked.families[0].coverage.parameters


def _families(checked: "Checked", index: int) -> list[str]:
    """The families that govern the parameter of this number."""
    return [each.family for each in checked.families if each.coverage.parameters[index].task is not None]


def _layers(checked: "Checked") -> str:
    rows = [("parameter", "shape", "count", "share", "families")]
    for index, each in enumerate(_parameters(checked)):
        shape = " x ".join(map(str, each.shape)) or "one number"
        governing = _families(checked, index)
        families = len(checked.families)
        under = "; ".join(governing) if len(governing) <= LISTED else f"{len(governing)} of {families}"
        under = "all" if len(governing) == families else under or f"none: {each.why}"
        rows.append((" = ".join((each.name, *each.also)), shape, f"{each.count:,}", f"{each.share:.1%}", under))
    return table(rows, right={2, 3})


def _ends(checked: "Checked") -> str:
    rows = [("family", "governs", "loosest", "bytes", "tightest", "bytes")]
    for each in checked.families:
        loosest, tightest = (f"{size:,}" for size in each.bytes)
        share = f"{each.coverage.share:.1%}"
        rows.append((each.family, share, label(each.loosest), loosest, label(each.tightest), tightest))
    return table(rows, right={1, 3, 5})


def uncovered(family: str, coverage: "Coverage") -> list[str]:
    """A line that lists the largest parameters that a family leaves dense; none where it governs most of them."""
    if coverage.share >= ENOUGH:
        return []
    left = coverage.left()
    named = ", ".join(f"{each.name} ({each.share:.1%}, {each.why})" for each in left[:LISTED])
    more = f" and {len(left) - LISTED} more" if len(left) > LISTED else ""
    return [f"{family} governs {coverage.share:.1%} of the parameters; the rest stays dense: {named}{more}"]
