"""lcsweep as a library: runs a sweep from a script or a notebook, and reads its results.

The command line does the same, and either continues what the other began.
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO, Unpack

from sweep.cli.console import DATA, say, steps
from sweep.cli.run import carry_out, options_of
from sweep.execution.process import own_stream
from sweep.prepare.check import ignore
from sweep.prepare.options import Settings
from sweep.results import Sweep, unchanged
from sweep.store.manifest import read_manifest
from sweep.study import Study
from sweep.study.errors import StudyError
from sweep.study.loading import StudySource, is_loading
from sweep.study.named import importable, script


def run(
    study: StudySource,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    data: str | Path | None = None,
    progress: bool = True,
    **settings: Unpack[Settings],
) -> Sweep:
    """Runs the jobs of a study that have no result yet, as `lcsweep run` does, and returns the results.

    To continue an interrupted sweep, call it again; it runs failed jobs again too. A job that fails does not raise: its
    record says why. The number of threads of torch, its random numbers and how it treats denormal numbers are
    afterwards as they were.

    Args:
        study: a Study, from a notebook's cell too; or a module, `module:name`, or a path to a .py file.
        out: the sweep's folder or URL; by default runs/<study> in the current folder.
        workers: the most jobs at a time; by default as many as fit.
        data: the folder that studies read data from; sets LCSWEEP_DATA in this process.
        progress: whether to print what happens.
        settings: search, target, trials, repeats, seed, confirm, macs, by, job, method, storage, address,
            gpus_per_job, track and job_timeout, as sweep.prepare.options.Settings describes them.

    Raises:
        StudyError: the study cannot be loaded or used.
        StoreError: the folder holds something else, or another process is at work on it.
        ValueError: an option is wrong, or Ray does not start.
    """
    if is_loading():
        raise StudyError("run() was called while this file was imported as a study; put it under: if __name__ == ...")
    if data is not None:
        os.environ[DATA] = str(Path(data).resolve())
    options = options_of(*_source(study), out=out, workers=workers, **settings)
    with _stream() if progress else io.StringIO() as stream, unchanged():
        said, shown = (say, steps) if progress else (ignore, _no_steps)
        sweep, _ = carry_out(options, say=said, stream=stream, steps=shown)
    return Sweep(options.url or str(sweep.folder.root), study=study)


class _Lines(io.StringIO):
    """A notebook's output: it takes lines, but cannot redraw a table, though its stream says that it is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


@contextlib.contextmanager
def _stream() -> Iterator[TextIO]:
    """Where the progress goes."""
    with own_stream(sys.stdout) as stream:
        yield _Lines(stream) if stream is sys.stdout else stream


def _no_steps() -> contextlib.AbstractContextManager[Callable[[str], None]]:
    return contextlib.nullcontext(ignore)


def load_sweep(folder: str | Path, *, study: StudySource | None = None) -> Sweep:
    """The results of the sweep in a folder, or at a URL. Runs nothing, and no code from the folder.

    Args:
        folder: such as "runs/digits_mlp".
        study: the study, where `pick` cannot load it as the sweep was run: it has moved, or was a notebook's object.

    Raises:
        StoreError: it is not a sweep.
    """
    sweep = Sweep(str(folder), study=study)
    read_manifest(sweep.folder)
    return sweep


def _source(study: StudySource) -> tuple[StudySource, str]:
    """How workers get the study, and the folder where they find the user's modules."""
    if not isinstance(study, Study):
        return study, os.getcwd()
    named = importable(study)
    if named is not None:
        return named.reference, named.folder
    found = script(study)
    return study, os.getcwd() if found is None else found.folder
