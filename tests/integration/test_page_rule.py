"""The page's rule, reports/page/rule.js, against `sweep.pick.choice.choose` on random candidates, run in Chromium."""

import json
import math
import random
from pathlib import Path
from typing import Any, get_args

import pytest
from playwright.sync_api import Browser

import reports.page
from reports.page.data import bound_kind
from sweep.criteria import MOST_SEEDS, UNTRAINED, fresh
from sweep.intervals import CONFIDENCE, Z95, least_mean, paired_drop, pooled, student, wilson
from sweep.pick.choice import By, Candidate, Choice, among, choose
from sweep.pick.confirming import seeds_from_first
from sweep.store.metric import ACCURACY, Metric
from sweep.target import Target

pytestmark = pytest.mark.slow

SWEEPS = 1000
SCRIPTS = Path(reports.page.__file__).parent

ANSWER = """(sweeps) => {
  const name = (row) => (row ? row.ids[row.best] : null);
  const answer = (sweep, ask) => {
    const order = cheapestFirst(sweep.rows, ask.by);
    const found = choose(order, { ...sweep, ...ask });
    const smaller = found.nextSmaller;
    const confirm = toConfirm(found);
    return {
      picked: name(found.row),
      feasible: found.feasible,
      margin: String(found.margin),
      threshold: found.threshold,
      state: found.state,
      states: Object.fromEntries([...found.states].map(([row, state]) => [name(row), state])),
      runner_up: name(found.runnerUp),
      better: name(found.better),
      to_confirm: confirm ? [name(confirm.row), confirm.repeats] : null,
      next_smaller: name(smaller),
      next_smaller_margin: String(smaller ? found.margins.get(smaller) : 0),
    };
  };
  return JSON.stringify(JSON.parse(sweeps).map((sweep) => sweep.asks.map((ask) => answer(sweep, ask))));
}"""


HIGHER = Metric("psnr", higher_is_better=True, unit="dB", best=60.0)
LOWER = Metric("mse", higher_is_better=False, unit="mm2", best=0.0)


