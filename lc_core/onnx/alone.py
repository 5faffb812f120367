"""A process that loads an ONNX file and runs it with ONNX Runtime alone: `sweep.bench.memory` measures its memory.

    python -P alone.py FILE DTYPE SIZE...

It prints a line after the import and one after the runs, and waits for a line on standard input after each.
"""

import sys

import numpy as np
import onnxruntime

RUNS = 10


def main(path: str, dtype: str, *sizes: str) -> None:
    """Runs the file `path` on zeros of a NumPy type and a shape."""
    _told("imported")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    given = {session.get_inputs()[0].name: np.zeros([int(size) for size in sizes], dtype=dtype)}
    for _ in range(RUNS):
        session.run(None, given)
    _told("ran")


def _told(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
