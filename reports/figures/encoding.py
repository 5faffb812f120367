"""How every figure is drawn and written: one set of settings, three formats, the same bytes every time."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from reports.figures.marks import CARD, INK

FORMATS = ("png", "svg", "pdf")
DPI = 200

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,
    "text.usetex": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "lcsweep",
    "pdf.fonttype": 42,
    "path.simplify": True,
}


def encode(figure: Figure, *, format: str) -> bytes:
    """The figure's bytes as "png", "svg" or "pdf": the same for the same figure, without dates."""
    if format not in FORMATS:
        raise ValueError(f"expected a format among {', '.join(FORMATS)}, got {format!r}; choose one of them")
    metadata: dict[str, str | None] = {
        "png": {"Software": None, "Title": "lcsweep"},
        "svg": {"Date": None, "Creator": "lcsweep", "Title": "lcsweep"},
        "pdf": {"CreationDate": None, "Creator": "lcsweep", "Producer": None, "Title": "lcsweep"},
    }[format]
    stream = io.BytesIO()
    with settings():
        figure.savefig(stream, format=format, dpi=DPI, facecolor=CARD, metadata=metadata)
    return stream.getvalue()


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib's own defaults with ours on top, whatever the user's matplotlibrc says, and theirs again after."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
