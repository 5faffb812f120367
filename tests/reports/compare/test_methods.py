"""Methods of one study beside one another: the paired test, and the tables."""

import itertools
from pathlib import Path

import pytest

from reports.compare.comparison import compare
from reports.compare.methods import Iterates, levels_shared, method_facts, sides_of_methods
from reports.compare.page import meanings, methods_table, shared_table
from reports.compare.paired import holm, signed_rank
from reports.compare.summary import summary
from tests.reports import synthetic
from tests.reports.compare.test_compare import sweep

N = synthetic.N_VAL


@pytest.mark.parametrize(
    "differences",
    [[0.3, -0.1, 0.2, 0.5, 0.4], [0.1, 0.1, -0.1, 0.3], [-0.2, -0.1, -0.3, 0.0, -0.3, -0.5], [1.0], [0.2, -0.2]],
)
def test_the_p_value_is_that_of_all_signs(differences: list[float]) -> None:
    """By brute force: every choice of signs is as likely as any other."""
    kept = [d for d in differences if d]
    ordered = sorted(abs(d) for d in kept)
    ranks = [sum(place + 1 for place, m in enumerate(ordered) if m == abs(d)) / ordered.count(abs(d)) for d in kept]
    signs = itertools.product((0, 1), repeat=len(kept))
    sums = [sum(r for r, up in zip(ranks, ups, strict=True) if up) for ups in signs]
    found = sum(r for r, d in zip(ranks, kept, strict=True) if d > 0)
    below, above = (sum(s <= found for s in sums) / len(sums), sum(s >= found for s in sums) / len(sums))
    assert signed_rank(differences) == pytest.approx(min(1.0, 2 * min(below, above)))


def test_without_a_difference_nothing_is_shown() -> None:
    assert signed_rank([]) == signed_rank([0.0, 0.0]) == 1.0


def test_holm_corrects_the_least_by_all_and_never_reorders() -> None:
    assert holm([0.04, 0.01, 0.03, 0.9]) == pytest.approx([0.09, 0.04, 0.09, 0.9])
    assert holm([]) == []


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    first = sweep(tmp_path / "a", {700: (30, 32, 31), 900: (20, 21, 22)})
    return [first, sweep(tmp_path / "b", {700: (36, 32, 34), 900: (25, 21, 24)}, method="retrain")]


def test_jobs_are_paired_by_level_and_seed(pair: list[str]) -> None:
    first, other = method_facts(compare(pair))
    assert first.paired is None
    assert other.paired is not None
    assert (other.paired.pairs, other.paired.better, other.paired.equal) == (6, 0, 2)
    assert other.paired.mean == pytest.approx((6 + 3 + 5 + 2) / 6 / N)
    assert other.paired.p == pytest.approx(2 / 2**4)
    assert len(first.hypervolumes) == 3


def test_direct_compression_is_paired_with_every_seed(tmp_path: Path) -> None:
    first = sweep(tmp_path / "a", {700: (30, 32, 31)})
    dc = sweep(tmp_path / "b", {700: (40,)}, method="dc")
    *_, facts = method_facts(compare([first, dc]))
    assert facts.paired is not None
    assert facts.paired.pairs == 3
    assert facts.paired.mean == pytest.approx((10 + 8 + 9) / 3 / N)


def test_sides_without_a_job_in_common_have_no_such_tables(tmp_path: Path) -> None:
    apart = compare([sweep(tmp_path / "a", {700: (30,)}), sweep(tmp_path / "b", {800: (30,)})])
    assert method_facts(apart) == ()
    assert levels_shared(apart) == []


def test_the_tables_have_a_row_for_each_method_and_each_level(pair: list[str]) -> None:
    comparison = compare(pair)
    methods, levels = methods_table(comparison), shared_table(comparison)
    assert [row[0] for row in methods.rows] == ["a", "b"]
    assert methods.rows[1][7] == "0 / 2 / 4"
    assert {row[0] for row in levels.rows} == {"prune: keep 700", "prune: keep 900"}
    assert all(len(row) == len(levels.headers) == 4 for row in levels.rows)


ENDS = ((19, 0.01), (18, 0.02), (0, 0.03), (None, 0.4))
"""The step to which each job's last one returned, and how far it moved."""


def test_iterated_direct_compression_says_whether_it_comes_to_rest_or_cycles(tmp_path: Path) -> None:
    first = sweep(tmp_path / "a", {700: (30, 32), 900: (20, 21)})
    folder = sweep(tmp_path / "b", {700: (36, 32), 900: (25, 21)}, method="idc")
    for job, (back, moved) in zip(sorted(Path(folder).glob("artifacts/*")), ENDS, strict=True):
        steps = [{"step": 19, "moved": 9.0, "returned_to": None}, {"step": 20, "moved": moved, "returned_to": back}]
        synthetic.write(job / "diagnostics.json", {"steps": steps})
    comparison = compare([first, folder])
    assert method_facts(comparison)[0].iterates is None
    assert method_facts(comparison)[1].iterates == Iterates(jobs=4, rest=1, cycles=2, moved=(0.01, 0.02, 0.03, 0.4))
    (line,) = [line for line in meanings(comparison) if line.startswith("b: ")]
    assert "of 4 jobs, 1 ended" in line
    assert "2 with those of an earlier step (a cycle)" in line
    assert line.replace("\u00a0", " ").endswith("by 3.00 % (1.00\u201340.00 %).")
    assert summary(comparison)["methods"][1]["iterates"]["cycles"] == 2


def test_one_folder_stands_for_its_methods(finished_methods: Path) -> None:
    assert sides_of_methods(str(finished_methods)) == [f"{finished_methods}:{name}" for name in ("lc", "dc", "retrain")]
    prune = [f"{finished_methods}:{name}" for name in ("prune", "prune (dc)", "prune (retrain)")]
    assert sides_of_methods(f"{finished_methods}:prune") == prune
    assert sides_of_methods(str(finished_methods / "none")) == [str(finished_methods / "none")]


@pytest.fixture
def finished_methods(tmp_path: Path) -> Path:
    """A sweep with three methods."""
    for method in ("retrain", "dc", "lc"):
        sweep(tmp_path / "c", {700: (9,)}, method=method)
    return tmp_path / "c"
