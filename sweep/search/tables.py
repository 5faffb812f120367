"""How the trials of an Optuna study come onto the disk: in batches into Optuna's own tables, or by its public calls.

Through its public calls a trial costs 10 to 40 ms, most of it in SQLAlchemy, in as many transactions as it has facts.
Into its tables a batch is one transaction. The tables are private to Optuna, so they are used only where its schema is
the one that we know; else the public calls do the same, slower.
"""

import datetime
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import optuna
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

SCHEMA = 12  # of Optuna 5.0's tables

Row = dict[str, Any]


class Writer(Protocol):
    """Adds finished trials to a study, and says what is in it.

    Attributes:
        at_once: at most so many trials are given to `add`. It adds all of them or raises and adds none.
    """

    at_once: int

    def add(self, trials: Sequence[FrozenTrial]) -> None: ...

    def done_jobs(self) -> set[str]:
        """The user attribute "job" of the complete trials."""
        ...

    def running(self) -> list[int]:
        """Numbers of the trials that are running."""
        ...


def writer_of(study: optuna.Study, storage: optuna.storages.RDBStorage, check: Callable[[], None]) -> Writer:
    """The fastest writer that this version of Optuna has: `study` is in `storage`. `check` raises where none may write.

    It is called in a transaction's end, while the storage is held: a process that is suspended before it writes nothing
    more, and while one that is suspended after it holds the storage, no other begins.
    """
    models = known_models()
    return PublicCalls(study, check) if models is None else Tables(study.study_name, storage, models, check)


def known_models() -> Any | None:
    """Optuna's module of its tables; None where their schema is another than the one that we know."""
    try:
        models = importlib.import_module("optuna.storages._rdb.models")
    except ImportError:
        return None
    return models if getattr(models, "SCHEMA_VERSION", None) == SCHEMA else None


class PublicCalls:
    """A `Writer` by Optuna's public calls, which have no place for a check but before them."""

    at_once = 1

    def __init__(self, study: optuna.Study, check: Callable[[], None]) -> None:
        self._study, self._check = study, check

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        self._check()
        self._study.add_trials(trials)

    def done_jobs(self) -> set[str]:
        trials = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return {trial.user_attrs["job"] for trial in trials if "job" in trial.user_attrs}

    def running(self) -> list[int]:
        return [trial.number for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]


class Tables:
    """A `Writer` into Optuna's own tables.

    Args:
        study: its name.
        storage: where it is.
        models: Optuna's module of the tables.
        check: called before the end of each transaction; may raise.
    """

    at_once = 1000

    def __init__(self, study: str, storage: optuna.storages.RDBStorage, models: Any, check: Callable[[], None]) -> None:
        self._engine, self._models, self._check = storage.engine, models, check
        self._named = select(models.StudyModel.study_id).where(models.StudyModel.study_name == study)
        self._json: dict[str, str] = {}  # parameter -> its distribution

    def done_jobs(self) -> set[str]:
        trials, attributes = self._models.TrialModel, self._models.TrialUserAttributeModel
        jobs = select(attributes.value_json).join(trials).where(attributes.key == "job")
        with Session(self._engine) as session:
            ours = trials.study_id == session.scalars(self._named).one()
            return set(map(json.loads, session.scalars(jobs.where(ours, trials.state == TrialState.COMPLETE))))

    def running(self) -> list[int]:
        trials = self._models.TrialModel
        with Session(self._engine) as session:
            ours = trials.study_id == session.scalars(self._named).one()
            return list(session.scalars(select(trials.number).where(ours, trials.state == TrialState.RUNNING)))

    def add(self, trials: Sequence[FrozenTrial]) -> None:
        with Session(self._engine) as session, session.begin():
            self._insert(session, trials)
            self._check()

    def _insert(self, session: Session, trials: Sequence[FrozenTrial]) -> None:
        models = self._models
        study_id = session.scalars(self._named.with_for_update()).one()
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
            (models.TrialValueModel, self._values),
            (models.TrialIntermediateValueModel, self._steps),
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

    def _values(self, trial: FrozenTrial) -> Iterator[Row]:
        for objective, value in enumerate(trial.values or ()):
            stored, kind = self._models.TrialValueModel.value_to_stored_repr(value)
            yield {"objective": objective, "value": stored, "value_type": kind}

    def _steps(self, trial: FrozenTrial) -> Iterator[Row]:
        model = self._models.TrialIntermediateValueModel
        for step, value in trial.intermediate_values.items():
            stored, kind = model.intermediate_value_to_stored_repr(value)
            yield {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}


def _attributes(facts: Mapping[str, Any]) -> Iterator[Row]:
    return ({"key": key, "value_json": json.dumps(value)} for key, value in facts.items())


def _as_stored(when: datetime.datetime | None) -> datetime.datetime | None:
    """Optuna's trials have local time, its tables UTC."""
    return when and when.astimezone(datetime.UTC).replace(tzinfo=None)
