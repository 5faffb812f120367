"""Arrays and forms that do not fit together always give a ValueError."""

import pytest
import torch

from lc_core.file.forms import unpack


def u8(*values):
    return torch.tensor(values, dtype=torch.uint8)


def f32(*values):
    return torch.tensor(values, dtype=torch.float32)


ONE = {"form": "dense", "shape": [1]}


def sparse(**changes):
    return {"form": "sparse", "shape": [8], "count": 1, "values": ONE} | changes


def factors(shape, left, right):
    return {
        "form": "factors",
        "shape": shape,
        "left": {"form": "dense", "shape": left},
        "right": {"form": "dense", "shape": right},
    }


BITMAP = {"bitmap": u8(1), "values.dense": f32(1)}
PAIR = {"left.dense": f32(1, 2), "right.dense": f32(1, 2)}


@pytest.mark.parametrize(
    "form, arrays",
    [
        ({}, {}),
        ([], {}),
        (None, {}),
        ({"form": "pickle", "shape": [3]}, {}),
        ({"form": "dense"}, {"dense": f32(1, 2, 3)}),
        ({"form": "dense", "shape": [3]}, {}),
        ({"form": "dense", "shape": [4]}, {"dense": f32(1, 2, 3)}),
        ({"form": "dense", "shape": ["3"]}, {"dense": f32(1, 2, 3)}),
        ({"form": "dense", "shape": [10**30]}, {"dense": f32(1, 2, 3)}),
        ({"form": "codebook", "shape": [8]}, {"codes": u8(3)}),
        ({"form": "codebook", "shape": [8]}, {"codes": u8(3, 4), "codebook": f32(1, 2)}),
        ({"form": "codebook", "shape": [9]}, {"codes": u8(3), "codebook": f32(1, 2)}),
        ({"form": "codebook", "shape": [4]}, {"codes": u8(255), "codebook": f32(1, 2, 3)}),
        ({"form": "codebook", "shape": [4]}, {"codes": u8(), "codebook": f32()}),
        ({"form": "codebook", "shape": ["8"]}, {"codes": u8(3), "codebook": f32(1, 2)}),
        (sparse(shape=[16]), BITMAP),
        (sparse(shape=[8.0]), BITMAP),
        (sparse(shape=[10**30]), BITMAP),
        (sparse(count=2), BITMAP),
        (sparse(count=-1), BITMAP),
        (sparse(values=[]), BITMAP),
        (sparse(), {"low": u8(1), "high": u8(1), "values.dense": f32(1)}),
        (sparse(), {"bitmap": u8(3), "values.dense": f32(1)}),
        (factors([2, 2], [2, 1], [2]), PAIR),
        (factors([2, 2], [2], [1, 2]), PAIR),
        (factors([2, 3], [2, 1], [1, 2]), PAIR),
        (factors([3, 2], [2, 1], [1, 2]), PAIR),
        (factors([2, 2], [2, 1], [2, 1]), PAIR),
        (factors([2, 1, 2], [2, 1], [2, 1]), PAIR),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_value_error(form, arrays):
    with pytest.raises(ValueError, match=r"expected|do not fit"):
        unpack(form, arrays)


def groups(**changes):
    part = {"shape": [2, 1], "axis": 0, "first": 0, "values": {"form": "dense", "shape": [1, 1]}}
    return {"form": "groups", "shape": [2, 1], "count": 1, "parts": [part | changes]}


KEPT = {"bitmap": u8(1), "0.dense": f32(1)}


def test_groups_that_fit_are_read():
    assert unpack(groups(), KEPT).decompress().tolist() == [[1.0], [0.0]]


@pytest.mark.parametrize(
    "changes", [{"axis": True}, {"axis": 2}, {"axis": "0"}, {"first": 10**30}, {"first": 1}, {"first": -1}], ids=str
)
def test_groups_that_lie_elsewhere_are_a_value_error(changes):
    with pytest.raises(ValueError, match=r"expected|do not fit"):
        unpack(groups(**changes), KEPT)


def test_a_core_of_more_channels_than_the_kernel_is_a_value_error():
    dense = {name: {"form": "dense", "shape": list(shape)} for name, shape in CORE.items()}
    arrays = {f"{name}.dense": torch.zeros(shape).reshape(-1) for name, shape in CORE.items()}
    with pytest.raises(ValueError, match="expected a core and factors of"):
        unpack({"form": "tucker", "shape": [9, 1, 1]} | dense, arrays)


CORE = {"core": (1, 9, 1), "left": (9, 1), "right": (1, 9)}
