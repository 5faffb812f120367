"""How a sweep went, job by job: the front's hypervolume, the smallest model so far, and what was skipped or failed."""

import math
import textwrap
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from reports.facts.findings import Findings
from reports.facts.numbers import count, counted
from reports.facts.target import limit_words, rule_words
from reports.figures.axes import error_range
from reports.figures.scales import Window, round_values
from reports.figures.style import CARD, FEASIBLE, GRID, INK, MISS, MUTED, settings
from sweep.pick.pareto import front, hypervolume
from sweep.store.printable import printable
from sweep.store.record import Done

WIDTH, PLOT, BAR = 9.6, 2.5, 0.36  # inches
LEFT, GAP, TOP, BELOW = 0.78, 1.05, 0.85, 0.55


def draw_progress(findings: Findings) -> Figure:
    """A figure of the sweep's jobs in the order in which they finished. Each job counts for itself, seed by seed."""
    reasons = reasons_of(findings)
    bars = BAR * len(reasons) + 0.3 if reasons else 0.0
    words = _footer(findings)
    foot = 0.145 * (words.count("\n") + 1) + 0.2
    height = TOP + PLOT + BELOW + bars + foot
    with settings():
        figure = Figure(figsize=(WIDTH, height), dpi=100, facecolor=CARD)
        FigureCanvasAgg(figure)
        wide = (WIDTH - LEFT - GAP - 0.25) / 2
        bottom = (height - TOP - PLOT) / height
        size = (wide / WIDTH, PLOT / height)
        volume = figure.add_axes((LEFT / WIDTH, bottom, *size), label="hypervolume")
        smallest = figure.add_axes(((LEFT + wide + GAP) / WIDTH, bottom, *size), label="smallest")
        _draw_volume(volume, findings)
        _draw_smallest(smallest, findings)
        if reasons:
            left = 4.2
            place = (left / WIDTH, (foot + 0.1) / height, (WIDTH - left - 0.7) / WIDTH, BAR * len(reasons) / height)
            _draw_reasons(figure.add_axes(place, label="reasons"), reasons)
        title = "The jobs of " + printable(findings.manifest.study, most=60)
        figure.text(LEFT / WIDTH, 1 - 0.3 / height, title, fontsize=12.5, fontweight="bold", va="baseline")
        told = f"{counted(len(findings.jobs), 'job')} done, {count(len(findings.failures))} failed"
        figure.text(LEFT / WIDTH, 1 - 0.5 / height, told, fontsize=9, color=MUTED, va="baseline")
        figure.text(LEFT / WIDTH, 0.1 / height, words, fontsize=7.6, color=MUTED, va="bottom", linespacing=1.35)
    return figure


def hypervolumes(jobs: Sequence[Done], *, box: tuple[float, float], least: float = 0.0) -> list[float]:
    """After each job, the share of the box that the front of the jobs so far dominates.

    The box is from 0 bytes and the error `least` to the bytes and the error in `box`. Cost: O(n f log f) for n jobs and
    fronts of at most f.
    """
    kept, shares, corner = np.empty((0, 2)), [], np.array([box[0], box[1] - least])
    for job in jobs:
        kept = np.vstack([kept, [job.artifact_bytes, job.val.error - least]])
        kept = kept[front(kept)]
        shares.append(hypervolume(kept, corner) / float(corner.prod()))
    return shares


def smallest_so_far(jobs: Sequence[Done], *, threshold: float) -> list[float]:
    """After each job, the bytes of the smallest with a score of `threshold` or more so far; NaN before one."""
    least, sizes = math.inf, []
    for job in jobs:
        if job.val.score >= threshold:
            least = min(least, job.artifact_bytes)
        sizes.append(least if math.isfinite(least) else math.nan)
    return sizes


def reasons_of(findings: Findings) -> list[tuple[str, int, str]]:
    """(reason, number, colour): configurations that a search skipped, then jobs that failed."""
    skipped: Counter[str] = Counter()
    for search in findings.searches:
        for reason, number in search.skipped.items():
            skipped[f"skipped: {reason}"] += number
    failed = Counter(f"failed: {job.error.message}" for job in findings.failures if job.error)
    groups = ((skipped, MUTED), (failed, MISS))
    return [(reason, number, colour) for group, colour in groups for reason, number in group.most_common()]


