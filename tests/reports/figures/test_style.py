"""How the series of figures look."""

from reports.figures.style import marks
from sweep.store.job import METHODS


def test_a_family_has_one_colour_and_each_of_its_methods_a_shape() -> None:
    families = ("low rank", "prune")
    series = {"prune" if method == "lc" else f"prune ({method})": "prune" for method in list(METHODS)[:10]}
    found = marks(series | {"low rank": "low rank"}, families=families, size=1.0)
    assert len({found[name].shape for name in series}) == len(series)
    assert {found[name].colour for name in series} == {found["prune"].colour} != {found["low rank"].colour}
    assert found["prune"] == marks({"prune": "prune"}, families=families, size=1.0)["prune"]
