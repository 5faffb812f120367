from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from lc_core.training.nest import joined, leaves, map_nest, moved, named_leaves

Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Both:
    ids: Any
    mask: Any


class Encoding(UserDict[str, Any]):
    """A mapping of a class of its own, like Hugging Face's BatchEncoding."""


X, Y = torch.arange(6.0).view(3, 2), torch.tensor([0, 1, 2])
NESTS = [X, (X, Y), [X, (Y,)], {"x": X, "y": [Y]}, Pair(X, Y), Both(X, {"y": Y}), Encoding(x=X, y=Y), OrderedDict(x=X)]


@pytest.mark.parametrize("nest", NESTS, ids=lambda nest: type(nest).__name__)
def test_a_nest_keeps_its_structure_and_its_classes(nest: Any) -> None:
    doubled = map_nest(lambda leaf: 2 * leaf, nest)
    assert type(doubled) is type(nest)
    assert [leaf.tolist() for leaf in leaves(doubled)] == [(2 * leaf).tolist() for leaf in leaves(nest)]
    assert all(leaf is not other for leaf, other in zip(leaves(nest), leaves(doubled), strict=True))


@pytest.mark.parametrize("nest", NESTS, ids=lambda nest: type(nest).__name__)
def test_the_parts_of_a_nest_join_to_the_nest(nest: Any) -> None:
    parts = [map_nest(lambda leaf, part=part: leaf[part], nest) for part in (slice(0, 1), slice(1, 3))]
    whole = joined(parts)
    assert type(whole) is type(nest)
    assert all(torch.equal(*pair) for pair in zip(leaves(whole), leaves(nest), strict=True))


def test_none_stays_none_and_leaves_that_are_no_tensors_do_not_move() -> None:
    assert map_nest(torch.neg, {"x": X, "mask": None})["mask"] is None
    assert list(leaves((None, X))) == [X]
    found = moved({"x": X, "names": ["a", "b"]}, "meta")
    assert found["x"].is_meta
    assert found["names"] == ["a", "b"]


def test_each_leaf_has_a_name_of_its_place() -> None:
    leaf = torch.ones(1)
    assert [*named_leaves(leaf, "x")] == [("x", leaf)]
    nest = {"ids": leaf, "more": (leaf, None, [leaf])}
    assert [name for name, _ in named_leaves(nest, "input")] == ["input.ids", "input.more.0", "input.more.2.0"]
