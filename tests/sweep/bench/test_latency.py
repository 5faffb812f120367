"""Timing on a clock that only moves when something runs: what is counted, in which order, and what ratios bear."""

import math
from collections.abc import Callable
from itertools import groupby

import pytest

from sweep.bench.latency import LEAST, SAMPLES, TURN, WARM_UP, Timings, timed


class Machine:
    """Runs what takes so many seconds, times what else slows it down at that moment."""

    def __init__(self, slow: Callable[[float], float] = lambda now: 1.0) -> None:
        self.now, self.slow, self.ran = 0.0, slow, [""]
        self.made: list[str] = []

    def function(self, name: str, seconds: float) -> Callable[[], Callable[[], None]]:
        def run() -> None:
            self.ran.append(name)
            self.now += seconds * self.slow(self.now)

        def make() -> Callable[[], None]:
            self.made.append(name)
            return run

        return make

    def clock(self) -> float:
        return self.now


def test_each_takes_its_turn_in_every_round_and_the_order_changes() -> None:
    machine, names = Machine(), ["a", "b", "c"]
    functions = {name: machine.function(name, 1.0) for name in names}
    timings = timed(functions, rounds=20, clock=machine.clock)
    turns = [name for name, _ in groupby(machine.ran[1 + WARM_UP * len(names) :])]
    assert machine.ran[1 : 1 + WARM_UP * len(names)] == [name for name in names for _ in range(WARM_UP)]
    assert [len(timings.rounds[name]) for name in names] == [20] * 3
    once = machine.ran[1 + WARM_UP * len(names) :]  # one for nothing and one sample, side by side
    orders = [tuple(once[start : start + 6 : 2]) for start in range(0, len(once), 6)]
    assert len(orders) == 20
    assert all(sorted(order) == names for order in orders)
    assert len(set(orders)) > 3
    assert len(turns) >= 40
    assert [machine.made.count(name) for name in names] == [1 + 20] * 3  # in every round anew
    made = [tuple(machine.made[start : start + 3]) for start in range(3, len(machine.made), 3)]
    assert len(set(made)) > 3
    assert made != orders
    again = Machine()
    timed({name: again.function(name, 1.0) for name in names}, rounds=20, clock=again.clock)
    assert again.ran == machine.ran


def test_a_sample_is_several_calls_where_one_is_short_and_the_same_for_all() -> None:
    machine = Machine()
    fast, slow = machine.function("fast", 4.1e-6), machine.function("slow", 9e-6)
    timings = timed({"fast": fast, "slow": slow}, rounds=3, clock=machine.clock)
    assert timings.calls == math.ceil(LEAST / 4.1e-6) == 25
    assert timings.count("fast") == timings.count("slow") == 3 * SAMPLES
    assert timings.quantile("fast", 0.5) == pytest.approx(4.1e-6)
    assert timings.mean("slow") == pytest.approx(9e-6)
    assert machine.ran.count("slow") == WARM_UP + 3 * (WARM_UP + SAMPLES * 25)


@pytest.mark.parametrize("seconds, samples", [(1.0, 1), (TURN / 3, 3), (TURN / 100, SAMPLES)])
def test_a_turn_has_a_limit(seconds: float, samples: int) -> None:
    machine = Machine()
    timings = timed({"a": machine.function("a", seconds * 0.999)}, rounds=4, clock=machine.clock)
    assert (timings.calls, timings.count("a")) == (1, 4 * samples)


def test_a_ratio_bears_a_machine_that_slows_down() -> None:
    """Half of the time everything takes seven times as long: seconds say little, ratios hold."""
    machine = Machine(slow=lambda now: 7.0 if int(now / 10) % 2 else 1.0)
    functions = {"dense": machine.function("dense", 0.02), "small": machine.function("small", 0.005)}
    timings = timed(functions, rounds=400, clock=machine.clock)
    ratio, low, high = timings.ratio("small", over="dense")
    assert ratio == pytest.approx(0.25, rel=1e-6)
    assert low == pytest.approx(0.25, rel=1e-6)
    assert high == pytest.approx(0.25, rel=1e-6)
    assert timings.quantile("small", 0.99) == pytest.approx(0.035)
    assert timings.quantile("small", 0.05) == pytest.approx(0.005)


def test_what_is_prepared_is_not_timed() -> None:
    machine = Machine()

    def prepare(name: str) -> None:
        machine.now += 5.0

    timings = timed({"a": machine.function("a", 1.0)}, rounds=6, clock=machine.clock, prepare=prepare)
    assert machine.now == pytest.approx(7 * 5.0 + WARM_UP + 6 * 2)
    assert timings.quantile("a", 1.0) == pytest.approx(1.0)


def test_a_quantile_is_the_least_sample_that_so_many_do_not_exceed() -> None:
    timings = Timings({"a": [[3.0, 1.0], [2.0, 4.0]]}, calls=1)
    shares = {0.01: 1.0, 0.25: 1.0, 0.26: 2.0, 0.5: 2.0, 0.75: 3.0, 0.95: 4.0, 1.0: 4.0}
    assert {share: timings.quantile("a", share) for share in shares} == shares


@pytest.mark.parametrize("n", [1, 5, 6, 9, 30, 100])
def test_the_interval_of_a_ratio_is_the_tightest_that_holds_the_median_in_19_of_20(n: int) -> None:
    timings = Timings({"a": [[float(k)] for k in range(n)], "b": [[1.0]] * n}, calls=1)
    ratio, low, high = timings.ratio("a", over="b")
    assert ratio == (n - 1) / 2
    assert low + high == n - 1

    def missed(place: int) -> float:
        """How often the median lies outside the values from `place` to as many from the end."""
        return 2 * sum(math.comb(n, k) for k in range(place + 1)) / 2**n

    place = int(low)
    assert missed(place) <= 0.05 or place == 0
    assert missed(place + 1) > 0.05


def test_a_percentile_takes_five_samples_beyond_it() -> None:
    for count, known in ((99, (False, False)), (100, (True, False)), (499, (True, False)), (500, (True, True))):
        timings = Timings({"a": [[float(place) for place in range(count)]]}, calls=1)
        found = [timings.percentile("a", share) for share in (0.95, 0.99)]
        assert tuple(each is not None for each in found) == known
        assert found[0] in (None, timings.quantile("a", 0.95))


def test_a_ratio_is_of_rounds_and_not_of_all_samples() -> None:
    timings = Timings({"a": [[1.0], [10.0], [3.0]], "b": [[2.0], [5.0], [3.0]]}, calls=1)
    assert timings.ratio("a", over="b") == (1.0, 0.5, 2.0)
