"""MNIST's files: read as published, refused with the reason where they are not; and LC on them, in the slow suite."""

import gzip
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from lc_core.algorithm import deploy, run_lc
from lc_core.training.augmentation import PixelShifts
from lc_core.training.data import Split
from lc_core.training.loop import predict, train_reference
from studies import mnist, mnist_lenet5, mnist_lenet300
from sweep.study import accuracy, check_levels
from sweep.study.errors import StudyError
from sweep.study.loading import load_splits


def write_mnist(folder, *, name=mnist.FILES[0], content=None, packed=True):
    """A folder `mnist` with files of the right form, of random bytes, classes below 10; `name` holds `content`."""
    folder = folder / "mnist"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for file, shape in zip(mnist.FILES, mnist.SHAPES, strict=True):
        header = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        numbers = draw.integers(0, 256 if len(shape) > 1 else 10, shape, dtype=np.uint8)
        numbers[0] = 0
        text = header + numbers.tobytes()
        if file == name and content is not None:
            (folder / f"{file}.gz").write_bytes(content)
        elif packed:
            (folder / f"{file}.gz").write_bytes(gzip.compress(text, 1))
        else:
            (folder / file).write_bytes(text)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A folder for files of a hundredth of the size; ten images validate."""
    monkeypatch.setenv("LCSWEEP_DATA", str(tmp_path))
    monkeypatch.setattr(mnist, "SHAPES", ((600, 28, 28), (600,), (100, 28, 28), (100,)))
    monkeypatch.setattr(mnist, "VAL", 10)
    return tmp_path


@pytest.mark.parametrize("packed", [True, False])
def test_images_and_classes_are_read_as_they_stand(data, packed):
    write_mnist(data, packed=packed)
    images, classes, test, test_classes = mnist.load_mnist()
    draw = np.random.default_rng(0)
    expected = [draw.integers(0, 256 if len(s) > 1 else 10, s, dtype=np.uint8) for s in mnist.SHAPES]
    for array in expected:
        array[0] = 0
    for found, array in zip((images, classes, test, test_classes), expected, strict=True):
        assert np.array_equal(found.numpy(), array)
    assert (images.dtype, classes.dtype) == (torch.uint8, torch.int64)


def test_the_last_training_images_validate_and_the_mean_is_that_of_the_rest(data):
    write_mnist(data)
    images, classes, test, _ = mnist.load_mnist()
    splits = mnist.load_splits(1, 28, 28)
    assert [len(split.targets) for split in (splits.train, splits.val, splits.test)] == [590, 10, 100]
    assert splits.train.inputs.shape == (590, 1, 28, 28)
    assert torch.equal(splits.val.targets, classes[-10:])
    mean = images[:590].double().mean(dim=0) / 255
    for split, part in ((splits.train, images[:590]), (splits.val, images[-10:]), (splits.test, test)):
        assert float((split.inputs[:, 0].double() - (part.double() / 255 - mean)).abs().max()) < 1e-6


def test_what_is_missing_is_named_with_where_to_get_it(data):
    with pytest.raises(StudyError, match=r"train-images-idx3-ubyte.gz: no such file\. Put MNIST's .* LCSWEEP_DATA"):
        load_splits(mnist_lenet300.study)


@pytest.mark.parametrize(
    "content, why",
    [
        (b"not packed at all", "expected a gzip file"),
        (gzip.compress(bytes(1000))[:-12], "expected a gzip file"),
        (gzip.compress(b"\0\0\x08\x03" + bytes(100)), "expected an idx file of"),
        (gzip.compress(b""), "expected an idx file of"),
    ],
    ids=["not packed", "cut", "too short", "empty"],
)
def test_a_damaged_file_is_refused_by_name(data, content, why):
    write_mnist(data, content=content)
    with pytest.raises(ValueError, match=f"{mnist.FILES[0]}.gz: {why}"):
        mnist.load_mnist()


@pytest.mark.parametrize("study", [mnist_lenet300.study, mnist_lenet5.study])
def test_every_level_of_the_studies_makes_sense(study):
    model = study.seeded_model()
    check_levels(study, model)
    assert (
        sum(p.numel() for p in model.parameters()) == {"mnist_lenet300": 266_610, "mnist_lenet5": 431_080}[study.name]
    )


def test_lc_trains_on_images_that_are_moved(data):
    write_mnist(data)
    assert isinstance(mnist_lenet300.study.augment(mnist_lenet300.load_data().train.inputs), PixelShifts)


@pytest.mark.slow
def test_lenet300_keeps_its_accuracy_at_a_twentieth_of_its_weights():
    """On the real images, held-out training ones measured, one seed, in a quarter of the study's budget."""
    if "LCSWEEP_DATA" not in os.environ:
        pytest.skip("LCSWEEP_DATA names no folder with MNIST in it")
    study = mnist_lenet300.study
    data, model = study.load_data(), study.seeded_model()
    inputs, targets = data.train.inputs, data.train.targets
    train_reference(model, Split(inputs, targets), loss=study.loss, recipe=replace(study.reference, epochs=10))

    def error():
        return 1 - float(accuracy(predict(model, data.val.inputs), data.val.targets).mean())

    reference = error()
    assert reference < 0.03
    tasks = study.tasks(model, family="prune", configuration={"keep": 0.05})
    schedule, shown = replace(study.schedule, epochs=5), study.augment(inputs)
    *_, state = run_lc(model, tasks, Split(shown, targets), loss=study.loss, schedule=schedule, seed=0)
    deploy(model, tasks, state, data=Split(inputs, None), batch_size=256)
    kept = sum(int((model.state_dict()[f"{layer}.weight"] != 0).sum()) for layer in (0, 2, 4))
    assert kept <= round(0.05 * 266_200)
    assert error() < reference + 0.002
