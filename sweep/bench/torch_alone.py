"""A process that loads a packed model and runs it in torch, for its memory: `sweep.bench.memory` starts it.

    python -m sweep.bench.torch_alone STUDY FOLDERS FILE FORM DTYPE SIZE...

It says a line once it has imported torch and the study and once it has run, and waits for one after each.
"""

import json
import sys
from typing import Any

import torch

from lc_core import load, load_structured
from sweep.study.loading import load_study

RUNS = 10


def main(study: str, folders: str, path: str, form: str, dtype: str, *sizes: str) -> None:
    """Runs the packed file `path`, "dense" or "structured", on numbers of a torch type and a shape.

    `folders` are those in which the study may be, as a JSON array.
    """
    torch.set_num_threads(1)
    user_folder, *also = json.loads(folders)
    build = load_study(study, user_folder=user_folder, also=next(iter(also), None)).build_model
    _told("imported")
    kind: Any = getattr(torch, dtype)
    shape = [int(size) for size in sizes]
    inputs = torch.zeros(shape, dtype=kind)
    if kind.is_floating_point:  # zeros may come out as NaN
        inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(kind)
    model = build()
    if form == "structured":
        model = load_structured(path, model, inputs[:2])
    else:
        load(path, model)
    model.eval()
    with torch.inference_mode():
        for _ in range(RUNS):
            model(inputs)
    _told("ran")


def _told(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
