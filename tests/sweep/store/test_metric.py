"""Values, scores and errors of a metric, and how it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.store.claims import claim, read_claim
from sweep.store.metric import ACCURACY, Metric

MSE = Metric("mse", higher_is_better=False, unit="mm2", best=0.0)
R2 = Metric("r2", unit="")
IOU = Metric("mean_iou")
METRICS = (ACCURACY, MSE, R2, IOU)


@given(value=st.floats(-1e6, 1e6), metric=st.sampled_from(METRICS))
def test_a_score_rises_and_an_error_falls_as_the_value_gets_better(value: float, metric: Metric) -> None:
    better = value + 1 if metric.higher_is_better else value - 1
    assert metric.score(better) > metric.score(value)
    assert metric.error(better) < metric.error(value)
    assert metric.value(metric.score(value)) == value
    assert metric.value_of_error(metric.error(value)) == pytest.approx(value, abs=1e-9)


def test_words() -> None:
    assert [metric.told(0.96684) for metric in METRICS] == ["96.68 %", "0.9668 mm2", "0.9668", "96.68 %"]
    assert ACCURACY.told(0.96684, gap="") == "96.68%"
    assert [metric.told_change(0.0042) for metric in METRICS] == ["0.42 points", "0.0042 mm2", "0.0042", "0.42 points"]
    assert [metric.told_error(0.03) for metric in METRICS] == ["3.00 %", "0.03 mm2", "0.97", "3.00 %"]
    large = {9999.4: "9999", 9999.6: "10,000", 12345.6: "12,346", -1234567.0: "-1,234,567", 1.5e9: "1.5e+09", 0: "0"}
    assert [R2.told(value) for value in large] == list(large.values())
    assert (MSE.told_change(12345.6), MSE.told_exactly(1234567.8)) == ("12,346 mm2", "1,234,568 mm2")
    assert MSE.told_exactly(12345.67) == "12345.7 mm2"
    names = ["error (%)", "MSE (mm2)", "R2", "1 \u2212 mean IoU (%)"]
    assert [metric.name_of_error for metric in METRICS] == [f"validation {name}" for name in names]


@given(value=st.floats(0, 1) | st.floats(-1e300, 1e300, allow_subnormal=False), metric=st.sampled_from((MSE, R2)))
def test_a_claim_is_read_back_exactly_and_always_has_the_same_length(value: float, metric: Metric) -> None:
    said = claim(metric, value, n=90)
    found = read_claim({"val": said})
    assert found is not None
    assert (found.metric, found.value, found.n) == (metric, value, 90)
    assert len(said[metric.name]) == len(claim(metric, 0.0, n=90)[metric.name])


def test_a_claim_of_an_accuracy_is_as_it_was() -> None:
    assert claim(ACCURACY, 0.5, n=90) == {"accuracy": "0.50000000000000000", "n": 90}
    assert read_claim({"val": {"accuracy": "0.50000000000000000", "n": 90}}).metric == ACCURACY  # type: ignore[union-attr]
    assert read_claim({}) is None