class Sweep:
    """Random candidates, and what is asked of each: the arguments of `choose`, and the same for the page."""

    def __init__(self, draw: random.Random) -> None:
        self.n = draw.choice((40, 359, 1000))
        self.draw, self.right = draw, round(self.n * draw.uniform(0.8, 1))
        self.metric = draw.choice((ACCURACY, ACCURACY, HIGHER, LOWER))
        self.scale, self.shift = 1.0, 0.0
        if self.metric != ACCURACY:  # scores that are no shares: above 1, below 0, very small
            self.scale, self.shift = draw.choice((1e-4, 7.3, 5e4)), draw.choice((0.0, -31.7, -1e5))
        self.reference = self._score(self.right / self.n)
        self.rule = {"confirm": draw.choice((1, 2, 3))}
        made = [self._candidate(str(index)) for index in range(draw.randint(1, 9))]
        self.found, self.lost = [candidate for candidate, _ in made], {each.best_id: lost for each, lost in made}
        self.asks = [ask for _ in range(4) for ask in self._ask()]

    def _candidate(self, name: str) -> tuple[Candidate, list[float | int | None]]:
        """A candidate whose numbers often equal another's, and for each seed the page's `lost`."""
        draw = self.draw
        middle = self.right - draw.randrange(max(self.n // 20, 3))
        accuracies: list[float] = []
        lost: list[float | int | None] = []
        highs: list[float | None] = []
        counts = draw.random() < 0.9  # else scores that are not right or wrong
        for _ in range(1 if draw.random() < 0.2 else draw.randint(1, 6)):
            right = min(middle + draw.randint(-1, 1), self.n)
            accuracies.append(right / self.n if counts else min(right / self.n + draw.random() / 100, 1.0))
            less = self.right - round(accuracies[-1] * self.n)
            away = max(less, 0) + draw.randrange(4)
            high = paired_drop(away, away - less, n=self.n)[1] + (0 if counts else draw.random() / 100)
            known = draw.random() > 0.05
            highs.append(self.scale * high if known else None)
            lost.append((away if counts else high) if known else None)
        scores = tuple(self._score(accuracy) for accuracy in accuracies)
        lows = tuple(wilson(accuracy, n=self.n)[0] for accuracy in accuracies)
        candidate = Candidate(
            family="prune",
            configuration={"keep": name},
            method=draw.choice(("lc", "lc", "retrain", "dc", "ptq")),
            ids=tuple(f"{name}-{seed}" for seed in range(len(accuracies))),
            seeds=tuple(draw.choice((range(len(accuracies)), range(1, 2 * len(accuracies), 2)))),
            scores=scores,
            lows=tuple(self._score(low) for low in lows),
            drops=tuple(highs),
            best_id=f"{name}-{scores.index(max(scores))}",
            artifact_bytes=draw.randint(1, 4),
            macs=draw.randint(1, 3),
            direct_error=None,
            latency=draw.choice((None, 0.5, 0.7, draw.random())),
        )
        return candidate, lost

    def _score(self, accuracy: float) -> float:
        return accuracy if self.metric == ACCURACY else self.scale * accuracy + self.shift

    def _ask(self) -> list[dict[str, Any]]:
        """Each cost, with and without bounds, at a target that a candidate meets or misses by the last bit."""
        drop = self.draw.choice([drop for candidate in self.found for drop in candidate.drops])
        target = self.draw.choice(
            (
                self._bound(self._edge()),
                Target(max_drop=max(self.reference - self._edge(), 0.0)),
                Target(max_drop=max(drop or 0.01, 0.0)),
                Target(max_drop=self._fraction((self.reference - self._edge()) / abs(self.reference)), relative=True),
            )
        )
        known = [by for by in get_args(By) if among(self.found, by)]
        return [{"target": target, "by": by, "confident": confident} for by in known for confident in (False, True)]

    def _edge(self) -> float:
        """An accuracy, or a bound of one, at which the verdict on a candidate turns, or the number beside it."""
        candidate = self.draw.choice(self.found)
        noise = pooled(each.scores for each in self.found if each.method not in UNTRAINED)
        kept = fresh(candidate.scores)
        edges = [*candidate.scores, *candidate.lows, least_mean(kept, noise), math.fsum(kept) / len(kept)]
        edge = self.draw.choice([edge for edge in edges if math.isfinite(edge)])
        return self.draw.choice((edge, math.nextafter(edge, -math.inf), math.nextafter(edge, math.inf)))

    def _bound(self, score: float) -> Target:
        """The target of a value that is at least, or at most, that of a score."""
        if self.metric == ACCURACY:
            return Target(min_accuracy=self._fraction(score))
        return Target(at_least=score) if self.metric.higher_is_better else Target(at_most=-score)

    def _fraction(self, value: float) -> float:
        return min(max(value, 0.0), 1.0)

    def for_page(self) -> dict[str, Any]:
        """What rule.js is given, as rows.js would make it."""
        first = sorted(self.found, key=lambda c: (c.artifact_bytes, c.macs, c.mean_error, c.best_id))
        rows = [
            {"method": each.method, "seeds": each.seeds, "ids": each.ids, "scores": each.scores, "n": self.n}
            | {"bytes": each.artifact_bytes, "macs": each.macs, "latency": each.latency}
            | {"best": each.ids.index(each.best_id)}
            | (
                {"lost": self.lost[each.best_id]}
                if self.metric == ACCURACY
                else {"lows": each.lows, "drops": each.drops}
            )
            for each in first
        ]
        dof = sum(len(each.seeds) - 1 for each in self.found if each.method not in UNTRAINED)
        quantile = student(CONFIDENCE, dof=dof) if dof else None
        return {
            "rows": rows,
            "rule": self.rule
            | {"most": MOST_SEEDS, "untrained": sorted(UNTRAINED), "student": quantile, "z": Z95, "square": Z95**2},
            "metric": {"higher": self.metric.higher_is_better},
            "referenceScore": self.reference,
            "asks": [ask | {"target": self._target(ask["target"])} for ask in self.asks],
        }

    def _target(self, target: Target) -> dict[str, Any]:
        if target.bound is None:
            return {"kind": "max_drop", "value": target.allowed(self.reference)}
        return {"kind": bound_kind(self.metric), "value": target.bound}


def repeats_of(choice: Choice) -> list[Any] | None:
    """The candidate to confirm, and the number of seeds in the command for it."""
    found = choice.to_confirm
    if found is None or choice.criteria is None:
        return None
    needed = choice.criteria.seeds_to_confirm(found)
    return [found.best_id, None if needed is None else seeds_from_first(found.seeds, needed=needed)]


def described(choice: Choice) -> dict[str, Any]:
    """A choice in the words of ANSWER."""

    def name(candidate: Candidate | None) -> str | None:
        return candidate.best_id if candidate else None

    assert choice.criteria is not None
    return {
        "picked": name(choice.candidate),
        "feasible": choice.feasible,
        "margin": choice.margin,
        "threshold": choice.criteria.threshold,
        "state": choice.state,
        "states": choice.states,
        "runner_up": name(choice.runner_up),
        "better": name(choice.better),
        "to_confirm": repeats_of(choice),
        "next_smaller": name(choice.next_smaller),
        "next_smaller_margin": choice.next_smaller_margin,
    }


def test_the_pages_rule_chooses_as_python_does(browser: Browser) -> None:
    sweeps = [Sweep(random.Random(seed)) for seed in range(SWEEPS)]
    page = browser.new_page()
    for script in ("rows.js", "rule.js"):
        page.add_script_tag(path=SCRIPTS / script)
    answers = json.loads(page.evaluate(ANSWER, json.dumps([sweep.for_page() for sweep in sweeps])))
    page.close()
    seen: dict[str, int] = dict.fromkeys(
        ("confirmed", "unconfirmed", "missed", "better", "too_close", "next_smaller", "on_the_edge", "unknown"), 0
    )
    for seed, (sweep, answered) in enumerate(zip(sweeps, answers, strict=True)):
        for ask, answer in zip(sweep.asks, answered, strict=True):
            choice = choose(sweep.found, reference_score=sweep.reference, **ask, **sweep.rule)
            numbers = {name: float(answer[name]) for name in ("margin", "next_smaller_margin")}
            assert answer | numbers == described(choice), (seed, ask)
            assert choice.state is not None
            seen[choice.state] += 1
            seen[sweep.metric.name] = seen.get(sweep.metric.name, 0) + 1
            seen["better"] += choice.better is not None
            seen["too_close"] += repeats_of(choice) == [getattr(choice.to_confirm, "best_id", ""), None]
            seen["next_smaller"] += choice.next_smaller is not None
            seen["on_the_edge"] += choice.candidate is not None and abs(choice.margin) < 1e-15
            seen["unknown"] += choice.margin == -math.inf
    assert min(seen.values()) > 100, seen
