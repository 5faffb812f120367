"""The processes of a run, by the parent of each: which is which, where they listen, and what files they have open."""

import contextlib
import os
import socket
import struct
from pathlib import Path

from sweep.execution.ray_processes import tree

# On a busy machine Ray starts slowly, and its workers, which run at a low priority, hardly at all.
BUSY = {"RAY_raylet_start_wait_time_s": "300", "RAY_worker_niceness": "0"}
KINDS = {
    "gcs_server": ("/gcs_server",),
    "raylet": ("/raylet/raylet",),
    "dashboard agent": ("ray::DashboardAgent", "/dashboard/agent.py"),
    "runtime environment agent": ("ray::RuntimeEnvAgent", "/runtime_env/agent/main.py"),
    "log monitor": ("/log_monitor.py",),
    "dashboard": ("/dashboard/dashboard.py",),
    "worker": ("ray::ImplicitFunc",),
}
"""Kind of process -> the ends of one of its first arguments."""


def arguments(pid: int) -> list[str]:
    """Its command line; empty where it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    return []


def kind(pid: int) -> str | None:
    """What the process is to a run; None for another."""
    for name, ends in KINDS.items():
        for argument in arguments(pid)[:5]:
            if argument.endswith(ends) or argument.startswith(ends):
                return name
    return None


def of_kind(name: str, *, below: int) -> list[int]:
    """The processes of that kind that descend from `below`."""
    return [pid for pid in tree(below) if kind(pid) == name]


def open_files(pid: int) -> list[str]:
    """What its file descriptors are."""
    found = []
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    return found


def listening(pids: list[int]) -> list[tuple[int, str, int]]:
    """Process, address and port of each TCP socket at which one of the processes listens."""
    sockets: dict[str, tuple[str, int]] = {}
    for version, family in (("", socket.AF_INET), ("6", socket.AF_INET6)):
        for line in Path(f"/proc/net/tcp{version}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":  # listens
                address, _, port = fields[1].partition(":")
                words = struct.pack(
                    f"={len(address) // 8}I", *(int(address[i : i + 8], 16) for i in range(0, len(address), 8))
                )
                sockets[f"socket:[{fields[9]}]"] = (
                    socket.inet_ntop(family, words).removeprefix("::ffff:"),
                    int(port, 16),
                )
    return [(pid, *sockets[name]) for pid in pids for name in open_files(pid) if name in sockets]
