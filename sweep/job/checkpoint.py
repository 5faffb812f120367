"""A job's checkpoint: its state after an LC step. When the job starts again, it continues from it, bit for bit.

Each job has one file, which the next checkpoint replaces: a line of JSON that says which job it belongs to, then what
torch saved. It is loaded with an allow-list of classes, so that a file never decides which code runs.
"""

import hashlib
import io
import json
import logging
import pickle
import random
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lc_core.algorithm import State
from lc_core.methods.method import parts
from lc_core.task import CompressionTask
from sweep.store.fields import from_json, to_json
from sweep.store.record import Score

SECONDS = 2.0  # the least time between two checkpoints
SHARE = 20  # and at least so many times what the last one took to write: they take a twentieth of the time at most
UNUSABLE = (OSError, pickle.PickleError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A job after an LC step.

    Attributes:
        state: of the LC run.
        steps: the rows of diagnostics.json so far.
        measured: what the model scored after each measured step so far.
        draws: the states of the process's random number generators; a model's random layers and a study draw from them.
    """

    state: State
    steps: list[dict[str, Any]]
    measured: list[Score]
    draws: dict[str, Any]

    @staticmethod
    def of(state: State, steps: list[dict[str, Any]], measured: list[Score]) -> "Checkpoint":
        """The checkpoint of a job in this process, with its random states."""
        numpy: Any = np.random.get_state()  # noqa: NPY002
        plain = (numpy[0], numpy[1].tolist(), *numpy[2:])
        draws = {"torch": torch.get_rng_state(), "numpy": plain, "python": random.getstate()}
        device = next(iter(state.weights.values())).device
        if device.type == "cuda":
            draws["cuda"] = torch.cuda.get_rng_state(device)
        return Checkpoint(state, steps, measured, draws)

    def draw_on(self) -> None:
        """Sets this process's random states to those of the checkpoint."""
        torch.set_rng_state(self.draws["torch"])
        np.random.set_state(self.draws["numpy"])  # noqa: NPY002
        random.setstate(self.draws["python"])
        if "cuda" in self.draws:
            torch.cuda.set_rng_state(self.draws["cuda"])


class Checkpoints:
    """The last checkpoint of one job, in one file.

    Args:
        path: of the file; its folder is created.
        identity: JSON data that a file must have to be this job's.
        tasks: the tasks whose Thetas the states hold.
    """

    def __init__(self, path: Path, *, identity: Mapping[str, Any], tasks: Sequence[CompressionTask]) -> None:
        self._path, self._identity, self._tasks = path, dict(identity), tasks
        self._due = time.monotonic() + SECONDS

    def last(self) -> Checkpoint | None:
        """The checkpoint to go on from; None where there is none, or the file is damaged or another job's."""
        if not self._path.is_file():
            return None
        try:
            line, _, content = self._path.read_bytes().partition(b"\n")
            header = json.loads(line)
            identity = {name: header[name] for name in self._identity}
            if identity != self._identity or header["sha256"] != hashlib.sha256(content).hexdigest():
                raise ValueError("it is damaged, or belongs to another job, plan or version")
            with torch.serialization.safe_globals(_classes(self._tasks)):
                found = torch.load(io.BytesIO(content), weights_only=True)
            return Checkpoint(**found | {"measured": [from_json(Score, each) for each in found["measured"]]})
        except FileNotFoundError:
            return None
        except UNUSABLE as error:
            _log.warning("%s: checkpoint ignored, the job starts again from the beginning: %s", self._path, error)
            return None

    def offer(self, state: State, steps: list[dict[str, Any]], measured: list[Score]) -> None:
        """Writes a checkpoint if one is due. Where it cannot be written, the job goes on without it."""
        started = time.monotonic()
        if started < self._due or not 0 < state.step < state.steps:
            return
        try:
            self._write(Checkpoint.of(state, steps, measured))
        except UNUSABLE as error:  # a full disk, or a Theta of the user's that cannot be pickled
            _log.warning("%s: checkpoint not written: %s", self._path, error)
        ended = time.monotonic()
        self._due = ended + max(SECONDS, SHARE * (ended - started))

    def _write(self, checkpoint: Checkpoint) -> None:
        """Writes beside the file, then renames. No flush to the disk is needed: a killed process loses nothing."""
        content = io.BytesIO()
        measured = [to_json(score) for score in checkpoint.measured]  # torch loads plain data, and classes of lc_core
        torch.save(vars(checkpoint) | {"measured": measured}, content)
        sha256 = hashlib.sha256(content.getbuffer()).hexdigest()
        header = self._identity | {"step": checkpoint.state.step, "sha256": sha256}
        self._path.parent.mkdir(exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex[:8]}")
        try:
            with beside.open("wb") as file:
                file.write(json.dumps(header).encode() + b"\n")
                file.write(content.getbuffer())
            beside.replace(self._path)
        finally:
            beside.unlink(missing_ok=True)


def _classes(tasks: Sequence[CompressionTask]) -> list[Any]:
    """The classes a file may hold: the dataclasses of lc_core, and those of the modules of the tasks' compressions."""
    homes = {type(part).__module__ for task in tasks for part in parts(task.compression)}
    known = [module for name, module in list(sys.modules.items()) if name in homes or name.startswith("lc_core.")]
    found = [each for module in known for each in vars(module).values()]
    return [each for each in found if isinstance(each, type) and is_dataclass(each)]
