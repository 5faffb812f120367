"""The error of each layer when it alone is compressed."""

from pathlib import Path

import pytest
import torch

from sweep.job import layer_errors as module
from sweep.job.layer_errors import layer_errors
from sweep.job.measure import measure
from tests.sweep.tiny import prepared, write_study


def test_each_is_the_error_of_the_reference_with_that_layer_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = prepared(write_study(tmp_path), tmp_path / "out")
    context, job = sweep.context, sweep.entries[-1].jobs[0]
    model = context.build_model()
    model.load_state_dict(context.reference)
    tasks = context.study.tasks(model, family=job.family, configuration=job.configuration)
    thetas = [task.compress(task.governed.gather(context.reference), mu=1.0, previous=None) for task in tasks]
    counted: list[float] = []

    def counting(*arguments: object, **options: object) -> object:
        counted.append(1)
        return measure(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "measure", counting)
    found = layer_errors(tasks, thetas, context)
    assert len(found) > 1
    assert len(counted) == len(found) + 1
    assert layer_errors(tasks, thetas, context) == found
    assert len(counted) == len(found) + 1, "seeds and methods share what this process has measured"
    for task, theta in zip(tasks, thetas, strict=True):
        for name, values in task.governed.scatter(theta.decompress()).items():
            with torch.no_grad():
                model.load_state_dict(context.reference | {name: values})
            expected = measure(model, context.data.val, study=context.study, interval=False)
            assert found[name]["error"] == expected.error
            assert found[name]["n"] == len(context.data.val)
