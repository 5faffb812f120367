"""Data of every kind that a study may give, and sweeps of them."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lc_core import Codebook, Recipe, Schedule
from lc_core.training.data import Split
from lc_core.training.reading import Indexed, Streamed
from sweep.job.context import open_context, split_arrays
from sweep.study import Data, Family, Study, accuracy
from sweep.study.errors import StudyError
from sweep.study.fingerprint import study_parts
from sweep.study.loading import load_splits
from tests.sweep.tiny import STUDY, changed, prepared, run_all, write_study

X, Y = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
PAIR = (X, Y)


def study_of(*splits: Any, **others: Any) -> Study:
    """A study of these splits."""
    facts: dict[str, Any] = {
        "name": "mine",
        "build_model": lambda: nn.Linear(8, 3),
        "load_data": lambda: Data(*splits),
        "loss": nn.functional.cross_entropy,
        "reference": Recipe(epochs=1, lr=0.1, batch_size=10),
        "schedule": Schedule(epochs=1, lr=0.1, batch_size=10),
        "families": (Family("quantize", {"size": (4,)}, lambda configuration: {"*": Codebook(size=4)}),),
    }
    return Study(**facts | others)


def test_tensors_arrays_datasets_and_loaders_become_splits() -> None:
    data = load_splits(study_of((X.numpy(), Y.numpy()), TensorDataset(X, Y), DataLoader(TensorDataset(X, Y))))
    assert [type(split) for _, split in data.items()] == [Split, Indexed, Indexed]
    for _, split in data.items():
        inputs, targets = next(split.parts(60))
        assert torch.equal(inputs, X)
        assert torch.equal(targets, Y)


def test_a_missing_validation_split_is_a_tenth_of_train_the_same_each_time() -> None:
    kept = []
    for train in (PAIR, TensorDataset(X, Y)):
        for _ in range(2):
            data = load_splits(study_of(train, None, PAIR))
            assert [len(split) for _, split in data.items()] == [54, 6, 60]
            rows = torch.cat([next(split.parts(60))[0] for split in (data.train, data.val)])
            assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, X.tolist()))
            kept.append(next(data.val.parts(60))[0])
    assert all(torch.equal(each, kept[0]) for each in kept)


WRONG: list[tuple[Any, str]] = [
    ((X[:0], Y[:0]), "split train: expected one target for each input, and at least one, got 0 inputs and 0 targets"),
    ((X, Y[1:]), "split train: expected one target for each input, and at least one, got 60 inputs and 59 targets"),
    (({"a": X, "b": X[1:]}, Y), "got 59 and 60 inputs and 60 targets"),
    (3, "split train: expected tensors, a Dataset or a DataLoader, got int"),
    ([], "split train: expected examples, got none"),
    ((X,), "split train: expected the pair (inputs, targets) of tensors or NumPy arrays, got (float32 (60, 8))"),
    ((X.tolist(), Y), "split train: expected the pair (inputs, targets) of tensors or NumPy arrays, got ("),
    ((pd.DataFrame(X.numpy()), Y), "or NumPy arrays, got (DataFrame, int64 (60,))"),
    ((X.numpy().astype(object), Y), "split train: expected tensors or NumPy arrays of numbers, got an array of object"),
    (Split(X, ["a"] * 60), "split train: expected tensors or NumPy arrays of numbers, got str"),
]


@pytest.mark.parametrize(("train", "message"), WRONG)
def test_data_that_are_no_split_are_refused_in_a_line(train: Any, message: str) -> None:
    with pytest.raises(StudyError) as refused:
        load_splits(study_of(train, PAIR, PAIR))
    assert message in str(refused.value)
    assert str(refused.value).startswith("study mine: load_data: ")


def test_an_array_is_taken_however_it_lies() -> None:
    held = X.numpy().copy()
    held.flags.writeable = False
    for array in (X.numpy()[::-1][::-1], held, X.numpy().astype(">f4"), np.asfortranarray(X.numpy())):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = load_splits(study_of((array, Y), (array[::-1], Y), PAIR))
        assert torch.equal(data.train.inputs, X)
        assert torch.equal(data.val.inputs, X.flip(0))
    mine = X.numpy()
    assert load_splits(study_of((mine, Y), PAIR, PAIR)).train.inputs.data_ptr() == mine.ctypes.data


def test_too_few_examples_to_cut_off_a_validation_split() -> None:
    with pytest.raises(StudyError, match="split val: expected one, since a tenth of 3 training examples is none"):
        load_splits(study_of((X[:3], Y[:3]), None, PAIR))


def test_a_stream_needs_a_validation_split_and_no_augmentation() -> None:
    stream = Streamed([PAIR], 60)
    with pytest.raises(StudyError, match="split val: expected one, since a training split that is a stream"):
        load_splits(study_of(stream, None, PAIR))
    with pytest.raises(StudyError, match=r"expected Data\(train, val, test\), got tuple"):
        load_splits(replace(study_of(), load_data=lambda: PAIR))  # type: ignore[arg-type,return-value]


OUTPUTS: list[tuple[Any, Any, str]] = [
    (
        torch.randn(5, 1),
        torch.ones(5),
        r"expected outputs of shape \(n, classes\), two classes or more, got .*\(5, 1\)",
    ),
    (torch.randn(5), torch.ones(5), r"expected outputs of shape \(n, classes\)"),
    (torch.randn(5, 3, 4), torch.ones(5, 4, dtype=torch.int64), r"got float32 \(5, 3, 4\)"),
    (torch.randn(5, 3), torch.ones(5), r"whole numbers of shape \(5,\), got float32 \(5,\)"),
    (torch.randn(5, 3), torch.ones(5, 3, dtype=torch.int64), r"got int64 \(5, 3\)"),
    (
        {"hidden": torch.randn(5, 3)},
        torch.ones(5, dtype=torch.int64),
        r"two classes or more, got {hidden: float32 \(5, 3\)}",
    ),
    (torch.randn(5, 3), {"labels": torch.ones(5)}, r"got {labels: float32 \(5,\)}; give the study a metric of its own"),
]


@pytest.mark.parametrize(("outputs", "targets", "message"), OUTPUTS)
def test_accuracy_refuses_what_it_has_no_meaning_for(outputs: Any, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy(outputs, targets)


def test_accuracy_finds_the_logits_of_a_models_output() -> None:
    logits, targets = torch.eye(3), torch.tensor([0, 1, 1])
    for outputs in (logits, (logits, "hidden"), {"loss": 0, "logits": logits}):
        assert accuracy(outputs, targets).tolist() == [1, 1, 0]


DATASET = changed(
    "    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))",
    "    return Data(*(torch.utils.data.TensorDataset(inputs[part], targets[part]) for part in parts))",
)
MAPPING = changed(
    "    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))",
    '    return Data(*(Split({"input": inputs[part].clone()}, targets[part].clone()) for part in parts))',
)


def sizes(folder: Path, text: str) -> list[tuple[int, float]]:
    sweep = prepared(write_study(folder, text=text), folder / "runs" / "tiny")
    return [(record.artifact_bytes, record.val.value) for record in run_all(sweep)]  # type: ignore[union-attr,misc]


def test_a_sweep_of_a_dataset_or_a_mapping_gives_the_numbers_of_the_same_tensors(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("tensors", "dataset", "mapping")]
    for folder in folders:
        folder.mkdir()
    expected = sizes(folders[0], STUDY)
    for folder, text in zip(folders[1:], (DATASET, MAPPING), strict=True):
        found = sizes(folder, text)
        assert [accuracy for _, accuracy in found] == [accuracy for _, accuracy in expected]
        assert all(abs(size - other) < 30 for (size, _), (other, _) in zip(found, expected, strict=True))


def test_workers_get_what_is_in_memory_and_load_what_is_not(tmp_path: Path) -> None:
    sweep = prepared(write_study(tmp_path, text=DATASET), tmp_path / "runs" / "tiny")
    assert split_arrays(sweep.context.data) == {}
    opened = open_context("tiny.py", user_folder=str(tmp_path), splits={}, folder=sweep.folder)
    assert isinstance(opened.data.train, Indexed)
    arrays = split_arrays(load_splits(study_of(PAIR, PAIR, PAIR)))
    assert np.array_equal(arrays["val"][0], X.numpy())


def test_the_hash_of_a_dataset_counts_its_size_and_its_examples() -> None:
    def part(*tensors: Any) -> str:
        study = study_of(TensorDataset(*tensors), PAIR, PAIR)
        return study_parts(study, load_splits(study))["data"]

    assert part(X, Y) == part(X.clone(), Y.clone())
    assert len({part(X, Y), part(X + 1, Y), part(X[1:], Y[1:])}) == 3
