"""`SmallestSampler`: an Optuna sampler that finds the smallest configuration which meets a target, in few trials."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from sweep.search.expected import expect
from sweep.search.space import Space, make_space
from sweep.search.version_space import Known, Status, View, next_open, view

if TYPE_CHECKING:  # the sampler works in any Optuna study, where torch may be missing
    from sweep.study import Configuration, Level

Families = Mapping[str, Mapping[str, "Sequence[Level]"]]
"""Family -> knob -> its levels, loosest first."""
Params = dict[str, "Level"]

TOLD_OF = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
TRIES = 30  # draws of a proposer; where all are ruled out, the version space chooses


class SmallestSampler(BaseSampler):
    """Minimises a size that is known before a trial, under one constraint that only the trial can tell.

    The constraint is a shortfall, threshold minus score, met at 0 or less. Within a family it grows as any knob
    tightens, up to noise. A trial has the parameter "family" and one parameter "<family>.<knob>" for each of its knobs.
    Trials with equal parameters are repeats: train them with different seeds (`trial.number` will do).

    Args:
        families: the space.
        size: the size of a family's configuration; None leaves the configuration out.
        repeats: how many trials each configuration that is tried gets.
        confirm: how many more trials the winner gets, at least, before it is announced; 0 believes every result.
        proposer: proposes configurations in place of the version space. Those that are ruled out are drawn again.
        others: shortfalls, by seed, of configurations outside the space. They help to estimate the noise.

    The state is read from the study's trials, so another process can go on with the study. A trial that fails sets its
    configuration aside for the life of this sampler, unless its user attribute "lost" is set. A pruned trial needs a
    constraint too: the least shortfall that it could have ended with.

    Raises:
        ValueError: `repeats` is less than 1, `confirm` is negative, or no configuration has a size.
    """

    def __init__(
        self,
        families: Families,
        size: "Callable[[str, Configuration], int | None]",
        *,
        repeats: int = 1,
        confirm: int = 3,
        proposer: BaseSampler | None = None,
        others: Sequence[Sequence[float]] = (),
    ) -> None:
        if repeats < 1 or confirm < 0:
            raise ValueError(f"expected repeats >= 1 and confirm >= 0, got {repeats} and {confirm}")
        self.parameters = Parameters(families)
        self.configurations, self._nominal = _sized(families, size)
        self._files: dict[int, list[float]] = {}
        self._expected: Space | None = None
        self.repeats, self.confirm = repeats, confirm
        self._number = {params_key(configuration): number for number, configuration in enumerate(self.configurations)}
        self._proposer = proposer
        self._others = [[-shortfall for shortfall in shortfalls] for shortfalls in others]
        self._proposed: dict[int, int] = {}  # trial -> the number of the configuration that it was given
        self._failed: set[int] = set()
        self._lock = threading.Lock()  # a study may run its trials in threads

    @property
    def space(self) -> Space:
        """The configurations, with the sizes that are expected by those that `learn` was told."""
        if self._expected is None:
            files = {number: fmean(sizes) for number, sizes in sorted(self._files.items())}
            self._expected = expect(self._nominal, files)
        return self._expected

    def learn(self, family: str, configuration: "Configuration", size: float) -> None:
        """Takes note of the size that a trial of a configuration really had. The sizes of others follow from it."""
        number = self._number.get(params_key(as_params(family, configuration)))
        if number is not None:
            self._files.setdefault(number, []).append(size)
            self._expected = None

    def suggest(self, trial: optuna.Trial) -> "tuple[str, Configuration]":
        """The family of `trial` and its configuration."""
        return self.parameters.suggest(trial)

    def view(self, study: optuna.Study) -> View:
        """What the study's trials leave open, and the winner once there is one, as numbers of `configurations`."""
        return view(self.space, self._known(study), repeats=self.repeats, confirm=self.confirm)

    def ready(self, study: optuna.Study) -> bool:
        """Whether there is a trial to start now."""
        found = self.view(study)
        return found.again is not None or bool(found.open.any())

    def finished(self, study: optuna.Study) -> bool:
        """Whether no trial is running and none is to be started any more."""
        return not study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) and not self.ready(study)

    def stop_when_finished(self, study: optuna.Study, _: FrozenTrial) -> None:
        """A callback for `study.optimize` that ends it when the search is finished."""
        if self.finished(study):
            study.stop()

    def winner(self, study: optuna.Study) -> Params | None:
        """The parameters of the smallest configuration that is confirmed to meet the target.

        None while the search goes on, and where no configuration meets the target.
        """
        number = self.view(study).winner
        return None if number is None else self.configurations[number]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The distributions of all parameters. A trial uses those of its family."""
        return self.parameters.distributions()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the next configuration.

        Where nothing is left to start while other trials run, the smallest configuration that meets the target gets
        one more trial.
        """
        with self._lock:
            found = self.view(study)
            number = found.again
            if number is None and self._proposer is not None and found.open.any():
                number = self._accepted(study, trial, found)
            if number is None:
                number = next_open(self.space, found)
            if number is None:
                meets = np.flatnonzero(found.status == Status.MEETS)
                number = int(min(meets, key=lambda meeting: self.space.sizes[meeting])) if meets.size else 0
            self._proposed[trial.number] = number
            return dict(self.configurations[number])

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Raises ValueError: the parameter is not in the space, or belongs to another family than the trial's."""
        raise ValueError(f"parameter: expected one of the trial's family, as `suggest` draws them, got {param_name!r}")

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Sets the configuration of a failed trial aside."""
        number = self._proposed.pop(trial.number, self._number.get(params_key(trial.params)))
        if state == TrialState.FAIL and number is not None and not trial.user_attrs.get("lost"):
            self._failed.add(number)

    def reseed_rng(self) -> None:
        """Reseeds the proposer, which alone draws at random."""
        if self._proposer is not None:
            self._proposer.reseed_rng()

    def _known(self, study: optuna.Study) -> Known:
        results: dict[int, list[tuple[int, float]]] = {}
        running: Counter[int] = Counter()
        for trial in study.get_trials(deepcopy=False, states=TOLD_OF):
            number = self._proposed.get(trial.number)
            if number is None:
                number = self._number.get(params_key(trial.params))
            if number is None:  # it has other levels, or no parameters yet
                continue
            if trial.state == TrialState.RUNNING:
                running[number] += 1
            elif not trial.constraints:
                raise ValueError(f"trial {trial.number}: expected a constraint, got none; call trial.set_constraint")
            else:
                seed = trial.user_attrs.get("seed", trial.number)
                results.setdefault(number, []).append((seed, -max(trial.constraints.values())))
        margins = {number: [margin for _, margin in sorted(found)] for number, found in results.items()}
        return Known(margins, running, self._failed, self._others)

    def _accepted(self, study: optuna.Study, trial: FrozenTrial, found: View) -> int | None:
        """The first configuration that the proposer draws and that is open; None after `TRIES` draws."""
        assert self._proposer is not None
        for _ in range(TRIES):
            number = self._number.get(params_key(self.parameters.draw(self._proposer, study, trial)))
            if number is not None and found.open[number]:
                return number
        return None


def _sized(families: Families, size: "Callable[[str, Configuration], int | None]") -> tuple[list[Params], Space]:
    """The configurations of the families that have a size, and the space that they make."""
    configurations, places, levels, sizes = [], [], [], []
    for place, (family, knobs) in enumerate(families.items()):
        for drawn in itertools.product(*knobs.values()):
            configuration = dict(zip(knobs, drawn, strict=True))
            nominal = size(family, configuration)
            if nominal is not None:
                configurations.append(as_params(family, configuration))
                places.append(place)
                levels.append([list(knobs[knob]).index(level) for knob, level in configuration.items()])
                sizes.append(nominal)
    if not sizes:
        raise ValueError("families: expected a configuration whose size is known, got none")
    return configurations, make_space(places, levels, sizes)


class Parameters:
    """The Optuna parameters of families: "family", and for each knob of the family that it names "<family>.<knob>"."""

    def __init__(self, families: Families) -> None:
        self.family = CategoricalDistribution(list(families))
        self.knobs = {
            family: {knob: CategoricalDistribution(list(levels)) for knob, levels in knobs.items()}
            for family, knobs in families.items()
        }

    def distributions(self) -> dict[str, BaseDistribution]:
        """Name -> distribution, of every parameter."""
        found: dict[str, BaseDistribution] = {"family": self.family}
        for family, knobs in self.knobs.items():
            found |= {f"{family}.{knob}": distribution for knob, distribution in knobs.items()}
        return found

    def suggest(self, trial: optuna.Trial) -> "tuple[str, Configuration]":
        """The family of `trial` and its configuration."""
        family = str(trial.suggest_categorical("family", self.family.choices))
        knobs = self.knobs[family].items()
        drawn = {knob: trial.suggest_categorical(f"{family}.{knob}", space.choices) for knob, space in knobs}
        return family, drawn  # type: ignore[return-value]

    def draw(self, sampler: BaseSampler, study: optuna.Study, trial: FrozenTrial) -> Params:
        """The parameters that `sampler` draws one by one: the family first, then its knobs."""
        family = sampler.sample_independent(study, trial, "family", self.family)
        names = {f"{family}.{knob}": distribution for knob, distribution in self.knobs[family].items()}
        return {"family": family} | {n: sampler.sample_independent(study, trial, n, d) for n, d in names.items()}


def as_params(family: str, configuration: "Configuration") -> Params:
    """The Optuna parameters of a family's configuration."""
    return {"family": family} | {f"{family}.{knob}": level for knob, level in configuration.items()}


def params_key(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Equal for equal parameters, whatever their order."""
    return tuple(sorted(params.items()))
