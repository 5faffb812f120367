"""The splits of a study, from whatever its `load_data` gives: tensors, arrays, datasets or loaders."""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Subset

from lc_core.training.data import Source, Split, call, first_inputs, without_targets
from lc_core.training.nest import Nest, leaves, map_nest, told_of
from lc_core.training.reading import Indexed, Streamed, source_of
from sweep.study.definition import Data, Study

VAL_SHARE, VAL_SEED = 0.1, 0


def splits_of(data: Any, study: Study) -> Data:
    """The same data, with each split as a `Source`. A missing validation split is cut off the training split.

    Raises:
        ValueError, TypeError: a split is empty, has unequal inputs and targets, or is none of the kinds in `Data`.
    """
    if not isinstance(data, Data):
        raise TypeError(f"expected Data(train, val, test), got {type(data).__name__}")
    train, test = (_source(name, getattr(data, name), study) for name in ("train", "test"))
    if data.val is None:
        return Data(*_cut(train), test)
    return Data(train, _source("val", data.val, study), test)


def inputs_in_use(study: Study, model: nn.Module, split: Source, n: int) -> Nest:
    """The inputs of the first `n` examples, as the model gets them in use: without targets, where it can."""
    inputs = first_inputs(split, n)
    return without_targets(model, inputs) if study.forward is call else inputs


def _source(name: str, given: Any, study: Study) -> Source:
    match given:
        case Indexed() | Streamed():
            return given
        case Split(inputs=inputs, targets=targets):
            return _in_memory(name, inputs, targets)
        case (inputs, targets) if _is_tensors(inputs) and _is_tensors(targets):
            return _in_memory(name, inputs, targets)
        case tuple():  # no dataset, though it has a length and parts
            raise TypeError(
                f"split {name}: expected the pair (inputs, targets) of tensors or NumPy arrays, got {told_of(given)}"
            )
    try:
        source = source_of(given, batch_size=study.schedule.batch_size, separate=study.separate)
    except TypeError as error:
        raise TypeError(f"split {name}: {error}") from None
    if not len(source):
        raise ValueError(f"split {name}: expected examples, got none")
    return source


def _in_memory(name: str, inputs: Nest, targets: Nest) -> Split:
    try:
        split = Split(map_nest(_tensor, inputs), map_nest(_tensor, targets))
    except TypeError as error:
        raise TypeError(f"split {name}: {error}") from None
    sizes = [{len(leaf) for leaf in leaves(part)} for part in (split.inputs, split.targets)]
    if len(sizes[0] | sizes[1]) != 1 or not len(split):
        told = [" and ".join(map(str, sorted(size))) or "no" for size in sizes]
        raise ValueError(
            f"split {name}: expected one target for each input, and at least one, got {told[0]} inputs and "
            f"{told[1]} targets"
        )
    return split


def _is_tensors(nest: Nest) -> bool:
    found = list(leaves(nest))
    return bool(found) and all(isinstance(leaf, Tensor | np.ndarray) for leaf in found)


def _tensor(leaf: Any) -> Tensor:
    """The leaf as a tensor, with the memory of an array where torch can use it. TypeError where it holds no numbers."""
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc":
        array = leaf.astype(leaf.dtype.newbyteorder("="), copy=False)
        usable = array.flags.writeable and min(array.strides, default=0) >= 0
        return torch.from_numpy(array if usable else array.copy())
    if not isinstance(leaf, Tensor):
        got = f"an array of {leaf.dtype}" if isinstance(leaf, np.ndarray) else told_of(leaf)
        raise TypeError(f"expected tensors or NumPy arrays of numbers, got {got}")
    return leaf


def _cut(train: Source) -> tuple[Source, Source]:
    """The training split without a tenth, and that tenth."""
    if isinstance(train, Streamed):
        raise ValueError("split val: expected one, since a training split that is a stream cannot be cut; got None")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(VAL_SEED))
    count = round(VAL_SHARE * len(train))
    if not count:
        raise ValueError(f"split val: expected one, since a tenth of {len(train)} training examples is none; got None")
    stay, cut = order.split([len(train) - count, count])
    return _part(train, stay.sort().values), _part(train, cut.sort().values)


def _part(source: Source, index: Tensor) -> Source:
    match source:
        case Split(inputs=inputs, targets=targets):
            return Split(*(map_nest(lambda leaf: leaf[index], part) for part in (inputs, targets)))
        case Indexed():
            return dataclasses.replace(source, dataset=Subset(source.dataset, index.tolist()))
    raise AssertionError(source)
