"""A figure as the bytes of a PNG, SVG or PDF file."""

import io

from matplotlib.figure import Figure

from reports.figures.style import CARD, settings

FORMATS = ("png", "svg", "pdf")
DPI = 200


def encode(figure: Figure, *, format: str) -> bytes:
    """The figure as "png", "svg" or "pdf". The same figure gives the same bytes: they hold no dates."""
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
