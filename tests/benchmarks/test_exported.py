"""When a row of an exported file holds."""

from dataclasses import replace

import pytest

from sweep.store.job import Job
from tests.sweep.tiny import done_record


def test_a_row_holds_by_its_latency_its_bytes_and_its_outputs():
    from exported import Exported

    timing = {"ratio": 1.05, "ratio_low": 1.0, "ratio_high": 1.1}
    timing |= {"p50_s": 21e-6, "dense_p50_s": 20e-6, "p95_s": 40e-6, "dense_p95_s": 20e-6}
    job = Job("0" * 16, "prune", {"keep": 0.5}, "lc", 0, {})
    record = done_record(job, artifact_bytes=900, macs=17024)
    met = Exported("digits-k2", record, 1000, 5146, 700, 1e-5, 0.96, 0.95, timing)
    assert met.row().holds
    assert (met.row().ours, met.row().against) == (pytest.approx(21.0), pytest.approx(20.0))
    assert not replace(met, timing=timing | {"ratio": 1.051}).row().holds
    assert not replace(met, onnx_bytes=5147).row().holds
    assert not replace(met, parity=1.1e-5).row().holds
    assert replace(met, parity=None).row().holds
    assert "accuracy 95.00%" in replace(met, parity=None).row().note
    cells = met.cells()
    assert cells[1:6] == ("1,000", "900", "5,146", "700", "17,024")
    assert cells[8:] == ("1.05 (1.00 to 1.10)", "2.00", "1e-05", "96.00", "95.00")
