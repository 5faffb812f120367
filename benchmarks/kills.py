"""Kills processes of lcsweep at random moments, and counts what that cost: jobs lost, jobs run twice, numbers changed.

A run's driver, its workers and Ray's own processes are killed (SIGKILL) in a grid, in a search for the smallest with
one worker, and while the reference is trained; `report`, `pick` and `export` are killed too. The same command is given
again after each kill, until all is done. Then the folder is compared with that of the same commands without a kill: a
row holds when no job is lost, none that was done has been run again, and no number, file or name differs.

    python benchmarks/kills.py --kills 200
"""

import contextlib
import dataclasses
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from killed_study import STUDY
from processes import BUSY, of_kind
from rows import Row, options, speak
from sweep.execution.ray_processes import tree
from sweep.store.folder import SweepFolder
from sweep.store.record import Record
from sweep.store.records import read_records

LCSWEEP = [sys.executable, "-c", "import sys; from sweep.cli import main; sys.exit(main())"]
RUN = ("run", "killed.py", "--out", "out")
COMMANDS = {
    "grid": (*RUN, "--workers", "2", "--repeats", "2"),
    "smallest": (*RUN, "--workers", "1", "--search", "smallest", "--max-drop", "0.05", "--confirm", "1"),
    "reference": (*RUN, "--workers", "1", "--trials", "1"),
    "report": ("report", "out"),
    "pick": ("pick", "out", "--max-drop", "50%", "--study", "killed.py"),
    "export": ("export", "out", "--out", "model.lcz", "--study", "killed.py"),
}
SHARES = {"grid": 0.45, "smallest": 0.2, "reference": 0.1, "report": 0.08, "pick": 0.08, "export": 0.09}
RAYS = ("dashboard agent", "runtime environment agent", "raylet", "gcs_server")
MOST_WORKERS = 4
"""Workers that are killed in a run, before another process, which ends it."""
CHANGES = {"seconds", "finished"}  # fields of a record that differ from run to run


@dataclass
class Count:
    """What was counted in a phase.

    Attributes:
        killed: kills by kind of process.
        lost: jobs without a done record at the end.
        twice: jobs that were started again when they had a done record.
        changed: records, files and names that are not as without a kill.
        hung: runs that did not end within two minutes after a kill.
        silent: runs that ended after one of Ray's processes was killed, and printed no line.
    """

    killed: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    twice: int = 0
    changed: int = 0
    hung: int = 0
    silent: int = 0

    def row(self, phase: str) -> Row:
        faults = self.lost + self.twice + self.changed + self.hung + self.silent
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.killed.items()))
        note = (
            f"{kinds}; {self.lost} jobs lost, {self.twice} run twice, {self.changed} changed, {self.hung} hung, "
            f"{self.silent} silent"
        )
        return Row(f"killed-{phase}", faults, self.killed.total(), faults, 0.0, faults == 0, "faults", note=note)


