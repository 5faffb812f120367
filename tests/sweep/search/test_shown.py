"""What Optuna's own tools make of a search's index: importance, slice and contour plots, values over the steps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweep.search.index import open_index
from sweep.search.open import open_search
from sweep.search.protocol import Entries, Entry, SearchPlan
from sweep.search.shown import shown_distribution, steps_in
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from sweep.store.record import Score
from tests.sweep.tiny import done_record


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((0.5, 0.1, 0.01), FloatDistribution(0.01, 0.5, log=True)),
        ((0.5, 0.2, 1), FloatDistribution(0.2, 1.0)),
        ((64, 16, 2), IntDistribution(2, 64, log=True)),
        ((4, 2), IntDistribution(2, 4)),
        ((0, 300), IntDistribution(0, 300)),
        ((True, False), CategoricalDistribution([True, False])),
        (("low", 2), CategoricalDistribution(["low", 2])),
    ],
)
def test_numbers_are_shown_as_numbers(levels: Sequence[Any], expected: BaseDistribution) -> None:
    assert shown_distribution(levels) == expected


STUDY = {"prune": {"keep": (0.5, 0.3, 0.1, 0.03)}, "both": {"keep": (0.5, 0.1, 0.02), "size": (16, 4, 2)}}


def index_of(folder: SweepFolder, families: Mapping[str, Any], *, name: str = "grid") -> optuna.Study:
    """The Optuna study on disk of a search over `families`, all of whose jobs are known."""
    entries, records = [], []
    for family, knobs in families.items():
        for keep in knobs["keep"]:
            for size in knobs.get("size", (None,)):
                configuration = {"keep": keep} | ({} if size is None else {"size": size})
                job = Job("0" * 16, family, configuration, "lc", 0, {})
                entries.append(Entry(family, configuration, 1000, 10, True, "0" * 16, (job,)))
                error = 0.01 / keep + (0.1 / size if size else 0)
                records.append(
                    done_record(
                        job, val=Score(value=1 - error, n=50, low=0.1, high=1.0), artifact_bytes=int(9000 * keep)
                    )
                )
                steps = [{"step": k, "val_error": 0.5 / (k + 1) if k != 2 else None} for k in range(5)]
                path = folder.diagnostics(job.id)
                path.parent.mkdir(parents=True)
                path.write_text(json.dumps({"steps": steps}))
    plan = SearchPlan(name="grid", entries=Entries(tuple(entries)), families=families)
    url = f"sqlite:///{folder.root / 'study.db'}"
    index = open_index(url, study="s", search=name, target={}, space="a0")
    open_search(plan, records=records, index=index, steps=steps_in(folder)).write()
    return optuna.load_study(study_name=f"s {name} a0", storage=url)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return index_of(SweepFolder(tmp_path), STUDY)


def test_the_index_names_its_metrics_and_has_a_value_a_step(study: optuna.Study) -> None:
    assert study.metric_names == ["validation error", "file bytes"]
    trials = study.get_trials()
    assert len(trials) == 13
    assert all(trial.intermediate_values == {0: 0.5, 1: 0.25, 3: 0.125, 4: 0.1} for trial in trials)
    kinds = {name: type(kind) for trial in trials for name, kind in trial.distributions.items()}
    assert kinds == {
        "family": CategoricalDistribution,
        "prune.keep": FloatDistribution,
        "both.keep": FloatDistribution,
        "both.size": IntDistribution,
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optunas_plots_mean_something(study: optuna.Study) -> None:
    pytest.importorskip("sklearn")
    from optuna.visualization import matplotlib as plots

    def error(trial: optuna.trial.FrozenTrial) -> float:
        return float(trial.values[0])

    judge, both = optuna.importance.FanovaImportanceEvaluator(seed=0), ["both.keep", "both.size"]
    found = optuna.importance.get_param_importances(study, evaluator=judge, params=both, target=error)
    assert list(found) == ["both.keep", "both.size"]
    assert found["both.keep"] > 0.7
    axes = plots.plot_slice(study, params=["both.keep"], target=error, target_name="error")
    assert axes.get_xscale() == "log"
    drawn = axes.collections[0].get_offsets()
    assert sorted({round(float(x), 6) for x, _ in drawn}) == [0.02, 0.1, 0.5]
    contour = plots.plot_contour(study, params=both, target=error, target_name="error")
    assert (contour.get_xscale(), contour.get_yscale()) == ("log", "linear")
    values = plots.plot_intermediate_values(study)
    assert len(values.get_lines()) == 13
