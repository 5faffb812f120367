"""The connection to Ray: to a cluster that runs, or to one of this machine alone, begun here and ended again."""

from __future__ import annotations

import contextlib
import shlex
import socket
import sys
from collections.abc import Iterator
from typing import Any

import ray

from sweep.scratch import scratch

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
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(scratch()) if address is None else None
        stack.callback(ray.shutdown)
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


def _knock(address: str) -> None:
    """OSError when nobody listens at HOST:PORT: Ray itself would try for two minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
