"""The choice of the model to deploy."""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweep
from sweep.criteria import meaning
from sweep.intervals import CONFIDENCE, student, wilson
from sweep.job.compress import failure
from sweep.pick.choice import Candidate, Choice, candidates, choose, chosen
from sweep.pick.confirming import confirming
from sweep.store.job import Job
from sweep.store.manifest import UNNAMED
from sweep.store.metric import ACCURACY, Metric
from sweep.store.record import Record, Score
from sweep.target import Target
from tests.sweep.tiny import MANIFEST, done_record


def record(keep: float, *, seed: int = 0, accuracy: float | None = 0.9, size: int = 100, **others: Any) -> Record:
    """Of a job; a failed one without an accuracy."""
    job = Job("0" * 16, "prune", {"keep": keep}, "lc", seed, {"epochs": 1})
    facts: dict[str, Any] = {"id": f"{keep}-{seed}", "artifact_bytes": size, "macs": 7} | others
    if accuracy is None:
        return replace(failure(job, message="no", traceback=""), **others)
    val = Score(value=accuracy, n=100, low=accuracy - 0.05, high=1.0)
    direct = Score(value=0.5, n=100, low=0.4, high=0.6)
    return done_record(job, **facts, val=val, direct=direct)


def candidate(
    name: str, *accuracies: float, size: int = 100, macs: int = 7, drops: tuple[float, ...] = ()
) -> Candidate:
    """Of 100 examples; `drops` are the upper bounds of the drop from the reference."""
    seeds = tuple(range(len(accuracies)))
    lows, highs = tuple(wilson(a, n=100)[0] for a in accuracies), drops or (None,) * len(accuracies)
    return Candidate("prune", {"keep": name}, "lc", (name,), seeds, accuracies, lows, highs, name, size, macs, None)


AT_90 = Target(min_accuracy=0.9)
ORDER = {"confirmed": 0, "unconfirmed": 1, "missed": 2, None: 3}


