"""Sweeps on real clusters of two nodes on this machine: one node is killed; SLURM's script is run."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from sweep.store.folder import SweepFolder
from sweep.store.job import label
from sweep.store.record import Record
from sweep.store.records import read_records
from tests.sweep.tiny import changed, prepared, run_all, write_study

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
RAY = [sys.executable, "-u", "-c", "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; main()"]
LCSWEEP = [sys.executable, "-c", "import sys; from sweep.cli import main; sys.exit(main())"]

# Says on which node and from which file each job ran, and what of a GPU it had. No job ends before there is a file GO:
# so a node whose first worker takes its time has a job too.
TOLD = """
import json
import ray
import time
from beside import heard
from pathlib import Path


def tell():
    if ray.is_initialized():
        context = ray.get_runtime_context()
        told = [context.get_node_id(), __file__, heard, [str(gpu) for gpu in ray.get_gpu_ids()]]
        with Path(TOLD).open("a") as file:
            file.write(json.dumps(told) + chr(10))
        while not Path(GO).exists():
            time.sleep(0.05)


def prune(configuration):
    tell()
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A user's folder whose study imports a module beside it; a job takes seconds."""
    text = changed("Schedule(epochs=2", "Schedule(epochs=400")
    tell = TOLD.replace("TOLD", repr(str(tmp_path / "told"))).replace("GO", repr(str(tmp_path / "go")))
    text = changed("def prune(configuration):\n", tell, text=text)
    for grid in (', grid={"keep": (0.5, 0.1, 0.01)}', ', grid={"keep": (0.3,), "size": (4,)}'):
        text = changed(grid, "", text=text)
    for family in ("quantize", "both"):
        text = changed(f"def {family}(configuration):\n", f"def {family}(configuration):\n    tell()\n", text=text)
    write_study(tmp_path, text=text)
    (tmp_path / "beside.py").write_text("heard = 'what lies beside the study'\n")
    return tmp_path


