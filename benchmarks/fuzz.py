"""Opens files that were changed at random: each is accepted, or refused in one line. Anything else is a defect.

    python benchmarks/fuzz.py [--count 10000] [--only KIND...] [--seed 0] [--json]

A kind is record, pick, sweep, lcz or onnx. Each file is opened by the commands that read it, in a process whose memory
is bounded to MEMORY bytes more than it has before, within SECONDS of the processor. A crash, a hang, a traceback, an
error of several lines and a control character on the terminal count as "anything else", which must be 0.
"""

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import mutations
from sweep.cli import app
from sweep.job.compress import run_job
from sweep.pick.picking import pick_model
from sweep.prepare.options import Options
from sweep.prepare.prepared import prepare
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.printable import has_control

COUNT = 10_000
MEMORY = 3 << 30
SECONDS = 30
"""Of the processor, for a file; and twenty times as long on the clock, for a process that waits."""
TABLES, FIGURES = 10, 200
"""One file in so many is put in a table too; one in so many is drawn in figures, or measured, which takes seconds."""
RUN = Path("runs/small")
ACCEPTED, REFUSED, ELSE = "accepted", "refused in one line", "anything else"

STUDY = """
import torch
from torch import nn

from lc_core import Chain, Codebook, L0Pruning, LowRank, Recipe, Schedule
from sweep.study import Data, Family, Split, Study, Target


def load_data():
    inputs = torch.randn(120, 8, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :3].argmax(dim=1)
    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in torch.arange(120).split(40)))


def both(configuration):
    return {"0": Chain(L0Pruning(keep=0.3), Codebook(size=configuration["size"])), "2": LowRank(rank=2)}


study = Study(
    name="small",
    build_model=lambda: nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)),
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=5, lr=0.1, batch_size=20),
    schedule=Schedule(epochs=1, lr=0.1, batch_size=20),
    families=(Family("both", {"size": (4, 3, 2)}, both),),
    target=Target(max_drop=0.5),
)
"""


def make_sweep(folder: Path) -> None:
    """A sweep of three jobs in `folder`, one of them picked and exported as model.onnx."""
    Path(folder, "small.py").write_text(STUDY)
    options = Options(f"{folder}/small.py", str(folder), out=folder / RUN, method="dc", confirm=0)
    sweep = prepare(options, say=lambda _: None)
    for entry in sweep.entries:
        for job in entry.jobs:
            run_job(job, sweep.context, report=lambda _: None)
    target = read_manifest(folder / RUN).target
    pick_model(folder / RUN, target=target, by="bytes", user_folder=str(folder))
    with contextlib.chdir(folder):
        assert _said("export", RUN, "--format", "onnx", "--out", "model.onnx", "--study", "small.py")[0] == 0


class Opened(Exception):
    """How a file was opened; the text says more where it was neither accepted nor refused."""

    def __init__(self, outcome: str, words: str = "") -> None:
        super().__init__(outcome, words)
        self.outcome, self.words = outcome, words


