"""What the graph of an ONNX file may not ask for: loops, functions that call themselves, or too many nodes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from onnx import ModelProto, NodeProto

from lc_core.compression import FormError
from lc_core.file.limits import most

MESSAGE = TypeVar("MESSAGE", bound=Message)
LOOP = "Loop"
DEEPEST = 50
NODE = 1024
"""Bytes that a node takes in memory, roughly."""


def messages(message: Message, kind: type[MESSAGE]) -> Iterator[MESSAGE]:
    """All messages of a kind in a message, wherever they are."""
    if isinstance(message, kind):
        yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if isinstance(value, Message) else value:
                yield from messages(each, kind)


def check_work(model: ModelProto, file_bytes: int) -> None:
    """FormError where a run of the model might not end, or its functions come to more nodes than its size allows."""
    if any(node.op_type == LOOP for node in messages(model, NodeProto)):
        raise FormError("expected a graph without loops, got one")
    bodies = {(each.domain, each.name): list(messages(each, NodeProto)) for each in model.functions}
    known: dict[tuple[str, str], int] = {}

    def count(nodes: Sequence[NodeProto], callers: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            name = (node.domain, node.op_type)
            if name in callers:
                raise FormError(f"its function {name[1][:80]!r} calls itself")
            if name in bodies and name not in known:
                if len(callers) == DEEPEST:
                    raise FormError(f"expected functions that call each other {DEEPEST} deep at most")
                known[name] = count(bodies[name], (*callers, name))
            total += 1 + known.get(name, 0)
        return total

    if (total := count(list(messages(model.graph, NodeProto)), ())) > most(file_bytes) // NODE:
        raise FormError(f"its functions come to {total} nodes in {file_bytes} bytes")
