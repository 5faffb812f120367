"""A process that loads a packed model and runs it in torch, so that its memory can be measured.

    python -m sweep.bench.torch_alone STUDY FOLDERS FILE FORM DTYPE SIZE...

`sweep.bench.memory` starts it. It prints "imported" once torch and the study are imported, and "ran" once the model has
run, and waits for a line after each.
"""

import json
import sys
from typing import Any

import torch

from lc_core import load, load_structured
from sweep.study.loading import load_study

RUNS = 10


def main(study: str, folders: str, path: str, form: str, dtype: str, *sizes: str) -> None:
    """Runs the packed file `path` on random inputs.

    Args:
        study: as `load_study` takes it.
        folders: where the study may be, a JSON array of one or two paths.
        path: of the packed file.
        form: "dense" or "structured".
        dtype: of the inputs, a torch type's name.
        sizes: the shape of the inputs.
    """
    torch.set_num_threads(1)
    user_folder, *also = json.loads(folders)
    build = load_study(study, user_folder=user_folder, also=next(iter(also), None)).new_model
    _print_and_wait("imported")
    kind: Any = getattr(torch, dtype)
    shape = [int(size) for size in sizes]
    inputs = torch.zeros(shape, dtype=kind)
    if kind.is_floating_point:  # zero inputs may give NaN
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
    _print_and_wait("ran")


def _print_and_wait(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
