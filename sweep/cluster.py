"""The connection to Ray: to a cluster that runs, or to one of this machine alone, begun here and ended again."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

# A Unix socket's path ends at 107 bytes (103 on macOS); below the temporary folder Ray adds up to 75 of its own.
LONGEST_TEMPORARY_FOLDER = 28

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a thread slower than this to end loses its job; 2 is too few under load
}


def check_address(address: str | None) -> None:
    """Raise ValueError when `address` is one that Ray Tune cannot be run through."""
    if address is not None and "://" in address:
        raise ValueError(
            f"expected an address 'auto' or HOST:PORT, got {address!r}: Ray Tune cannot be driven through Ray Client "
            "(ray://); run lcsweep on a node of the cluster with --address auto, or submit it with `ray job submit`"
        )


@contextlib.contextmanager
def connected(address: str | None, workers: int) -> Iterator[None]:
    """A connection to Ray: to the cluster at `address`, or to one started here, which leaves no file behind."""
    runtime_env: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    temporary = Path(tempfile.mkdtemp(prefix="lcs-", dir=_short_folder())) if address is None else None
    try:
        if temporary is not None:
            ray.init(
                address="local",
                num_cpus=workers,
                include_dashboard=False,
                # Ray starts workers through a shell and does not quote the path of Python itself.
                runtime_env=runtime_env | {"py_executable": shlex.quote(sys.executable)},
                _temp_dir=str(temporary),
            )
        else:
            try:
                _knock(str(address))
                ray.init(address=address, runtime_env=runtime_env)
            except OSError as error:  # Ray's ConnectionError is one
                raise ValueError(
                    f"expected a Ray cluster at the address {address!r}, found none that lets us in ({error}): start "
                    "one with `ray start --head`; set RAY_AUTH_MODE=token where the cluster asks for a token; or leave "
                    "the address out to run on this machine"
                ) from error
        yield
    finally:
        ray.shutdown()
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)  # a log that is still being written is no reason to fail


def _knock(address: str) -> None:
    """OSError when nobody listens at HOST:PORT: Ray itself would try for two minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _short_folder() -> str:
    """The temporary folder, or /tmp where that one's path is too long for Ray's sockets."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len("/lcs-12345678") <= LONGEST_TEMPORARY_FOLDER else "/tmp"
