"""Ray's own processes: what is kept of their logs."""

from pathlib import Path

import pytest

from sweep.execution.ray_processes import LAST_LINES, RayProcesses, node_lives


def test_the_ends_of_rays_logs_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "session_1" / "logs"
    logs.mkdir(parents=True)
    lines = [f"line {number}" for number in range(2 * LAST_LINES)]
    (logs / "raylet.out").write_text("\n".join(lines))
    (logs / "worker-1.out").write_text("a job's words")
    RayProcesses(tmp_path).print_last_words()
    said = capsys.readouterr().out
    assert said.splitlines() == ["--- the end of Ray's raylet.out:", *lines[LAST_LINES:]]


def test_no_node_lives_where_none_was_started() -> None:
    assert not node_lives()
