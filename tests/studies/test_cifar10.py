"""CIFAR-10's files: read as published, refused with the reason where they are not; the published network on them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lc_core.training.loop import predict
from studies import cifar10, cifar10_resnet20, rivals_resnet20
from sweep.study import Checkpoint, accuracy
from sweep.study.cuttable import cuttable


def write_batch(path: Path, images: int, seed: int) -> np.ndarray:
    """A file of random images; returns its rows."""
    path.parent.mkdir(exist_ok=True)
    rows = np.random.default_rng(seed).integers(0, 256, (images, cifar10.BYTES), dtype=np.uint8)
    rows[:, 0] %= 10
    path.write_bytes(rows.tobytes())
    return rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LCSWEEP_DATA", str(tmp_path))
    return tmp_path / "cifar-10-batches-bin"


def test_the_batches_that_are_there_are_read_in_order_and_scaled(folder: Path) -> None:
    first, second = write_batch(folder / "data_batch_1.bin", 6, 1), write_batch(folder / "data_batch_3.bin", 4, 3)
    test = write_batch(folder / "test_batch.bin", 5, 0)
    data = cifar10.load_splits()
    assert [len(split.targets) for split in (data.train, data.val, data.test)] == [8, 2, 5]
    rows = np.concatenate([first, second])
    assert torch.cat([data.train.targets, data.val.targets]).tolist() == rows[:, 0].tolist()
    assert data.test.targets.tolist() == test[:, 0].tolist()
    green = rows[9, 1 + 1024 + 32 * 5 + 7]  # the last image, channel 1, row 5, column 7
    assert float(data.val.inputs[1, 1, 5, 7]) == pytest.approx((green / 255 - 0.456) / 0.224, abs=1e-6)


def test_the_rivals_validate_and_test_on_images_that_the_checkpoint_has_not_seen(folder: Path) -> None:
    first, test = write_batch(folder / "data_batch_1.bin", 6, 1), write_batch(folder / "test_batch.bin", 5, 0)
    data = rivals_resnet20.load_data(train=4, others=2)
    for split, rows in ((data.train, first[:4]), (data.val, test[:2]), (data.test, test[2:4])):
        images = torch.from_numpy(rows[:, 1:].reshape(-1, 3, 32, 32))
        assert torch.equal(split.inputs, cifar10.scaled(images))
        assert split.targets.tolist() == rows[:, 0].tolist()


def test_what_is_missing_or_damaged_is_named_with_where_to_get_it(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"found none\. Unpack the binary version from .* LCSWEEP_DATA"):
        cifar10.load_cifar10()
    write_batch(folder / "test_batch.bin", 5, 0)
    with pytest.raises(ValueError, match=r"data_batch_5.bin \(one is enough\) and .* found test_batch.bin"):
        cifar10.load_cifar10()
    (folder / "data_batch_1.bin").write_bytes(b"1" * 3000)
    with pytest.raises(ValueError, match=r"data_batch_1.bin: expected images of 3073 bytes each, got 3000 bytes"):
        cifar10.load_cifar10()


def test_the_network_has_the_published_size_and_channels_that_can_be_cut() -> None:
    model = cifar10_resnet20.ResNet20()
    assert sum(parameter.numel() for parameter in model.parameters()) == 269_722
    assert cuttable(model) == [f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in (0, 1, 2)]


@pytest.mark.slow
@pytest.mark.skipif("LCSWEEP_DATA" not in os.environ, reason="needs the weights and images of LCSWEEP_DATA")
def test_the_checkpoint_fits_and_scores_what_its_readme_says() -> None:
    study = cifar10_resnet20.study
    assert isinstance(study.reference, Checkpoint)
    model, data = study.seeded_model(), study.load_data()
    study.reference.load_into(model)
    right = accuracy(predict(model, data.test.inputs), data.test.targets)
    assert float(right.mean()) == pytest.approx(0.81, abs=0.02)  # of images that went through JPEG