def _box(findings: Findings) -> tuple[float, float]:
    window = error_range(findings)
    high = window.bend or window.high
    return findings.reference.bytes, min(high, 1.0) if findings.manifest.metric.fraction else high


def _least(findings: Findings) -> float:
    """The error at which the box begins: 0, or the least where that is lower."""
    return min([0.0, *(job.val.error for job in findings.jobs)])


def _settle(axes: Axes, *, title: str) -> None:
    axes.set_title(title, fontsize=9.5, loc="left", pad=6)
    axes.grid(color=GRID, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelsize=8.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_volume(axes: Axes, findings: Findings) -> None:
    shares = hypervolumes(findings.jobs, box=_box(findings), least=_least(findings))
    axes.step(range(1, len(shares) + 1), shares, where="post", color=INK, linewidth=1.3, gid="hypervolume")
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of the box", fontsize=9)
    axes.set_xlim(0, max(len(shares), 1) + 0.5)
    axes.set_xlabel("jobs done", fontsize=9)
    _settle(axes, title="hypervolume of the front")


def _draw_smallest(axes: Axes, findings: Findings) -> None:
    _settle(axes, title="smallest file of a job at the target")
    axes.set_xlim(0, max(len(findings.jobs), 1) + 0.5)
    axes.set_xlabel("jobs done", fontsize=9)
    sizes = [] if findings.threshold is None else smallest_so_far(findings.jobs, threshold=findings.threshold)
    if not any(map(math.isfinite, sizes)):
        reason = "the sweep has no target" if findings.threshold is None else "no job meets the target"
        axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", fontsize=9, color=MUTED)
        axes.set_yticks([])
        return
    met = [(k, job) for k, job in enumerate(findings.jobs, 1) if job.val.score >= (findings.threshold or 0.0)]
    xs, ys = [k for k, _ in met], [job.artifact_bytes for _, job in met]
    axes.plot(
        xs, ys, linestyle="none", marker="o", markersize=4, color=FEASIBLE, alpha=0.35, markeredgewidth=0, gid="met"
    )
    axes.step(range(1, len(sizes) + 1), sizes, where="post", color=FEASIBLE, linewidth=1.6, gid="smallest")
    axes.set_ylabel("bytes (log scale)", fontsize=9)
    window = Window(0.9 * min(ys), 1.1 * max(ys), log=True)
    ticks = round_values(window, most=6)
    axes.set_yscale("log")
    axes.set_ylim(window.low, window.high)
    axes.set_yticks(ticks, [count(round(tick)) for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(f"{count(round(sizes[-1]))} bytes", fontsize=9.5, loc="right", pad=6, color=FEASIBLE)


def _draw_reasons(axes: Axes, reasons: Sequence[tuple[str, int, str]]) -> None:
    places = range(len(reasons))
    axes.barh(places, [number for _, number, _ in reasons], color=[colour for _, _, colour in reasons], height=0.62)
    names = [textwrap.fill(printable(reason, most=110), 58) for reason, _, _ in reasons]
    axes.set_yticks(places, names, fontsize=8.5)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.tick_params(length=0)
    for place, (_, number, _) in zip(places, reasons, strict=True):
        axes.annotate(
            count(number), (number, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.8
        )
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _footer(findings: Findings) -> str:
    (size, error), units = _box(findings), findings.units
    begin = "0" if units.by_error else f"0 bytes and {units.noun} {units.limit(units.shown(_least(findings)))}"
    end = f"{units.error(error)} error" if units.by_error else f"{units.noun} {units.error(error)}"
    words = (
        "Jobs in the order in which they finished. Each is one seed of one configuration, measured on the validation "
        f"split (n = {count(findings.reference.val.n)}). Hypervolume: the share that the front dominates of the box "
        f"from {begin} to the reference's {count(int(size))} bytes and {end}, both linear."
    )
    if findings.threshold is not None:
        words += f" Dots: jobs with {limit_words(findings)}, one seed each. A model is {rule_words(findings)}."
    return "\n".join(textwrap.wrap(words, width=150))
