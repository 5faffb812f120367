"""The index of a search: an Optuna study on disk that holds one trial for each finished job.

The records are the truth. The index only repeats them, so that Optuna's own tools can show a search: what a killed
driver had not written yet, the next one writes from the records. It is written in batches, and others may lock it or
take it away for a while.
"""

import contextlib
import datetime
import logging
import math
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from sweep.search.protocol import FOR_A_TARGET
from sweep.search.shown import MEANINGS
from sweep.search.tables import Writer, writer_of
from sweep.search.trials import JobTrials
from sweep.store.files import StoreError, kind_of
from sweep.store.job import Job
from sweep.store.record import Done, Record

SECONDS_BETWEEN_WRITES = 1.0
PAUSES = 10  # times what the last write took, or what it waited for a lock in vain
PATIENCE = 60.0  # seconds: for another's lock, for a server that is started again, for space on the disk
PAUSE = 0.5
PASSES = ("locked", "is full", "I/O error")
"""What SQLite says of a file that another process holds, or of a disk: it may pass."""
STAYS = ("does not exist", "authentication", "password", "translate host", "resolve host", "Name or service not known")
"""What a server's client says where waiting does not help."""

_log = logging.getLogger(__name__)

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
    url: str,
    *,
    study: str,
    search: str,
    target: Mapping[str, float | str],
    space: str,
    objectives: Sequence[str] = ("error", "bytes"),
    check: Callable[[], None] = lambda: None,
) -> Index:
    """The index of a search over the space of hash `space`. It is made where it is missing.

    A search for a target minimises bytes under a constraint. Another one minimises the `objectives`, of which the first
    are the validation error and the bytes.

    A storage that another process holds, or a server that is started again, is waited for, as in a run (`PATIENCE`).
    `check` is called in each transaction that adds trials, which are not added where it raises.

    Raises:
        StoreError: the storage cannot be opened, or is not Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    aimed = search in FOR_A_TARGET
    goal = "".join(f" {name} {value}" for name, value in target.items()) if aimed else ""
    goal += " with MACs" if "macs" in objectives else ""
    names = [MEANINGS[objective] for objective in ((str(target.get("by", "bytes")),) if aimed else objectives)]
    directions = [StudyDirection.MINIMIZE] * len(names)

    # A server's connections are closed after each transaction: it may be started again between two of them.
    kept: dict[str, Any] = {} if url.startswith("sqlite") else {"poolclass": sqlalchemy.NullPool}

    def open_both() -> tuple[optuna.storages.RDBStorage, optuna.Study]:
        storage = optuna.storages.RDBStorage(url, engine_kwargs=kept)
        name = f"{study} {search}{goal} {space}"
        index = optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)
        if index.metric_names != names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                index.set_metric_names(names)
        return storage, index

    _expect_regular(url)
    try:
        storage, index = patiently(open_both, passes=_passes)
    except Exception as error:  # SQLAlchemy's, Optuna's, Alembic's and the driver's own
        if _passes(_cause(error)):
            raise _unusable(url, _cause(error)) from error
        reason = " ".join(str(error).split("\n")[0].split())
        raise StoreError(
            f"{without_password(url)}: expected a storage that Optuna can open (such as sqlite:///study.db), "
            f"got {_hidden(reason, url)}; move it away or name another with --storage"
        ) from error
    return Index(index, writer_of(index, storage, check))


def _expect_regular(url: str) -> None:
    """StoreError where SQLite's file is of another kind: it is not waited for, as a locked one is."""
    with contextlib.suppress(ArgumentError):  # opening it says what is wrong with the URL
        where = sqlalchemy.make_url(url)
        path = Path(where.database or "")
        if where.get_backend_name() == "sqlite" and where.database and path.exists() and not path.is_file():
            raise StoreError(f"{path}: expected a regular file, got {kind_of(path)}; remove it")


def _may_pass(cause: BaseException) -> bool:
    """Whether a storage that was open may be used again after this error."""
    return isinstance(cause, OperationalError) and "readonly" not in str(cause)


def _passes(cause: BaseException) -> bool:
    """Whether a storage may be opened some time after this error. A file that is not there, say, stays so."""
    if not isinstance(cause, OperationalError):
        return False
    if isinstance(cause.orig, sqlite3.Error):
        return any(words in str(cause.orig) for words in PASSES)
    return not any(words in str(cause.orig) for words in STAYS)


def patiently(call: Callable[[], T], *, passes: Callable[[BaseException], bool] = _may_pass) -> T:
    """What `call` returns. While the storage is locked or out of reach it is called again, for `PATIENCE` seconds.

    `call` must be one transaction, which leaves nothing behind when it fails, or safe to repeat. `passes` says of an
    error whether waiting may help.
    """
    end, said = time.monotonic() + PATIENCE, False
    while True:
        try:
            return call()
        except (OperationalError, StorageInternalError) as error:
            cause = _cause(error)
            if not passes(cause) or time.monotonic() > end:
                raise
            if not said:
                _log.warning("waiting up to %g s for the search's index (%s)", PATIENCE, _reason(cause))
                said = True
            time.sleep(PAUSE)


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns the errors of a storage that stays out of reach into a StoreError of one line."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise _unusable(url, _cause(error)) from error


def _unusable(url: str, cause: BaseException) -> StoreError:
    """The error, in a line, of a storage that cannot be used for now, or never again."""
    damaged = not isinstance(cause, OperationalError | StorageInternalError) or "no such table" in str(cause)
    what_next = "the same command goes on once it can"
    if damaged and url.startswith("sqlite"):
        what_next = "move it away, and the same command makes it again from the records"
    reason = _hidden(_reason(cause), url)
    return StoreError(
        f"{without_password(url)}: the search's index cannot be used ({reason}); no result is lost: {what_next}"
    )


def _reason(cause: BaseException) -> str:
    return " ".join(str(getattr(cause, "orig", cause)).split())


def without_password(url: str) -> str:
    """`url` as it may be shown to the user."""
    try:
        made = sqlalchemy.make_url(url)
        hidden = made.update_query_dict({name: "hidden" for name in made.query if "password" in name})
        return hidden.render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:  # not a URL
        return re.sub(r":[^:/@]+@", ":***@", url)


def _hidden(text: str, url: str) -> str:
    """`text` without the password of `url`."""
    with contextlib.suppress(sqlalchemy.exc.ArgumentError):
        made = sqlalchemy.make_url(url)
        options = (value for name, values in made.normalized_query.items() if "password" in name for value in values)
        for secret in filter(None, (made.password, *options)):
            text = text.replace(str(secret), "***")
    return text.replace(url, without_password(url))


def _cause(error: Exception) -> BaseException:
    """The error that Optuna wrapped."""
    return error.__cause__ or error if isinstance(error, StorageInternalError) else error