def _said(*arguments: object) -> tuple[int, str, str]:
    """The command's exit code, output and errors."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.main([str(argument) for argument in arguments])
    return code, out.getvalue(), err.getvalue()


def _check(*arguments: object) -> None:
    """Runs a command. Raises Opened unless it accepts the file."""
    code, out, err = _said(*arguments)
    if has_control((out + err).replace("\n", "")):
        raise Opened(ELSE, f"{arguments[0]}: control characters: {(out + err)!r:.300}")
    if code in (0, 4):
        return
    if code in (1, 2, 5) and not out and err.count("\n") == 1 and len(err) < 2100:
        raise Opened(REFUSED, err)
    raise Opened(ELSE, f"{arguments[0]}: exit code {code}: {out!r:.100} {err!r:.300}")


def _open(kind: str, *, tabled: bool, drawn: bool) -> None:
    """Opens the file of this kind, as commands do; in a table and in figures where that is asked for."""
    match kind:
        case "record" | "sweep":
            _check("status", RUN)
            if tabled:
                _check("report", RUN, "--format", "csv")
            if drawn:
                _check("report", RUN)
                _check("compare", RUN, RUN)
        case "pick":
            _check("status", RUN)
            _check("status", RUN, "--json")
            Path("exported.lcz").unlink(missing_ok=True)
            _check("export", RUN, "--out", "exported.lcz")
            if drawn:
                _check("report", RUN)
        case "lcz":
            _check("verify", "fuzzed.lcz")
        case "onnx":
            _check("verify", "fuzzed.onnx")
            if drawn:
                _check("bench", "fuzzed.onnx", "--rounds", "1")


def opened(kind: str, *, tabled: bool = True, drawn: bool = False) -> tuple[str, str]:
    """How the file of this kind was opened, and more words where it was not accepted."""
    try:
        _open(kind, tabled=tabled, drawn=drawn)
    except Opened as found:
        return found.outcome, found.words
    except BaseException:  # what the user would see as a traceback
        return ELSE, traceback.format_exc()[-2000:]
    return ACCEPTED, ""


def paths(folder: SweepFolder) -> dict[str, tuple[Path, Path, mutations.Mutation]]:
    """Kind -> the whole file, where the changed one is put, and how it is changed."""
    job = min(path.name for path in folder.artifacts.iterdir())
    return {
        "record": (folder.record(job), folder.record(job), mutations.of_json),
        "pick": (folder.pick, folder.pick, mutations.of_json),
        "sweep": (folder.manifest, folder.manifest, mutations.of_json),
        "lcz": (folder.artifact(job), Path("fuzzed.lcz"), mutations.of_packed),
        "onnx": (Path("model.onnx"), Path("fuzzed.onnx"), mutations.of_onnx),
    }


def _work(kind: str, original: bytes, first: int, count: int, seed: int, send: Connection) -> None:
    """In a process of its own: opens the files from number `first` on, and sends what became of each."""
    _, put, mutate = paths(SweepFolder(RUN))[kind]
    with Path("written").open("w+b", buffering=0) as written:
        for number in (1, 2):
            os.dup2(written.fileno(), number)
    put.write_bytes(original)
    opened(kind, drawn=True)  # imports what the commands need, so that the bound on memory counts what a file takes
    os.ftruncate(1, 0)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in range(first, count):
        put.write_bytes(mutate(original, random.Random(f"{kind} {seed} {number}")))
        send.send((number, None, ""))
        outcome, words = opened(kind, tabled=number % TABLES == 0, drawn=number % FIGURES == 0)
        if size := os.fstat(1).st_size:  # what a library wrote past Python
            outcome, words = ELSE, f"{words} {size} bytes by a library: {os.pread(1, 300, 0)!r}"
            os.ftruncate(1, 0)
        send.send((number, outcome, words))
    put.write_bytes(original)


def fuzz(kind: str, *, count: int, seed: int, say: Callable[[str], None]) -> Counter[str]:
    """Opens `count` changed files of a kind in the current folder; how many came to what. `say` hears of defects."""
    found: Counter[str] = Counter()
    original = paths(SweepFolder(RUN))[kind][0].read_bytes()  # in its place a crash leaves a changed file
    next_one = 0
    while next_one < count:
        for number, outcome, words in _heard(kind, original, next_one, count, seed):
            found[outcome] += 1
            next_one = number + 1
            if outcome == ELSE:
                say(f"{kind} {number}: {words}")
    return found


def _heard(kind: str, original: bytes, first: int, count: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """What a process says of its files, until it has opened all, crashes or hangs."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_work, args=(kind, original, first, count, seed, send))
    process.start()
    send.close()
    begun, end, most = first, math.inf, math.inf
    try:
        while _processor_seconds(process.pid) < most and time.monotonic() < end:
            if not receive.poll(1):
                continue
            number, outcome, words = receive.recv()
            begun, end, most = number, time.monotonic() + 20 * SECONDS, _processor_seconds(process.pid) + SECONDS
            if outcome is not None:
                yield number, outcome, words
                begun = number + 1
        yield begun, ELSE, f"it took more than {SECONDS} s"
    except EOFError:
        process.join()
        if begun < count:
            yield begun, ELSE, f"the process ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()


def _processor_seconds(process: int | None) -> float:
    """What the process has used of the processor; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


KINDS = ("record", "pick", "sweep", "lcz", "onnx")


def main() -> int:
    """Prints a line of counts for each kind; 1 where there is anything else."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=COUNT, help="files of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, metavar="KIND")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()
    counts = {}
    with tempfile.TemporaryDirectory() as name:
        make_sweep(Path(name))
        for kind in given.only:
            folder = Path(name, kind)
            shutil.copytree(Path(name, "runs"), folder / "runs")
            shutil.copy(Path(name, "model.onnx"), folder)
            started = time.monotonic()
            with contextlib.chdir(folder):
                counts[kind] = fuzz(
                    kind, count=given.count, seed=given.seed, say=lambda words: print(words, file=sys.stderr)
                )
            if not given.json:
                each = ", ".join(f"{counts[kind][outcome]:,} {outcome}" for outcome in (ACCEPTED, REFUSED, ELSE))
                print(f"{kind}: {each}; {time.monotonic() - started:.0f} s", flush=True)
    if given.json:
        print(json.dumps({kind: dict(found) for kind, found in counts.items()}))
    return int(any(found[ELSE] for found in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
