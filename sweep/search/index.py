"""Optuna's study of a search on disk, written behind the records.

The records are the truth, and the index only says them again: what a killed driver had not written yet, the next one
writes from the records. Through Optuna's own calls a trial costs 10 to 40 ms of the driver, most of it SQLAlchemy's,
in as many transactions as it has facts; here a batch is one transaction, in Optuna's own tables.
"""

import contextlib
import datetime
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from sweep.search.storage import patiently

Row = dict[str, Any]
SECONDS_BETWEEN_WRITES = 1.0
PAUSES = 10  # times what the last write took, or what it waited for a lock in vain
AT_ONCE = 1000  # trials in a transaction


class Index:
    """A study whose finished trials are added in batches. Only one process writes to it.

    Args:
        study: in an RDBStorage.
        storage: that one.
    """

    def __init__(self, study: optuna.Study, storage: optuna.storages.RDBStorage) -> None:
        self.study = study
        self._storage = storage
        self._waiting: list[FrozenTrial] = []
        self._json: dict[str, str] = {}  # of a parameter's distribution
        self._due = -math.inf

    def jobs(self) -> set[str]:
        """The jobs whose trials are complete. Trials that something else left running are closed."""
        return patiently(self._jobs)

    def _jobs(self) -> set[str]:
        ours = models.TrialModel.study_id == self.study._study_id
        job = select(models.TrialUserAttributeModel.value_json).join(models.TrialModel).where(ours)
        complete = job.where(
            models.TrialModel.state == TrialState.COMPLETE, models.TrialUserAttributeModel.key == "job"
        )
        with Session(self._storage.engine) as session:
            running = select(models.TrialModel.number).where(ours, models.TrialModel.state == TrialState.RUNNING)
            left = session.scalars(running).all()
            found = {json.loads(text) for text in session.scalars(complete)}
        for number in left:
            self.study.tell(number, state=TrialState.FAIL)
        return found

    def add(self, trial: FrozenTrial) -> None:
        """Has `trial` written, now or with the next batch; a storage that is briefly gone holds little up."""
        self._waiting.append(trial)
        started = time.monotonic()
        if started >= self._due:
            with contextlib.suppress(SQLAlchemyError):  # what waits is written later, at the latest at the end
                self._write()
            ended = time.monotonic()
            self._due = ended + max(SECONDS_BETWEEN_WRITES, PAUSES * (ended - started))

    def write(self) -> None:
        """Writes what waits, and waits itself for a storage that is locked or briefly gone (`storage.patiently`)."""
        patiently(self._write)

    def _write(self) -> None:
        while self._waiting:
            batch = self._waiting[:AT_ONCE]
            with Session(self._storage.engine) as session, session.begin():
                self._insert(session, batch)
            del self._waiting[: len(batch)]

    def _insert(self, session: Session, trials: Sequence[FrozenTrial]) -> None:
        study_id = self.study._study_id
        models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        count = select(func.count()).where(models.TrialModel.study_id == study_id)
        first = session.execute(count).scalar_one()
        table = models.TrialModel.__table__
        rows = [
            {
                "study_id": study_id,
                "number": first + place,
                "state": trial.state,
                "datetime_start": _as_stored(trial.datetime_start),
                "datetime_complete": _as_stored(trial.datetime_complete),
            }
            for place, trial in enumerate(trials)
        ]
        ids = session.scalars(insert(table).returning(table.c.trial_id, sort_by_parameter_order=True), rows).all()
        for model, rows_of in (
            (models.TrialParamModel, self._params),
            (models.TrialValueModel, _values),
            (models.TrialUserAttributeModel, lambda trial: _attributes(trial.user_attrs)),
            (models.TrialSystemAttributeModel, lambda trial: _attributes(trial.system_attrs)),
        ):
            rows = [{"trial_id": id} | row for id, trial in zip(ids, trials, strict=True) for row in rows_of(trial)]
            if rows:
                session.execute(insert(model.__table__), rows)

    def _params(self, trial: FrozenTrial) -> Iterator[Row]:
        for name, value in trial.params.items():
            distribution = trial.distributions[name]
            if name not in self._json:
                self._json[name] = distribution_to_json(distribution)
            stored = distribution.to_internal_repr(value)
            yield {"param_name": name, "param_value": stored, "distribution_json": self._json[name]}


def _values(trial: FrozenTrial) -> Iterator[Row]:
    for objective, value in enumerate(trial.values or ()):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield {"objective": objective, "value": stored, "value_type": kind}


def _attributes(facts: Mapping[str, Any]) -> Iterator[Row]:
    return ({"key": key, "value_json": json.dumps(value)} for key, value in facts.items())


def _as_stored(when: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna's trials have local time, its tables UTC."""
    return when and when.astimezone(datetime.UTC).replace(tzinfo=None)
