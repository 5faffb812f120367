"""The sampler in plain Optuna studies, in memory; the trials' results are made up."""

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from sweep.search.sampler import SmallestSampler

FAMILIES = {"prune": {"keep": (0.5, 0.4, 0.3, 0.2, 0.1)}, "both": {"keep": (0.5, 0.3, 0.1), "size": (16, 4, 2)}}


def size(family: str, configuration: dict) -> int:
    """The second family has a codebook's share of the first's bytes, and 10 of its own."""
    return int(1000 * configuration["keep"] * (1 if family == "prune" else configuration["size"] / 32) + 10)


def accuracy(family: str, configuration: dict) -> float:
    """Meets 0.9 down to keep 0.3, and down to size 4."""
    good = configuration["keep"] >= 0.3 and configuration.get("size", 16) >= 4
    return 0.95 if good else 0.5


def objective(sampler: SmallestSampler, asked: list) -> optuna.study.study.ObjectiveFuncType:
    def run(trial: optuna.Trial) -> float:
        family, configuration = sampler.suggest(trial)
        asked.append((family, *configuration.values()))
        trial.set_constraint("shortfall", 0.9 - accuracy(family, configuration))
        return size(family, configuration)

    return run


@pytest.mark.parametrize("proposer", [None, TPESampler(seed=0)], ids=["version space", "TPE"])
@pytest.mark.parametrize("threads", [1, 3])
def test_it_finds_the_smallest_confirms_it_and_stops_the_study(proposer: TPESampler | None, threads: int) -> None:
    sampler = SmallestSampler(FAMILIES, size, proposer=proposer)
    study = optuna.create_study(sampler=sampler)
    asked: list = []
    study.optimize(objective(sampler, asked), n_trials=100, n_jobs=threads, callbacks=[sampler.stop_when_finished])
    best = {"family": "both", "both.keep": 0.3, "both.size": 4}
    assert sampler.winner(study) == study.best_params == best
    assert asked.count(("both", 0.3, 4)) >= 4
    assert len(set(asked)) < 14
    assert sampler.finished(study)


def test_another_process_goes_on_with_the_study() -> None:
    """All that counts is in the trials, running ones too."""
    first = SmallestSampler(FAMILIES, size, confirm=0)
    study = optuna.create_study(sampler=first)
    trial = study.ask()
    begun = first.suggest(trial)
    second = SmallestSampler(FAMILIES, size, confirm=0)
    study.sampler = second
    asked: list = []
    study.optimize(objective(second, asked), n_trials=30, callbacks=[second.stop_when_finished])
    assert (begun[0], *begun[1].values()) not in asked
    assert not second.finished(study)
    trial.set_constraint("shortfall", 0.9 - accuracy(*begun))
    study.tell(trial, size(*begun))
    assert second.finished(study)


def test_what_failed_is_set_aside_and_what_was_lost_comes_again() -> None:
    sampler = SmallestSampler({"one": {"keep": (0.5,)}}, size=lambda *_: 1, confirm=0)
    study = optuna.create_study(sampler=sampler)
    trial = study.ask()
    sampler.suggest(trial)
    trial.set_user_attr("lost", True)
    study.tell(trial, state=TrialState.FAIL)
    assert sampler.ready(study)
    trial = study.ask()
    sampler.suggest(trial)
    assert not sampler.ready(study)
    study.tell(trial, state=TrialState.FAIL)
    assert sampler.finished(study)
    assert sampler.winner(study) is None
    assert SmallestSampler({"one": {"keep": (0.5,)}}, size=lambda *_: 1, confirm=0).ready(study)


def test_every_constraint_must_be_met() -> None:
    """The least met of several decides."""
    sampler = SmallestSampler({"one": {"keep": (0.5,)}}, size=lambda *_: 1, confirm=0)
    study = optuna.create_study(sampler=sampler)
    trial = study.ask()
    sampler.suggest(trial)
    trial.set_constraint("accuracy", -0.1)
    trial.set_constraint("latency", 0.1)
    study.tell(trial, 1.0)
    assert sampler.finished(study)
    assert sampler.winner(study) is None


def test_what_has_no_size_is_left_out() -> None:
    sampler = SmallestSampler(FAMILIES, lambda family, c: None if family == "both" else size(family, c))
    assert {params["family"] for params in sampler.configurations} == {"prune"}


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(ValueError, match="expected a configuration whose size is known"):
        SmallestSampler(FAMILIES, lambda *_: None)
    with pytest.raises(ValueError, match=r"expected repeats >= 1 and confirm >= 0, got 0 and 3"):
        SmallestSampler(FAMILIES, size, repeats=0)
    sampler = SmallestSampler(FAMILIES, size)
    study = optuna.create_study(sampler=sampler)
    trial = study.ask()
    with pytest.raises(ValueError, match="expected one of the trial's family"):
        trial.suggest_float("rate", 0, 1)
    sampler.suggest(trial)
    study.tell(trial, 1.0)
    with pytest.raises(ValueError, match=r"trial 0: expected a constraint, got none; call trial.set_constraint"):
        sampler.view(study)
