"""The connection to Ray: to a running cluster, or to a Ray that is started on this machine and ended again."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from sweep.execution.ray_internals import (
    installed_first,
    loopback_kept,
    own_process_groups,
    read_token_again,
    signals_kept,
    start_waited_for,
)
from sweep.execution.ray_processes import RayProcesses, end_found, end_orphans, node_lives

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # for a thread to end; the default of 2 is too short on a busy machine
}
PREFIX = "lcs-"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
TOKEN_VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", TOKEN_PATH)
RAYS_OWN = "r"  # Ray lets everybody write into its temporary folder, so that ours is around it
SECONDS_FOR_AN_END = 2.0  # of what is left when Ray has ended
SECONDS_FOR_A_START = 300.0  # of Ray's processes on this machine, which may be busy
STARTS = 3
# A Unix socket's path ends at 107 bytes (103 on macOS); below its temporary folder Ray adds up to 75 of its own.
LONGEST_FOLDER = (28 if sys.platform == "darwin" else 32) - len(f"/{RAYS_OWN}")


def check_address(address: str | None) -> None:
    """ValueError when Ray Tune cannot be run through `address`."""
    if address is not None and "://" in address:
        raise ValueError(
            f"expected an address 'auto' or HOST:PORT, got {address!r}: Ray Tune cannot be driven through Ray Client "
            "(ray://); run lcsweep on a node of the cluster with --address auto, or submit it with `ray job submit`"
        )


@contextlib.contextmanager
def connected(address: str | None, workers: int, *, bundle: Path | None = None) -> Iterator[RayProcesses | None]:
    """Connects to the cluster at `address`, or to a Ray that is started here and whose files are removed at the end.

    A Ray that is started here listens on 127.0.0.1 alone and asks for a token of its own; its processes are yielded.
    The nodes of a cluster are sent `bundle`, a folder of `sweep.execution.bundle`.

    Raises:
        ValueError: Ray does not start, or no cluster at `address` accepts this process.
    """
    runtime_env: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    if bundle is not None:
        runtime_env["py_modules"] = [str(bundle)]
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(ray_folder()) if address is None else None
        if temporary is not None:
            token = stack.enter_context(own_token(temporary))
            stack.callback(end_orphans, f"{TOKEN_PATH}={token}", patience=SECONDS_FOR_AN_END)
        stack.callback(ray.shutdown)
        if temporary is not None:
            _start(temporary, workers, runtime_env)
        else:
            try:
                _check_reachable(str(address))
                with signals_kept(), installed_first():
                    ray.init(address=address, runtime_env=runtime_env)
            except Exception as error:  # no cluster, another version of Ray, no token: each raises another class
                raise ValueError(
                    f"expected a Ray cluster at the address {address!r}, found none that accepts this process "
                    f"({_one_line(error)}): start one with `ray start --head`; set RAY_AUTH_MODE=token where the "
                    "cluster asks for a token; or leave the address out to run on this machine"
                ) from error
        yield None if temporary is None else RayProcesses(temporary / RAYS_OWN)


def _start(temporary: Path, workers: int, runtime_env: dict[str, Any]) -> None:
    """Starts Ray on this machine. Its node ends itself where an agent takes half a minute to start: it is tried again.

    Raises:
        ValueError: it does not start in `STARTS` tries.
    """
    for left in reversed(range(STARTS)):
        try:
            with (
                own_process_groups(),
                loopback_kept(),
                signals_kept(),
                installed_first(),
                start_waited_for(node_lives, seconds=SECONDS_FOR_A_START),
            ):
                ray.init(
                    address="local",
                    _node_ip_address="127.0.0.1",
                    num_cpus=workers,
                    include_dashboard=False,
                    # Ray starts workers through a shell and does not quote the path of Python itself.
                    runtime_env=runtime_env | {"py_executable": shlex.quote(sys.executable)},
                    _temp_dir=str(temporary / RAYS_OWN),
                )
            return
        except Exception as error:  # Ray raises a plain Exception where its own processes do not start
            ray.shutdown()
            end_found()
            if not left:
                raise ValueError(
                    f"expected Ray to start on this machine, got {_one_line(error)}: try again when the machine "
                    "is less busy or has more memory free; nothing is lost"
                ) from error


@contextlib.contextmanager
def own_token(folder: Path) -> Iterator[Path]:
    """Within the block, a Ray that this process starts asks for a new token. Only this user can read the token's file.

    Only the file's path is in the environment, and is yielded. After the block, what the user has set there counts
    again.
    """
    path = folder / "token"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    before = {name: os.environ.pop(name) for name in TOKEN_VARIABLES if name in os.environ}
    os.environ |= {"RAY_AUTH_MODE": "token", TOKEN_PATH: str(path)}
    try:
        read_token_again()
        yield path
    finally:
        for name in TOKEN_VARIABLES:
            os.environ.pop(name, None)
        os.environ |= before
        read_token_again()


@contextlib.contextmanager
def ray_folder() -> Iterator[Path]:
    """A new temporary folder that only this user can enter, locked as long as this process lives."""
    remove_dead_folders()
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=_parent()))
    path = made.with_name(made.name[1:])
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.rename(path)  # only now do others see it: it is locked
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)  # a log that is still being written is no reason to fail


def remove_dead_folders() -> None:
    """Removes the folders of processes that were killed: those that no process has locked.

    Ray's agents live for up to a minute after their driver was killed, and make their log folder again when it was
    removed. That folder has no lock file; the folder of a living driver always has one.
    """
    for left in Path(_parent()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # its process lives
            if not _own_folder(left):
                continue
            made_again = {each.name.partition("_")[0] for each in left.iterdir()} in ({RAYS_OWN}, {"session"})
            lock = os.open(left / "lock", os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if made_again else 0))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _own_folder(path: Path) -> bool:
    """Whether it is this user's folder, and no link to one, as another user could have made it."""
    found = path.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _parent() -> str:
    """The temporary folder, or /tmp where its path is too long for Ray's sockets."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len(f"/{PREFIX}12345678") <= LONGEST_FOLDER else "/tmp"


def _check_reachable(address: str) -> None:
    """OSError when nothing listens at HOST:PORT. Ray itself would try for two minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _one_line(error: Exception) -> str:
    """The beginning of the error's message on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