class Nodes:
    """Nodes of a core each, every one in a session of its own, which can be killed like a machine."""

    def __init__(self) -> None:
        self.sessions: list[int] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> int:
        """Starts a node; its number."""
        with tempfile.TemporaryFile("w+") as said:  # not a pipe, which would have to be read for ever
            process = subprocess.Popen(
                [*RAY, "start", "--block", "--num-cpus=1", "--disable-usage-stats", *arguments],
                stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            self.sessions.append(process.pid)
            deadline = time.monotonic() + 120
            while "Ray runtime started" not in (lines := _text(said)):
                assert process.poll() is None, lines
                assert time.monotonic() < deadline, lines
                time.sleep(0.2)
        process.returncode = 0  # nobody waits for it: it is killed
        return len(self.sessions) - 1

    def kill(self, number: int) -> None:
        kill_session(self.sessions[number])


def kill_session(session: int) -> None:
    """Kills all processes of the session: Ray's workers have groups of their own and outlive their node by seconds."""
    while left := [pid for pid, of in _sessions() if of == session]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _sessions() -> Iterator[tuple[int, int]]:
    """The ids of every running process and of its session."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, _, _, session, *_ = stat.read_text().rpartition(")")[2].split()
            if state not in "ZX":
                yield int(stat.parent.name), int(session)


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """A head with a core and a declared GPU that does not exist."""
    folder = tempfile.mkdtemp(prefix="lcs-", dir="/tmp")  # short, for Ray's sockets
    nodes = Nodes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_raylet_start_wait_time_s", "300")
        patch.setenv("PYTHONPATH", str(ROOT))
        try:
            nodes.start(
                *("--head", "--node-ip-address=127.0.0.1", f"--port={nodes.port}", f"--temp-dir={folder}"),
                *("--num-gpus=1", "--include-dashboard=false"),
            )
            yield nodes
        finally:
            for number in range(len(nodes.sessions)):
                nodes.kill(number)
            shutil.rmtree(folder, ignore_errors=True)


def told(here: Path) -> list[list[Any]]:
    """(node, file, the imported module's value, GPUs) of every job that started."""
    path = here / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def lasting(root: Path) -> list[Record]:
    """The records without times."""
    return [replace(record, seconds=None, finished="") for record in read_records(root)]


def table(records: list[Record]) -> str:
    lines = ["bytes  accuracy  configuration"]
    for record in sorted(records, key=lambda record: record.artifact_bytes):
        what = f"{record.family}: {label(record.configuration)}"
        lines.append(f"{record.artifact_bytes:5}  {record.val.value:8.2%}  {what}")
    return "\n".join(lines)


def until(reached: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_sweep_moves_to_the_node_that_is_left(here: Path, nodes: Nodes, capsys: pytest.CaptureFixture[str]) -> None:
    """Its records are those of a run in one process, bit for bit."""
    second = nodes.start(f"--address={nodes.address}")
    command = [*LCSWEEP, "run", "tiny.py", "--address", nodes.address, "--out", "moved"]
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(lambda: len({node for node, *_ in told(here)}) == 2, process)
    (here / "go").touch()
    until(lambda: len(read_records(here / "moved")) >= 6, process)
    done = len(read_records(here / "moved"))
    nodes.kill(second)
    before = len(told(here))
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0, out
    assert "19 configurations, 0 results known, 19 jobs to run, 2 at a time" in out
    assert "19 jobs started, 0 already done, 0 failed" in out
    assert done < 19
    assert len({node for node, *_ in told(here)[before:]}) == 1
    assert all("py_modules_files" in file and heard == "what lies beside the study" for _, file, heard, _ in told(here))
    sweep = prepared(here / "tiny.py", here / "whole")
    run_all(sweep)
    moved, whole = lasting(here / "moved"), lasting(here / "whole")
    with capsys.disabled():
        sys.stdout.write(f"\n{done} jobs done on two nodes, then one of these was killed:\n{out}")
        sys.stdout.write(f"\n{table(moved)}\n\nin one process, without Ray:\n\n{table(whole)}\n")
    assert len(whole) == 19
    assert moved == whole
    for record in whole:
        files = [SweepFolder(here / name).artifact(record.id).read_bytes() for name in ("moved", "whole")]
        assert files[0] == files[1]


def test_jobs_ask_for_a_part_of_a_gpu_and_put_their_files_in_the_cloud(here: Path, nodes: Nodes) -> None:
    """The sweep's folder is a URL, which the nodes share and the driver's mirror is filled from."""
    url = (here / "cloud").as_uri()
    (here / "go").touch()
    environment = os.environ | {"XDG_CACHE_HOME": str(here / "cache"), "TMPDIR": str(here)}

    def lcsweep(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*LCSWEEP, *arguments], cwd=here, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    run = ("run", "tiny.py", "--address", nodes.address, "--out", url)
    refused = lcsweep(*run, "--gpus-per-job", "2")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
    assert "expected a node with a core and 2 GPU for a job, got 1 node(s) with 1 cores and 1 GPUs" in refused.stderr
    said = lcsweep(*run, "--gpus-per-job", "0.25", "--trials", "3")
    assert said.returncode == 0, said
    assert "3 jobs to run, 1 at a time" in said.stdout
    assert [gpus for *_, gpus in told(here)] == [["0"]] * len(told(here)) != []
    records = read_records(here / "cloud")
    assert [(record.status, record.device) for record in records] == [("done", "cpu")] * 3
    assert all(SweepFolder(here / "cloud").artifact(record.id).exists() for record in records)
    assert not list((here / "cloud").rglob("study.db"))
    shutil.rmtree(here / "cache")  # as if the next driver ran on another machine
    again = lcsweep(*run, "--trials", "1")
    assert "3 results known, 1 job to run" in again.stdout, again
    assert lcsweep("status", url).stdout.splitlines()[1] == "4 jobs done, 0 failed"


SRUN = """#!/usr/bin/env bash
# A SLURM of one machine: the command runs here, on whatever node it was meant for.
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""


def test_the_batch_script_makes_a_cluster_and_runs_the_sweep_on_it(here: Path) -> None:
    """With `srun` and `scontrol` that know one machine under two names; `ray` and `lcsweep` are the real ones."""
    programs = here / "programs"
    programs.mkdir()
    python = f"#!/usr/bin/env bash\nexec {sys.executable} -c '{{}}' \"$@\"\n"
    for name, text in {
        "srun": SRUN,
        "scontrol": "#!/usr/bin/env bash\nprintf 'one\\ntwo\\n'\n",
        "ray": python.format('import sys; from ray.scripts.scripts import main; sys.argv[0] = "ray"; main()'),
        "lcsweep": python.format("import sys; from sweep.cli import main; sys.exit(main())"),
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    with socket.socket() as free:  # the script's port follows from the job's number
        free.bind(("", 0))
        number = free.getsockname()[1] % 10000
    slurm = {"SLURM_JOB_ID": str(number), "SLURM_JOB_NODELIST": "one,two", "SLURM_JOB_NUM_NODES": "2"}
    slurm |= {"SLURM_CPUS_PER_TASK": "1", "RAY_raylet_start_wait_time_s": "300", "PYTHONPATH": str(ROOT)}
    environment = os.environ | slurm | {"PATH": f"{programs}:{os.environ['PATH']}"}
    command = ["bash", str(ROOT / "deploy" / "slurm.sh"), "tiny.py", "--out", "shared", "--trials", "4"]
    job = subprocess.Popen(
        command, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        until(lambda: len({node for node, *_ in told(here)}) == 2, job)
        (here / "go").touch()
        out = ""
        assert job.stdout is not None
        for line in job.stdout:
            out += line
            if line.startswith("next: "):
                break
        assert job.wait(timeout=60) == 0, out
        assert "4 jobs to run, 2 at a time" in out
        assert len({node for node, *_ in told(here)}) == 2
        assert [record.status for record in read_records(here / "shared")] == ["done"] * 4
    finally:
        if job.stdout is not None:
            job.stdout.close()
        kill_session(job.pid)  # as SLURM ends what its job left running
        shutil.rmtree(f"/tmp/ray-{number}", ignore_errors=True)