class Folder:
    """A folder with the study, in which commands are given."""

    def __init__(self, path: Path, temporary: Path) -> None:
        self.path, self.temporary = path, temporary
        self.out = SweepFolder(path / "out")
        path.mkdir(exist_ok=True)
        (path / "killed.py").write_text(STUDY)

    @contextlib.contextmanager
    def command(self, phase: str) -> Iterator[subprocess.Popen[bytes]]:
        """The command of a phase, and the end of what it has left when the block ends."""
        with (self.path / "said").open("wb") as said:
            process = subprocess.Popen(
                [*LCSWEEP, *COMMANDS[phase]], cwd=self.path, stdout=said, stderr=said, start_new_session=True,
                env=os.environ | BUSY | {"TMPDIR": str(self.temporary)},
            )  # fmt: skip
        try:
            yield process
        finally:
            for pid in tree(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def said(self) -> str:
        """What the last command printed."""
        return (self.path / "said").read_text()

    def complete(self, phase: str) -> None:
        """Gives the command until it has done all its work."""
        with self.command(phase) as process:
            code = process.wait(timeout=900)
        if code:
            raise RuntimeError(f"{phase} ended with exit code {code}: {self.said()}")

    def twice(self) -> int:
        """Jobs that were started again when they had a done record."""
        trace = self.path / "trace"
        starts = [line.split() for line in trace.read_text().splitlines()] if trace.exists() else []
        done = {record.id: self.out.record(record.id).stat().st_mtime for record in read_records(self.out.root)}
        return len({job for at, job in starts if job in done and float(at) > done[job]})

    def records(self) -> dict[str, Record]:
        """The records without times."""
        blank = {"seconds": None, "finished": ""}
        return {record.id: dataclasses.replace(record, **blank) for record in read_records(self.out.root)}  # type: ignore[arg-type]

    def numbers(self) -> dict[str, str]:
        """Each file of results and its hash; of a file that states a time or the folder, its name alone."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and not name.startswith(("out/logs/", "__pycache__/", "said", "trace")):
                exact = path.suffix == ".lcz" or path.name == "diagnostics.json"
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if exact else ""
        return found


def kill(pid: int) -> bool:
    """Whether it was there to kill."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_runs(phase: str, kills: int, whole: Folder, *, places: Iterator[Folder], draw: random.Random) -> Count:
    """Kills runs of `phase` so often, in one folder after the other, each until its work is done."""
    count = Count()
    while count.killed.total() < kills:
        place = next(places)
        ended = False
        while not ended and count.killed.total() < kills:
            ended = kill_a_run(phase, place, count, draw)
        if not ended:  # where --trials was given, the same command would start more
            place.complete(phase)
        compare(place, whole, count)
    return count


def kill_a_run(phase: str, place: Folder, count: Count, draw: random.Random) -> bool:
    """Starts a run, and kills workers of it and then the driver or a process of Ray's; whether it ended before that."""
    victims = ["driver"]
    if phase != "reference":
        victims = ["worker"] * draw.randint(0, MOST_WORKERS) + [draw.choice(("driver", *RAYS))]
    with place.command(phase) as process:
        for kind in victims:
            victim = wait_for(kind, process, place, draw)
            if victim is None or not kill(victim):
                break
            count.killed[kind] += 1
            print(f"{phase}: {kind}", file=sys.stderr, flush=True)
        else:
            try:
                process.wait(timeout=600)
            except subprocess.TimeoutExpired:
                count.hung += 1
            if kind in RAYS and process.returncode not in (None, 0) and "lcsweep: " not in place.said():
                count.silent += 1
            return False
        if process.wait(timeout=600):
            raise RuntimeError(f"{phase} ended with exit code {process.returncode}: {place.said()}")
        return True


def wait_for(kind: str, process: subprocess.Popen[bytes], place: Folder, draw: random.Random) -> int | None:
    """A process of that kind at a random moment: soon after it began, or when more jobs are done; None without a run.

    A worker dies only when more jobs are done: a job whose workers die three times in a run has failed.
    """
    training = kind == "driver" and not place.out.reference.exists()
    more = 0 if training or (kind != "worker" and draw.random() < 0.3) else draw.randint(2, 4)
    wanted, seconds = done(place) + more, draw.uniform(0, 1 if training or more else 4)
    waited = False
    while process.poll() is None:
        found = [process.pid] if kind == "driver" else of_kind(kind, below=process.pid)
        if found and done(place) >= wanted and (not training or "training the reference" in place.said()):
            if waited:
                return draw.choice(found)
            time.sleep(seconds)
            waited = True
        time.sleep(0.05)
    return None


def done(place: Folder) -> int:
    """How many jobs have a record."""
    return len(list(place.out.artifacts.glob("*/record.json")))


def kill_commands(phase: str, kills: int, whole: Folder, *, place: Folder, draw: random.Random) -> Count:
    """Kills a command that reads a sweep so often, then gives it once more."""
    count = Count()
    start = time.monotonic()
    whole.complete(phase)
    took = time.monotonic() - start
    while count.killed.total() < kills:
        with place.command(phase) as process:
            time.sleep(draw.uniform(0.2, 1.0) * took)
            count.killed["command"] += process.poll() is None and kill(process.pid)
        if phase == "export":
            (place.path / "model.lcz").unlink(missing_ok=True)  # which it would not overwrite
    place.complete(phase)
    compare(place, whole, count)
    return count


def compare(place: Folder, whole: Folder, count: Count) -> None:
    """Counts what is not as in the folder without a kill."""
    ours, theirs = place.records(), whole.records()
    count.lost += sum(job not in ours or ours[job].status != "done" for job in theirs)
    count.changed += sum(ours[job] != theirs[job] for job in ours.keys() & theirs.keys())
    count.changed += len(ours.keys() - theirs.keys())
    count.changed += len(set(place.numbers().items()) ^ set(whole.numbers().items()))
    count.twice += place.twice()


def rows(phases: list[str], kills: int, seed: int) -> Iterator[Row]:
    """A row for each phase."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as parent, tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as temporary:
        read: Folder | None = None  # the folder of a finished sweep, for the commands that read one
        for phase in phases:
            wanted = max(1, round(kills * SHARES[phase]))
            base = Path(parent, phase)
            base.mkdir()
            if phase in ("grid", "smallest", "reference"):
                whole = Folder(base / "whole", Path(temporary))
                whole.complete(phase)
                places = (Folder(base / str(number), Path(temporary)) for number in range(wanted))
                yield kill_runs(phase, wanted, whole, places=places, draw=draw).row(phase)
                continue
            if read is None:
                read = Folder(Path(parent, "read"), Path(temporary))
                read.complete("smallest")
            if phase == "export":
                read.complete("pick")
            pair = [
                Folder(Path(shutil.copytree(read.path, base / name)), Path(temporary)) for name in ("whole", "killed")
            ]
            yield kill_commands(phase, wanted, pair[0], place=pair[1], draw=draw).row(phase)


if __name__ == "__main__":
    parser = options(__doc__ or "", names=[f"killed-{phase}" for phase in COMMANDS])
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="in all, of all rows; by default 200")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the moments and the processes")
    given = parser.parse_args()
    speak(rows([name.removeprefix("killed-") for name in given.only], given.kills, given.seed), as_json=given.json)
