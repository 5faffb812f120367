"""What all tests share: hypothesis asks for no speed, which a busy machine does not have."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture
def png_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports write their figures as PNG files only, which is faster: for tests of something else."""
    monkeypatch.setattr("reports.FORMATS", ("png",))
