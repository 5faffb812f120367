"""Nests of tensors: a tensor, or tuples, lists, mappings and dataclasses of nests."""

import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

Nest = Any
"""A tensor or other value, or a tuple, list, mapping or dataclass of nests."""


def map_nest(function: Callable[..., Any], nest: Nest, *others: Nest) -> Nest:
    """A nest of the same structure, of what `function` gives for each leaf and for the same leaf of `others`.

    Classes of tuples and mappings are kept: a named tuple, an OrderedDict, Hugging Face's BatchEncoding and
    ModelOutput. None stays None.
    """
    match nest:
        case None:
            return None
        case Tensor():
            return function(nest, *others)
        case Mapping():
            made = {key: map_nest(function, nest[key], *(other[key] for other in others)) for key in nest}
            return _like_mapping(nest, made)
        case tuple() | list():
            parts = [map_nest(function, *each) for each in zip(nest, *others, strict=True)]
            return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
        case _ if dataclasses.is_dataclass(nest) and not isinstance(nest, type):
            names = [field.name for field in dataclasses.fields(nest)]
            values = {name: map_nest(function, *(getattr(each, name) for each in (nest, *others))) for name in names}
            return dataclasses.replace(nest, **values)
    return function(nest, *others)


def leaves(nest: Nest) -> Iterator[Any]:
    """The leaves of a nest, in order."""
    return (leaf for _, leaf in named_leaves(nest, ""))


def named_leaves(nest: Nest, name: str) -> Iterator[tuple[str, Any]]:
    """The same, each with its place in a nest called `name`: "x" for a tensor, "x.0" and "x.1" for a tuple, "x.key"."""
    match nest:
        case None:
            return
        case Tensor():
            yield name, nest
            return
        case Mapping():
            parts: Iterable[tuple[Any, Nest]] = ((key, nest[key]) for key in nest)
        case tuple() | list():
            parts = enumerate(nest)
        case _ if dataclasses.is_dataclass(nest) and not isinstance(nest, type):
            parts = ((field.name, getattr(nest, field.name)) for field in dataclasses.fields(nest))
        case _:
            yield name, nest
            return
    for key, part in parts:
        yield from named_leaves(part, f"{name}.{key}")


def joined(nests: list[Nest]) -> Nest:
    """The nests of the parts of a batch as one nest, by concatenation along dimension 0."""
    if len(nests) == 1:
        return nests[0]
    return map_nest(lambda *parts: torch.cat(parts), *nests)


def cloned(nest: Nest) -> Nest:
    """The nest with copies of its tensors."""
    return map_nest(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, nest)


def moved(nest: Nest, device: torch.device | str) -> Nest:
    """The nest with its tensors on `device`."""
    return map_nest(lambda leaf: leaf.to(device) if hasattr(leaf, "to") else leaf, nest)


def told_of(nest: Nest) -> str:
    """The types and shapes of a nest's tensors: "float32 (50, 64)", "(float32 (50, 64), int64 (50,))"."""
    match nest:
        case Tensor():
            return f"{str(nest.dtype).removeprefix('torch.')} {tuple(nest.shape)}"
        case dict():
            return "{" + ", ".join(f"{key}: {told_of(value)}" for key, value in nest.items()) + "}"
        case tuple() | list():
            return f"({', '.join(map(told_of, nest))})"
    parts = [leaf for leaf in leaves(nest) if leaf is not nest]
    return f"{type(nest).__name__} {told_of(tuple(parts))}" if parts else type(nest).__name__


def _like_mapping(nest: Mapping[Any, Any], made: dict[Any, Any]) -> Mapping[Any, Any]:
    """`made` as a mapping of the class of `nest`."""
    if type(nest) is dict:
        return made
    if isinstance(nest, MutableMapping):
        whole = copy.copy(nest)
        for key, value in made.items():
            whole[key] = value
        return whole
    return made
