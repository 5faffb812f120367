"""The source of a user's function or class, wherever it was written: in a file or in a notebook's cell."""

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable
from typing import Any

from sweep.study.errors import StudyError


def source_of(code: Callable[..., Any]) -> str:
    """The source, from the left margin.

    Raises:
        StudyError: there is none, as in Python's own prompt.
    """
    try:
        return textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError) as error:
        found = _in_cell(code)
        if found is None:
            raise StudyError(
                f"expected the source of {code.__qualname__}, which is part of the study's hash, found none: write it "
                "in a file or in a notebook's cell"
            ) from error
        return textwrap.dedent(found)


def _in_cell(code: Callable[..., Any]) -> str | None:
    """The source of a class from a notebook's cell, which `inspect` looks for in vain; None where there is none.

    The class's functions know the cell.
    """
    inside = (each.__code__ for each in map(inspect.unwrap, filter(inspect.isfunction, vars(code).values())))
    for function in inside:
        lines = linecache.getlines(function.co_filename)
        for node in ast.walk(ast.parse("".join(lines))):
            if isinstance(node, ast.ClassDef) and node.name == code.__name__ and node.end_lineno is not None:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                if first <= function.co_firstlineno <= node.end_lineno:
                    return "".join(lines[first - 1 : node.end_lineno])
    return None