# Targets


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "target: expected one of max_drop, min_accuracy, at_least, at_most, got none"),
        ({"max_drop": 0.01, "min_accuracy": 0.9}, "expected one of max_drop, .*, got .*0.01.*0.9"),
        ({"max_drop": -0.01}, "max_drop: expected a number from 0 up, got -0.01"),
        ({"max_drop": 1.5, "relative": True}, r"max_drop: expected a fraction in \[0, 1\] .* got 1.5"),
        ({"at_most": math.inf}, "at_most: expected a number, got inf"),
        ({"min_accuracy": 97.5}, r"min_accuracy: .* got 97.5"),
        ({"min_accuracy": math.nan}, r"min_accuracy: .* got nan"),
        ({"min_accuracy": 0.9, "relative": True}, "relative: expected max_drop, to which it applies, got min_accuracy"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(given: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target(**given)  # type: ignore[arg-type]


def test_a_target_is_asked_for_again_as_it_was() -> None:
    drops = (Target(max_drop=0.0123456789, relative=True), Target(max_drop=0.7, relative=True), Target(max_drop=0.3))
    for target in (*drops, Target(min_accuracy=0.95), Target(at_least=0.9)):
        words = [word.removeprefix("--").replace("-", "_") for word in target.options(fraction=True)]
        relative = words[2:] == ["relative"]
        asked = Target.of(**{words[0]: words[1]}, relative=relative)
        assert asked == target
        asked.check(ACCURACY)
    assert Target(at_most=12.5).options(fraction=False) == ["--at-most", "12.5"]
    assert Target(max_drop=3.0).options(fraction=False) == ["--max-drop", "3"]


MSE, R2 = Metric("mse", higher_is_better=False, unit="mm2", best=0.0), Metric("r2", unit="")


@pytest.mark.parametrize(
    ("given", "metric", "message"),
    [
        (
            {"max_drop": 1.5},
            ACCURACY,
            r"max_drop: expected a fraction in \[0, 1\] \(0.01 is one point, as 1% is\), got 1.5",
        ),
        ({"at_least": 97.0}, ACCURACY, "at_least: expected a fraction .* got 97"),
        (
            {"at_most": 0.9},
            ACCURACY,
            "expected at_least or max_drop, since a higher accuracy is better, got at_most 0.9",
        ),
        ({"at_least": 3.0}, MSE, "expected at_most or max_drop, since a lower MSE is better, got at_least 3"),
        ({"min_accuracy": 0.9}, MSE, "expected at_most or max_drop"),
        ({"at_least": 1.2}, R2, "at_least: expected at most 1, the best R2, got 1.2"),
    ],
)
def test_a_target_must_fit_the_metric(given: dict[str, float], metric: Metric, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target(**given).check(metric)  # type: ignore[arg-type]


def test_a_target_in_the_metrics_units_is_fine() -> None:
    Target(max_drop=25.0).check(MSE)
    Target(at_most=25.0).check(MSE)
    Target(at_least=-3.0).check(R2)
    Target(at_least=0.97).check(ACCURACY)


def test_thresholds_are_scores() -> None:
    assert Target(at_most=25.0).threshold(-10.0) == -25.0
    assert Target(at_least=0.8).threshold(0.9) == 0.8
    assert Target(max_drop=2.5).threshold(-10.0) == pytest.approx(-12.5)
    assert Target(max_drop=0.1, relative=True).threshold(-10.0) == pytest.approx(-11.0)
    assert Target(max_drop=0.0).threshold(-1e9) < -1e9  # rounding is a part of the score


def test_a_targets_threshold() -> None:
    assert Target(max_drop=0.01).threshold(0.975) == pytest.approx(0.965, abs=1e-11)
    assert Target(max_drop=0.0).threshold(0.975) == pytest.approx(0.975, abs=1e-11)
    assert Target(min_accuracy=0.9).threshold(0.975) == 0.9
    assert Target(min_accuracy=0.0).threshold(0.975) == 0.0
    assert Target(max_drop=0.01).as_dict() == {"max_drop": 0.01}
    relative = Target(max_drop=0.01, relative=True)
    assert relative.threshold(0.8) == pytest.approx(0.792)
    assert relative.as_dict() == {"max_drop": 0.01, "relative": True}
    assert Target(**relative.as_dict()) == relative
    assert Target(**Target(min_accuracy=0.9).as_dict()) == Target(min_accuracy=0.9)


# Candidates


def test_a_candidate_is_a_configuration_over_its_seeds() -> None:
    found = candidates(
        [
            record(0.1, seed=2, accuracy=0.92, size=90),
            record(0.1, seed=0, accuracy=0.94, size=120),
            record(0.1, seed=1, accuracy=0.94, size=110),
        ]
    )
    (one,) = found
    assert (one.seeds, one.scores) == ((0, 1, 2), (0.94, 0.94, 0.92))
    assert one.ids == ("0.1-0", "0.1-1", "0.1-2")
    assert (one.best_id, one.artifact_bytes, one.macs) == ("0.1-1", 110, 7)
    assert one.worst_error == pytest.approx(0.08)
    assert one.mean_error == pytest.approx((0.06 + 0.08) / 2)  # of the fresh seeds
    assert one.direct_error == pytest.approx(0.5)
    assert one.label == "keep 0.1"


def test_a_failed_seed_is_counted_and_changes_nothing_else() -> None:
    done = [record(0.1, seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.98, 0.981, 0.982))]
    failed = [record(0.1, seed=seed, accuracy=None) for seed in (3, 4)]
    (without,), (found,) = candidates(done), candidates([*done, *failed])
    assert found == replace(without, failed=2)
    criteria = AT_90.criteria(1.0, confirm=2).with_noise_of([found])
    assert criteria.state_of(found) == criteria.state_of(without) == "confirmed"


def test_a_failed_seed_counts_neither_for_nor_against_being_confirmed() -> None:
    records = [record(0.1), record(0.1, seed=1, accuracy=None), record(0.2, size=200)]
    choice = choose(candidates(records), target=AT_90, reference_score=1.0, confirm=1)
    assert choice.candidate is not None
    assert choice.candidate.configuration == {"keep": 0.1}
    assert (choice.state, choice.candidate.failed) == ("unconfirmed", 1)


def test_a_configuration_of_failed_seeds_alone_is_no_candidate() -> None:
    assert candidates([record(0.1, accuracy=None), record(0.1, seed=1, accuracy=None)]) == []


def test_what_tells_candidates_apart() -> None:
    """Family, configuration, method and budget; not the order of the knobs."""
    base = {"configuration": {"keep": 1, "size": 2}}
    records = [
        record(1, **base),
        record(1, seed=1, configuration={"size": 2, "keep": 1}),
        record(1, **base, family="other"),
        record(1, **base, method="dc"),
        record(1, **base, schedule={"epochs": 2}),
        record(1, configuration={"keep": 1, "size": 3}),
    ]
    assert sorted(found.seeds for found in candidates(records)) == [(0,), (0,), (0,), (0,), (0, 1)]


def test_candidates_come_smallest_first_in_any_order_of_records() -> None:
    records = [record(keep, size=size) for keep, size in ((0.1, 30), (0.2, 10), (0.3, 20))]
    assert [found.artifact_bytes for found in candidates(records)] == [10, 20, 30]
    assert candidates(records[::-1]) == candidates(records)


# The choice


def test_accuracies_meet_the_threshold_unrounded() -> None:
    just, under = 0.9, math.nextafter(0.9, 0)
    found = [candidate("under", under, size=1), candidate("just", just, size=2)]
    choice = choose(found, target=AT_90, reference_score=1.0)
    assert choice.feasible
    assert choice.candidate is not None
    assert choice.candidate.best_id == "just"
    alone = choose(found[:1], target=AT_90, reference_score=1.0)
    assert not alone.feasible
    assert alone.margin == under - just < 0


def test_a_drop_of_exactly_the_target_meets_it() -> None:
    """One hundred examples: 97 right for the reference, 96 after."""
    target = Target(max_drop=0.97 - 0.96)
    assert choose([candidate("a", 0.96)], target=target, reference_score=0.97).feasible


@pytest.mark.parametrize("n", [350, 5000, 10_000])
def test_a_tie_is_met_however_its_numbers_round(n: int) -> None:
    """Of the accuracies that are just at a drop of two points; one example less misses."""
    target = Target(max_drop=0.02)
    for right in range(n // 2, n + 1, n // 350):
        tied = choose([candidate("a", (right - n * 2 // 100) / n)], target=target, reference_score=right / n)
        assert tied.feasible
        missed = choose([candidate("a", (right - n * 2 // 100 - 1) / n)], target=target, reference_score=right / n)
        assert not missed.feasible
        least = right - n * 2 // 100
        mean = candidate("a", 0.0, least / n, (least - 3) / n, min((least + 3) / n, 1.0))
        assert choose([mean], target=Target(at_least=least / n), reference_score=right / n).feasible


def test_the_mean_of_the_fresh_seeds_must_meet_the_target_and_the_first_does_not_count() -> None:
    found = [candidate("lucky", 0.99, 0.89, 0.9, size=1), candidate("steady", 0.8, 0.89, 0.91, size=2)]
    choice = choose(found, target=AT_90, reference_score=1.0)
    assert choice.candidate is found[1]
    assert choice.states == {"lucky": "missed", "steady": "unconfirmed"}
    assert choice.state == "unconfirmed"


def test_a_nan_meets_nothing() -> None:
    choice = choose([candidate("nan", math.nan, size=1)], target=Target(min_accuracy=0.0), reference_score=1.0)
    assert not choice.feasible


def test_without_one_that_meets_it_the_nearest_miss_is_given_by_its_mean() -> None:
    found = [candidate("a", 0.5, size=1), candidate("b", 0.95, 0.7, 0.88, size=2), candidate("c", 0.8, 0.8, size=300)]
    choice = choose(found, target=AT_90, reference_score=1.0)
    assert choice.candidate is not None
    assert (choice.candidate.best_id, choice.feasible) == ("c", False)
    assert choice.margin == pytest.approx(-0.1)
    assert choice.criteria is not None
    assert choice.criteria.threshold == 0.9


def test_of_equal_misses_the_smaller_is_given() -> None:
    found = [candidate("large", 0.8, size=3), candidate("small", 0.8, size=2)]
    choice = choose(found, target=AT_90, reference_score=1.0)
    assert choice.candidate is not None
    assert choice.candidate.best_id == "small"


def test_nothing_to_choose_from() -> None:
    choice = choose([], target=AT_90, reference_score=1.0)
    assert (choice.candidate, choice.feasible) == (None, False)


def test_ties_go_to_fewer_macs_then_to_the_lower_error_then_to_the_name() -> None:
    found = [
        candidate("d", 0.99, macs=9),
        candidate("c", 0.95, macs=8),
        candidate("b", 0.96, macs=8),
        candidate("a", 0.96, macs=8),
    ]
    for some, best in ((found, "a"), (found[:3], "b"), (found[:2], "c")):
        choice = choose(some, target=AT_90, reference_score=1.0)
        assert choice.candidate is not None
        assert choice.candidate.best_id == best


def test_a_choice_by_macs_breaks_its_ties_by_bytes() -> None:
    found = [
        candidate("tiny", 0.9, size=1, macs=9),
        candidate("b", 0.9, size=5, macs=3),
        candidate("c", 0.9, size=4, macs=3),
    ]
    for by, best in (("bytes", "tiny"), ("macs", "c")):
        choice = choose(found, target=AT_90, reference_score=1.0, by=by)  # type: ignore[arg-type]
        assert choice.candidate is not None
        assert (choice.candidate.best_id, choice.by) == (best, by)


@given(
    rows=st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.8, 0.9, 0.95]), min_size=1, max_size=4), st.integers(1, 4), st.integers(1, 4)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_a_choice_is_the_least_of_those_that_meet_the_target(
    rows: list[tuple[list[float], int, int]],
) -> None:
    found = [candidate(str(number), *a, size=size, macs=macs) for number, (a, size, macs) in enumerate(rows)]
    choice = choose(found, target=AT_90, reference_score=1.0)
    meeting = [one for one in found if one.mean_value >= 0.9 - 1e-9]
    assert [one.best_id for one in meeting] == [name for name, state in choice.states.items() if state != "missed"]
    assert choice.feasible == bool(meeting)
    assert choice.candidate is not None
    if meeting:
        assert choice.candidate.artifact_bytes == min(one.artifact_bytes for one in meeting)
        assert choice.candidate in meeting
    else:
        assert choice.candidate.mean_value == pytest.approx(max(one.mean_value for one in found))


# Why this one


def test_a_choice_names_the_next_smaller_and_what_it_misses_by_and_the_runner_up() -> None:
    sizes = {"tiny": (0.5, 1), "close": (0.88, 5), "best": (0.93, 7), "next": (0.92, 9), "large": (0.99, 20)}
    found = [candidate(name, accuracy, size=size) for name, (accuracy, size) in sizes.items()]
    choice = choose(found, target=AT_90, reference_score=1.0)
    assert choice.next_smaller is found[1]
    assert choice.next_smaller_margin == pytest.approx(-0.02)
    assert choice.runner_up is found[3]
    alone = choose(found[2:3], target=AT_90, reference_score=1.0)
    assert (alone.next_smaller, alone.runner_up) == (None, None)


def test_a_confirmed_one_goes_before_a_smaller_that_meets_it_so_far_and_names_the_best_of_these() -> None:
    steady = (0.95, 0.94, 0.95, 0.96)
    found = [
        candidate("miss", 0.89, size=4),
        candidate("smallest", 0.95, size=5),
        candidate("few", *steady[:3], size=6),
        candidate("sure", *steady, size=7),
        candidate("large", *steady, size=9),
        candidate("larger", 0.99, size=20),
    ]
    choice = choose(found, target=AT_90, reference_score=1.0)
    assert (choice.candidate, choice.state, choice.better) == (found[3], "confirmed", found[1])
    assert (choice.next_smaller, choice.runner_up) == (found[2], found[4])
    assert choice.next_smaller_margin == pytest.approx(0.045)
    assert list(choice.states.values()) == ["missed", *["unconfirmed"] * 2, *["confirmed"] * 2, "unconfirmed"]
    first = choose(found[:3], target=AT_90, reference_score=1.0)
    assert (first.candidate, first.state, first.better) == (found[1], "unconfirmed", None)


# With its 95 % bound


def test_confident_asks_that_every_seeds_bound_meets_an_accuracy() -> None:
    """Of 100 examples: 95 right are 88.8 % at least (Wilson), 97 are 91.5 %."""
    found = [candidate("a", 0.97, 0.95, size=1), candidate("b", 0.97, 0.97, size=2)]
    assert choose(found, target=AT_90, reference_score=1.0).candidate is found[0]
    choice = choose(found, target=AT_90, reference_score=1.0, confident=True)
    assert choice.candidate is found[1]
    assert choice.next_smaller_margin == pytest.approx(wilson(0.95, n=100)[0] - 0.9)


def test_confident_asks_that_the_bound_of_the_drop_meets_one() -> None:
    found = [
        candidate("unknown", 0.96, size=1),
        candidate("wide", 0.96, size=2, drops=(0.021,)),
        candidate("sure", 0.96, size=3, drops=(0.0199,)),
    ]
    target = Target(max_drop=0.02)
    assert choose(found, target=target, reference_score=0.97).candidate is found[0]
    assert choose(found, target=target, reference_score=0.97, confident=True).candidate is found[2]
    relative = Target(max_drop=0.02, relative=True)  # 0.0194 of 0.97
    assert not choose(found, target=relative, reference_score=0.97, confident=True).feasible


def test_one_whose_bound_is_not_known_is_not_what_is_next() -> None:
    """It misses by no number: a record of an earlier version has no drop."""
    found = [candidate("unknown", 0.96, size=1), candidate("sure", 0.96, size=3, drops=(0.0199,))]
    choice = choose(found, target=Target(max_drop=0.02), reference_score=0.97, confident=True)
    assert (choice.candidate, choice.next_smaller) == (found[1], None)


# Without a target


def test_without_a_target_the_choice_is_the_knee_of_the_front() -> None:
    """On a logarithmic axis of bytes: a cliff at 100 bytes."""
    facts = [(0.5, 10, 0), (0.9, 100, 1), (0.91, 1000, 0), (0.92, 10_000, 2), (0.6, 5000, 3)]
    records = [
        record(size / 10_000, accuracy=accuracy, size=size, macs=macs, id=str(size)) for accuracy, size, macs in facts
    ]
    choice = chosen(candidates(records), MANIFEST, target=None)
    assert choice.candidate is not None
    assert (choice.candidate.best_id, choice.feasible) == ("100", True)
    assert chosen([], MANIFEST, target=None).candidate is None
    assert chosen(candidates(records), MANIFEST, target=AT_90).candidate == choice.candidate


# The three states


def test_direct_compression_is_confirmed_by_one_seed() -> None:
    direct = candidates([record(0.1, method="dc")])
    choice = choose(direct, target=AT_90, reference_score=1.0)
    assert (choice.candidate, choice.state) == (direct[0], "confirmed")
    assert meaning(choice.state, method="dc") == "every seed gives the same model"
    assert meaning(choice.state, method="lc") == "enough fresh seeds clear the bound"


def confirmed(*found: Candidate) -> Choice:
    return choose(found, target=AT_90, reference_score=1.0, confirm=3)


def test_a_winner_is_confirmed_by_as_many_seeds_after_the_first_as_are_asked_for() -> None:
    noisy = candidate("noisy", 0.94, 0.95, 0.96, 0.95, size=900)  # from it the noise is known
    three, four = candidate("three", 0.95, 0.95, 0.95), candidate("four", 0.95, 0.95, 0.95, 0.95)
    assert confirmed(noisy, three).candidate is noisy
    assert confirmed(noisy, four).candidate is four


def test_the_bound_of_the_mean_decides_and_the_first_seed_does_not_count() -> None:
    """sd 0.002 by pooling: a mean of three needs about 0.002 more than the threshold."""
    lucky = candidate("lucky", 0.99, 0.901, 0.899, 0.9, size=1)
    single = candidate("single", 0.99, size=2)
    steady = candidate("steady", 0.899, 0.904, 0.906, 0.905, size=3)
    calm = candidate("calm", *(0.95 + 0.002 * (-1) ** number for number in range(2000)), size=400)
    bad = candidate("bad", 0.95, 0.8, 0.8, 0.8, size=5)
    choice = confirmed(lucky, single, steady, calm, bad)
    assert choice.candidate is steady
    assert [*choice.states.values()] == ["unconfirmed", "unconfirmed", "confirmed", "confirmed", "missed"]
    assert confirmed(lucky, single, bad).candidate is lucky
    assert confirmed(bad).state == "missed"


def test_how_many_seeds_would_confirm_follows_from_the_mean_and_the_noise() -> None:
    """sd 0.002 with many degrees of freedom, and the quantile of Student's t is 2.17: 0.002 above takes 5 fresh."""
    calm = candidate("calm", *(0.95 + 0.002 * (-1) ** number for number in range(2000)))
    criteria = AT_90.criteria(1.0).with_noise_of([calm])
    seeds = {0.91: 4, 0.902: 6, 0.9007: 40, 0.9005: None, 0.9: None}  # 0.0005 above it would take 76 fresh ones
    for accuracy, needed in seeds.items():
        assert criteria.seeds_to_confirm(candidate("a", accuracy)) == needed
    five = candidate("five", 0.99, *(0.902,) * 4)
    assert criteria.state_of(five) == "unconfirmed"
    assert criteria.state_of(candidate("six", 0.99, *(0.902,) * 5)) == "confirmed"
    assert criteria.seeds_to_confirm(five) == 6
    assert AT_90.criteria(1.0).seeds_to_confirm(candidate("a", 0.9)) == 4  # the noise is not known
    at_90 = candidate("a", 0.99, *(0.91, 0.89) * 2)
    assert criteria.state_of(at_90) == "unconfirmed"
    assert criteria.seeds_to_confirm(at_90) is None  # of several seeds the margin is rounded up
    assert confirming(at_90, criteria, MANIFEST, target=AT_90, place="runs/t") is None
    many = candidate("many", 0.99, *(0.91, 0.891) * 30)
    assert criteria.seeds_to_confirm(many) == 77  # at most twice as many as there are
    bound = replace(criteria, confident="score", threshold=candidate("a", 0.95).lows[0])  # of each seed alone
    assert bound.margin_of(candidate("a", 0.95)) == 0
    assert bound.seeds_to_confirm(candidate("a", 0.95)) == 4


@pytest.mark.parametrize(
    ("seeds", "place", "reference", "command"),
    [
        ((0,), "runs/a b", "tiny.py", "lcsweep run tiny.py --out 'runs/a b' --job a --repeats 4 --max-drop 30%"),
        ((3, 4), "runs/t", "s.m:x", "lcsweep run s.m:x --out runs/t --job a --repeats 4 --seed 3 --max-drop 30%"),
        ((0, 2, 5), "s3://b/t", "tiny.py", "lcsweep run tiny.py --out s3://b/t --job a --repeats 2 --max-drop 30%"),
        (
            (0,),
            "runs/t",
            UNNAMED,
            "sweep.run(study, out='runs/t', job='a', repeats=4, target=sweep.Target(max_drop=0.3))",
        ),
    ],
)
def test_the_command_that_confirms_is_quoted_and_names_the_job_its_seeds_and_the_target(
    seeds: tuple[int, ...], place: str, reference: str, command: str
) -> None:
    found = replace(candidate("a", *[0.95] * len(seeds)), seeds=seeds)
    manifest, target = replace(MANIFEST, reference_study=reference), Target(max_drop=0.3)
    assert confirming(found, target.criteria(1.0), manifest, target=target, place=place) == command


@pytest.mark.parametrize("target", [Target(at_most=12.5), Target(max_drop=0.5), Target(max_drop=0.5, relative=True)])
def test_the_call_that_confirms_in_python_asks_for_the_same_target(target: Target) -> None:
    manifest = replace(MANIFEST, reference_study=UNNAMED)
    call = confirming(candidate("a", 0.95), AT_90.criteria(1.0), manifest, target=target, place="runs/t")
    called = SimpleNamespace(run=lambda study, **named: named, Target=sweep.Target)
    asked = eval(call, {"sweep": called, "study": None})
    assert asked == {"out": "runs/t", "job": "a", "repeats": 4, "target": target}


# More records

SCORES = st.lists(st.sampled_from([0.88, 0.89, 0.9, 0.905, 0.91, 0.95]), min_size=1, max_size=6)


@given(
    before=st.lists(SCORES, min_size=1, max_size=6),
    more=st.lists(st.tuples(st.integers(0, 7), SCORES), min_size=1, max_size=6),
    by=st.sampled_from(["bytes", "macs"]),
)
def test_more_records_never_make_a_pick_worse_at_the_same_state_of_evidence(
    before: list[list[float]], more: list[tuple[int, list[float]]], by: str
) -> None:
    """Seeds of new configurations and of those that were there. What was picked is still there to be picked."""

    def of(results: dict[int, list[float]]) -> tuple[Choice, dict[int, Candidate]]:
        records = [
            record(number, seed=seed, accuracy=accuracy, size=100 + 7 * number % 5, macs=3 * number % 4)
            for number, accuracies in results.items()
            for seed, accuracy in enumerate(accuracies)
        ]
        found = candidates(records)
        choice = choose(found, target=AT_90, reference_score=1.0, by=by)  # type: ignore[arg-type]
        return choice, {candidate.configuration["keep"]: candidate for candidate in found}

    results = dict(enumerate(before))
    first, _ = of(results)
    after = {number: list(accuracies) for number, accuracies in results.items()}
    for number, accuracies in more:
        after.setdefault(number, []).extend(accuracies)
    second, found = of(after)
    assert first.candidate is not None
    assert second.candidate is not None
    picked = found[first.candidate.configuration["keep"]]
    state = second.states[picked.best_id]
    untouched = picked.seeds == first.candidate.seeds
    assert first.criteria is not None
    assert second.criteria is not None
    noisier = student(CONFIDENCE, dof=max(second.criteria.noise.dof, 1)) * second.criteria.noise.sd > (
        student(CONFIDENCE, dof=max(first.criteria.noise.dof, 1)) * first.criteria.noise.sd
    )
    if untouched and not (first.state == "confirmed" and noisier):  # what its own results say of it stays
        assert ORDER[state] <= ORDER[first.state]
    assert ORDER[second.state] <= ORDER[state]
    if second.state == state and state != "missed":
        assert second.candidate.cost(by) <= picked.cost(by)  # type: ignore[arg-type]
    if state == "unconfirmed" and second.state == "confirmed" and second.candidate.cost(by) > picked.cost(by):  # type: ignore[arg-type]
        assert second.better is not None
        assert second.better.cost(by) <= picked.cost(by)  # type: ignore[arg-type]


# The metric's direction


@given(
    values=st.lists(st.lists(st.floats(-50, 50), min_size=1, max_size=4), min_size=1, max_size=8),
    reference=st.floats(-50, 50),
    most=st.floats(0, 20),
    confirm=st.integers(1, 2),
)
def test_where_lower_is_better_the_same_models_are_picked_as_of_the_negated_values(
    values: list[list[float]], reference: float, most: float, confirm: int
) -> None:
    higher = Metric("plus", unit="", best=0.0)
    lower = replace(higher, name="minus", higher_is_better=False)
    records: dict[str, list[Record]] = {"plus": [], "minus": []}
    for place, seeds in enumerate(values):
        for seed, value in enumerate(seeds):
            plus = Score(value=value, n=100, low=value - 1, high=value + 2, metric=higher)
            minus = Score(value=-value, n=100, low=-value - 2, high=-value + 1, metric=lower)
            for name, score in (("plus", plus), ("minus", minus)):
                of = record(0.1 * place, seed=seed, size=100 + 7 * place % 5)
                records[name].append(replace(of, val=score, direct=score))
    plus, minus = (candidates(each) for each in records.values())
    assert [(c.ids, c.scores, c.lows, c.errors) for c in plus] == [(c.ids, c.scores, c.lows, c.errors) for c in minus]
    assert [c.values for c in plus] == [tuple(-value for value in c.values) for c in minus]
    for one, other in (
        (Target(max_drop=most), Target(max_drop=most)),
        (Target(at_least=reference - most), Target(at_most=most - reference)),
    ):
        found, mirrored = (
            choose(some, target=target, reference_score=reference, confirm=confirm, confident=target.bound is not None)
            for some, target in ((plus, one), (minus, other))
        )
        assert found.feasible == mirrored.feasible
        assert found.margin == mirrored.margin
        assert (found.candidate and found.candidate.best_id) == (mirrored.candidate and mirrored.candidate.best_id)
        assert found.states == mirrored.states
