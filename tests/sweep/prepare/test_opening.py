"""A sweep's folder begun: what is said of the reference."""

from pathlib import Path

import pytest

from sweep.prepare.prepared import prepare
from tests.sweep.tiny import changed, options


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ("0", "taking the reference of tiny as it is: no epochs of training"),
        ("0.5", "training the reference of tiny: 0.5 epochs"),
    ],
)
def test_it_is_said_whether_the_reference_is_trained(tmp_path: Path, epochs: str, said: str) -> None:
    study = tmp_path / "tiny.py"
    study.write_text(changed("epochs=20", f"epochs={epochs}"))
    lines: list[str] = []
    prepare(options(study, tmp_path / "sweep"), say=lines.append)
    assert lines[0] == said
