"""lcsweep as a library: runs a sweep from a script or a notebook, and reads its results.

The command line does the same, and either continues what the other began.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from sweep.cli.console import DATA, say
from sweep.cli.run import carry_out, workers_at_once
from sweep.criteria import Target
from sweep.prepare.options import Options, Tracker
from sweep.results import Sweep, unchanged
from sweep.run.process import own_stream
from sweep.search.protocol import SearchName
from sweep.store import remote
from sweep.store.job import Method
from sweep.store.manifest import read_manifest
from sweep.study import Study
from sweep.study.errors import StudyError
from sweep.study.loading import StudySource, is_loading
from sweep.study.named import importable, script


def run(
    study: StudySource,
    *,
    search: SearchName = "grid",
    target: Target | None = None,
    trials: int | None = None,
    workers: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    confirm: int = 3,
    macs: bool = False,
    method: Method = "lc",
    out: str | Path | None = None,
    storage: str | None = None,
    address: str | None = None,
    gpus_per_job: float = 0.0,
    track: Tracker | None = None,
    data: str | Path | None = None,
    progress: bool = True,
) -> Sweep:
    """Runs the jobs of a study that have no result yet, as `lcsweep run` does, and returns the results.

    To continue an interrupted sweep, call it again; it runs failed jobs again too. A job that fails does not raise: its
    record says why. The number of threads of torch, its random numbers and how it treats denormal numbers are
    afterwards as they were.

    Args:
        study: a Study, from a notebook's cell too; or a module, `module:name`, or a path to a .py file.
        search: "grid" runs the study's whole grid; "smallest" finds the smallest model that meets the target; "tpe"
            does the same with Optuna's TPE sampler; "pareto" trades error against bytes.
        target: in place of the study's.
        trials: the most jobs that may start.
        workers: the most jobs at a time; by default as many as fit.
        repeats: seeds of each configuration.
        seed: the first of them.
        confirm: the fewest further seeds on which a search for a target confirms its winner; 0 for none.
        macs: with search "pareto", minimise multiply-accumulates too.
        method: "lc", or "dc" for direct compression, without training.
        out: the sweep's folder or URL; by default runs/<study> in the current folder.
        storage: the URL of Optuna's storage; by default study.db in the sweep's folder.
        address: of a Ray cluster, "auto" or HOST:PORT; by default Ray is started on this machine and ended again.
        gpus_per_job: a number, or a fraction of one.
        track: "mlflow" or "wandb" to log every LC step there too.
        data: the folder that studies read data from; sets LCSWEEP_DATA in this process.
        progress: whether to print what happens.

    Raises:
        StudyError: the study cannot be loaded or used.
        StoreError: the folder holds something else, or another process is at work on it.
        ValueError: an option is wrong, or Ray does not start.
    """
    if is_loading():
        raise StudyError("run() was called while this file was imported as a study; put it under: if __name__ == ...")
    if macs and search != "pareto":
        raise ValueError("macs: expected search='pareto' beside it")
    if data is not None:
        os.environ[DATA] = str(Path(data).resolve())
    source, user_folder = _source(study)
    url = str(out) if out is not None and remote.is_url(str(out)) else None
    options = Options(
        study=source,
        user_folder=user_folder,
        search=search,
        target=target,
        trials=trials,
        workers=workers_at_once(workers, address, gpus_per_job),
        repeats=repeats,
        seed=seed,
        out=remote.begin(url) if url is not None else Path(out) if out is not None else None,
        storage=storage,
        address=address,
        method=method,
        confirm=confirm,
        macs=macs,
        gpus_per_job=gpus_per_job,
        url=url,
        tracker=track,
    )
    with _stream() if progress else io.StringIO() as stream, unchanged():
        sweep, _ = carry_out(options, say=say if progress else lambda _: None, stream=stream)
    return Sweep(url or str(sweep.folder.root), study=study)


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
