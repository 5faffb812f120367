"""`lcsweep init`: writes a study to begin with."""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweep.cli.console import DONE, UsageError, check_file, say
from sweep.cli.init_text import KINDS, DatasetName, Kind, MetricName, written

NO_CHECKPOINT = "a checkpoint, a file with trained weights (leave empty to train one here)"


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, such as my_study.py.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Trained weights: a state_dict of torch.save, or .safetensors."),
    ] = None,
    dataset: Annotated[
        DatasetName | None, typer.Option(help="What to compress on; none: made-up numbers, to replace by your data.")
    ] = None,
    metric: Annotated[MetricName | None, typer.Option(help="What decides which model is good enough.")] = None,
) -> int:
    """Write a study to begin with into FILE.

    It runs as it stands, with a checkpoint once `build_model` builds its network. Its comments say what to change. On a
    terminal, asks for what the options do not say.
    """
    if file.suffix != ".py" or not re.fullmatch(r"[A-Za-z_]\w*", file.stem):
        raise UsageError(f"{file}: expected a name of letters, digits and _ that ends in .py, such as my_study.py")
    if file.exists():
        raise UsageError(f"{file}: is there already, and stays as it is; name another file")
    asked = dataset is None and sys.stdin.isatty()
    if asked and checkpoint is None:
        answer = typer.prompt(NO_CHECKPOINT, default="", show_default=False).strip()
        checkpoint = Path(answer) if answer else None
    if asked and metric is None:
        metric = typer.prompt("the metric", default=MetricName.accuracy, type=MetricName)
    metric = metric or MetricName.accuracy
    classes = KINDS[metric] is Kind.classes
    likely = DatasetName.digits if classes and checkpoint is None else DatasetName.none
    if asked and classes:  # else only made-up numbers fit
        dataset = typer.prompt("the data", default=likely, type=DatasetName)
    dataset = dataset or likely
    if dataset is not DatasetName.none and not classes:
        raise UsageError(
            f"--metric {metric.value}: measures {KINDS[metric].value}, and {dataset.value} has classes; name "
            "--dataset none, and load your own data in the study"
        )
    if checkpoint is not None:
        check_file(checkpoint, expected="one with trained weights")
    text = written(file, checkpoint=checkpoint, dataset=dataset, metric=metric)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as new:
        new.write(text)
    command = shlex.join(["lcsweep", "run", str(file), "--dry-run"])
    say(f"{file}: a study to begin with. Read it, change what is yours, then: {command}")
    return DONE
