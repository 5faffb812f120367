"""A process that loads a packed model and runs it in torch, so that its memory can be measured.

    python -m sweep.bench.torch_alone STUDY FOLDER FILE FORM INPUTS

`sweep.bench.memory` starts it. It prints "imported" once torch and the study are imported, and "ran" once the model has
run, and waits for a line after each.
"""

import sys

import torch

from lc_core import load, load_structured
from lc_core.training.nest import map_nest
from sweep.study.loading import load_study

RUNS = 10


def main(study: str, user_folder: str, path: str, form: str, inputs: str) -> None:
    """Runs the packed file `path` on a batch.

    Args:
        study: as `load_study` takes it.
        user_folder: as `load_study` takes it.
        path: of the packed file.
        form: "dense" or "structured".
        inputs: a file of them, as `torch.save` writes it.
    """
    torch.set_num_threads(1)
    loaded = load_study(study, user_folder=user_folder)
    _print_and_wait("imported")
    batch = torch.load(inputs, weights_only=False)  # the user's own, which may be of any class
    model = loaded.new_model()
    if form == "structured":
        few = map_nest(lambda leaf: leaf[:2], batch)
        model = load_structured(path, model, few, forward=loaded.forward)
    else:
        load(path, model)
    model.eval()
    with torch.inference_mode():
        for _ in range(RUNS):
            loaded.forward(model, batch)
    _print_and_wait("ran")


def _print_and_wait(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
