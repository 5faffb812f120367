"""ONNX files of compressed models. All but this file need the extra `onnx`."""

from importlib.util import find_spec


def has_onnx() -> bool:
    """Whether the extra `onnx` is installed."""
    return all(find_spec(name) is not None for name in ("onnx", "onnxruntime", "onnxscript"))
