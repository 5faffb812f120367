"""A process that loads an ONNX file and runs it with ONNX Runtime alone: `sweep.bench.memory` measures its memory.

    python -P alone.py FILE INPUTS

It prints a line after the import and one after the runs, and waits for a line on standard input after each.
"""

import sys

import numpy as np
import onnxruntime

RUNS = 10


def main(path: str, inputs: str) -> None:
    """Runs the file `path` on the arrays in the NumPy file `inputs`, which it has by name."""
    _told("imported")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = dict(np.load(inputs))
    for _ in range(RUNS):
        session.run(None, given)
    _told("ran")


def _told(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
