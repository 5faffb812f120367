"""The command line's options that several commands have, and what they come to."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sweep.criteria import Target

Folder = Annotated[
    str, typer.Argument(metavar="DIR", help="The sweep's folder, such as runs/digits_mlp or s3://bucket/digits_mlp.")
]
MaxDrop = Annotated[
    float | None, typer.Option(metavar="F", help="At most this far below the reference's accuracy (0.01: one point).")
]
Relative = Annotated[
    bool, typer.Option("--relative", help="--max-drop is a part of the reference's accuracy, not absolute.")
]
MinAccuracy = Annotated[float | None, typer.Option(metavar="F", help="At least this accuracy, a fraction.")]

DATA = "LCSWEEP_DATA"
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", exists=True, file_okay=False, envvar=DATA, help="Where studies find data."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


class UsageError(ValueError):
    """A command line that makes no sense as a whole."""


class SearchName(StrEnum):
    """How the next job is chosen."""

    grid = "grid"
    smallest = "smallest"
    tpe = "tpe"
    pareto = "pareto"


class MethodName(StrEnum):
    """What a job does."""

    lc = "lc"
    dc = "dc"


class TrackerName(StrEnum):
    """Who else hears of every LC step."""

    mlflow = "mlflow"
    wandb = "wandb"


class ByName(StrEnum):
    """What a pick minimises, latency where it was measured."""

    bytes = "bytes"
    macs = "macs"
    latency = "latency"


class FormatName(StrEnum):
    """What a report is written as."""

    html = "html"
    md = "md"
    csv = "csv"
    parquet = "parquet"
    json = "json"


class FileFormatName(StrEnum):
    """How a model is written."""

    lcz = "lcz"
    onnx = "onnx"


class Int8Name(StrEnum):
    """How activations are quantized to eight bits."""

    static = "static"
    dynamic = "dynamic"


def target_of(max_drop: float | None, min_accuracy: float | None, *, relative: bool) -> Target | None:
    """The target that the options say; None where they say none."""
    if max_drop is None and min_accuracy is None:
        if relative:
            raise UsageError("--relative: expected --max-drop, which it is about")
        return None
    try:
        return Target(max_drop=max_drop, min_accuracy=min_accuracy, relative=relative)
    except ValueError as error:
        raise UsageError(
            str(error).replace("max_drop", "--max-drop").replace("min_accuracy", "--min-accuracy")
        ) from error


def use_data(folder: Path | None) -> None:
    """Has studies look there, in this process and in those that Ray starts from it."""
    if folder is not None:
        os.environ[DATA] = str(folder.resolve())
