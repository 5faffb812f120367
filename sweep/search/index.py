"""The index of a search: an Optuna study on disk that holds one trial for each finished job.

The records are the truth. The index only repeats them, so that Optuna's own tools can show a search: what a killed
driver had not written yet, the next one writes from the records. It is written in batches, and others may lock it or
take it away for a while.
"""

import contextlib
import datetime
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from sweep.search.protocol import FOR_A_TARGET
from sweep.search.tables import Writer, writer_of
from sweep.search.trials import JobTrials
from sweep.store.files import StoreError
from sweep.store.job import Job
from sweep.store.record import Done, Record

SECONDS_BETWEEN_WRITES = 1.0
PAUSES = 10  # times what the last write took, or what it waited for a lock in vain
PATIENCE = 60.0  # seconds: for another's lock, for a server that is started again, for space on the disk
PAUSE = 0.5

T = TypeVar("T")


class Index:
    """A study on disk whose finished trials are added in batches. Only one process writes to it.

    Args:
        study: the study.
        writer: adds trials to it.
    """

    def __init__(self, study: optuna.Study, writer: Writer) -> None:
        self.study = study
        self._writer = writer
        self._waiting: list[FrozenTrial] = []
        self._due = -math.inf

    def jobs(self) -> set[str]:
        """The jobs whose trials are complete. Trials that something else left running are closed as failed."""
        for number in patiently(self._writer.running):
            self.study.tell(number, state=TrialState.FAIL)
        return patiently(self._writer.done_jobs)

    def add(self, trial: FrozenTrial) -> None:
        """Writes `trial` now or with the next batch. A storage that is locked or out of reach is not waited for."""
        self._waiting.append(trial)
        started = time.monotonic()
        if started >= self._due:
            with contextlib.suppress(SQLAlchemyError, StorageInternalError):  # it is written later, or at the end
                self._write()
            ended = time.monotonic()
            self._due = ended + max(SECONDS_BETWEEN_WRITES, PAUSES * (ended - started))

    def write(self) -> None:
        """Writes what waits. Where the storage is locked or out of reach it tries again for a while (`patiently`)."""
        patiently(self._write)

    def _write(self) -> None:
        while self._waiting:
            batch = self._waiting[: self._writer.at_once]
            self._writer.add(batch)
            del self._waiting[: len(batch)]


@dataclass(frozen=True)
class Listener:
    """Listens to what a search is told, and adds it to the index.

    Attributes:
        index: of the search.
        trials: makes the trials of its jobs.
    """

    index: Index
    trials: JobTrials

    def harvest(self, known: Sequence[Done]) -> None:
        """Adds the records that are known before the search begins and not in the index yet."""
        indexed = self.index.jobs()
        for record in known:
            if record.id not in indexed:
                self.index.add(self.trials.trial(record.job, record))
        self.index.write()

    def tell(self, job: Job, record: Record | None, *, since: datetime.datetime) -> None:
        """Adds what became of a job that started at `since`; None stands for a job that was lost."""
        self.index.add(self.trials.trial(job, record, since=since))


def index_url(path: Path) -> str:
    """The URL of the SQLite file `path`, whatever characters its name has."""
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()


def open_index(
    url: str, *, study: str, search: str, target: Mapping[str, float], space: str, objectives: int = 2
) -> Index:
    """The index of a search over the space of hash `space`. It is made where it is missing.

    A search for a target minimises bytes under a constraint. Another one minimises as many `objectives`, the first of
    which are the validation error and the bytes.

    Raises:
        StoreError: the storage cannot be opened, or is not Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    aimed = search in FOR_A_TARGET
    goal = "".join(f" {name} {value}" for name, value in target.items()) if aimed else ""
    goal += " with MACs" if objectives == 3 else ""
    directions = [StudyDirection.MINIMIZE] * (1 if aimed else objectives)
    try:
        storage = optuna.storages.RDBStorage(url)
        index = optuna.create_study(
            storage=storage, study_name=f"{study} {search}{goal} {space}", directions=directions, load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy's, Optuna's, Alembic's and the driver's own
        reason = " ".join(str(error).split("\n")[0].split())
        raise StoreError(
            f"{without_password(url)}: expected a storage that Optuna can open (such as sqlite:///study.db), "
            f"got {_hidden(reason, url)}; move it away or name another with --storage"
        ) from error
    return Index(index, writer_of(index, storage))


def patiently(call: Callable[[], T]) -> T:
    """What `call` returns. While the storage is locked or out of reach it is called again, for `PATIENCE` seconds.

    `call` must be one transaction, which leaves nothing behind when it fails, or safe to repeat.
    """
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except (OperationalError, StorageInternalError) as error:
            cause = _cause(error)
            if not isinstance(cause, OperationalError) or "readonly" in str(cause) or time.monotonic() > end:
                raise
            time.sleep(PAUSE)


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns the errors of a storage that stays out of reach into a StoreError of one line."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = _cause(error)
        reason = " ".join(str(getattr(cause, "orig", cause)).split())
        raise StoreError(
            f"{without_password(url)}: the search's index cannot be used ({_hidden(reason, url)}); no result is lost: "
            "the same command goes on once it can"
        ) from error


def without_password(url: str) -> str:
    """`url` as it may be shown to the user."""
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:  # not a URL
        return re.sub(r":[^:/@]+@", ":***@", url)


def _hidden(text: str, url: str) -> str:
    """`text` without the password of `url`."""
    with contextlib.suppress(sqlalchemy.exc.ArgumentError):
        if password := sqlalchemy.make_url(url).password:
            return text.replace(str(password), "***")
    return text.replace(url, without_password(url))


def _cause(error: Exception) -> BaseException:
    """The error that Optuna wrapped."""
    return error.__cause__ or error if isinstance(error, StorageInternalError) else error
