"""Numbers as the reports write them. Figures, page and summary all use these, so that they agree."""

NO_BREAK = "\u00a0"
TIMES = "\u00d7"
DASH = "\u2013"


def count(number: int) -> str:
    """A whole number with thousands apart: 64,000."""
    return f"{number:,}"


def counted(number: int, noun: str) -> str:
    """A number of things: 1 job, 2 jobs."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def percent(fraction: float, *, digits: int = 2) -> str:
    """A fraction as a percentage: 0.0251 is 2.51 %."""
    return f"{100 * fraction:.{digits}f}{NO_BREAK}%"


def percent_range(low: float, high: float, *, digits: int = 2) -> str:
    """Two fractions as one range of percentages: 2.23-2.79 %, with an en dash."""
    return f"{100 * low:.{digits}f}{DASH}{percent(high, digits=digits)}"


def points(fraction: float) -> str:
    """A difference of two accuracies in percentage points: 0.0042 is 0.42 points; below a hundredth, two figures."""
    shown = 100 * fraction
    return f"{shown:.2f}{NO_BREAK}points" if shown == 0 or abs(shown) >= 0.01 else f"{shown:.2g}{NO_BREAK}points"


def figures(number: float) -> str:
    """A number with four figures: 12.30, 0.8710, 12,346, 1.230e-5."""
    if number == 0:
        return "0"
    if abs(number) >= 9999.5:
        return f"{number:,.0f}" if abs(number) < 1e9 else _power(f"{number:.3e}")
    return f"{number:#.4g}".removesuffix(".") if abs(number) >= 1e-4 else _power(f"{number:.3e}")


def plain(number: float) -> str:
    """The same without zeros at its end: 12.3, 0.871, 12,346, 1.23e-5."""
    digits, power, exponent = figures(number).partition("e")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) + power + exponent


def _power(written: str) -> str:
    """A number with an exponent as JavaScript writes it: 1.230e-5 for 1.230e-05."""
    digits, _, exponent = written.partition("e")
    return f"{digits}e{int(exponent)}"


def ratio(value: float) -> str:
    """A compression ratio with three figures or so: 4.07x, 15.5x, 130x, with a multiplication sign."""
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:,.{digits}f}{TIMES}"


def smaller(value: float) -> str:
    """A compression ratio in words: 4.07x smaller, 1.15x larger, no smaller, with a multiplication sign."""
    if value == 1:
        return "no smaller"
    return f"{ratio(value)} smaller" if value > 1 else f"{ratio(1 / value)} larger"


def round_ratio(value: float) -> str:
    """A compression ratio that is round already, as an axis tick: 5x, with a multiplication sign."""
    return f"{value:,.4g}{TIMES}" if value < 10_000 else f"{value:,.0f}{TIMES}"


def round_bytes(value: float) -> str:
    """A size that is round already, as an axis tick: 500 B, 2 kB, 1.5 MB (decimal prefixes)."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit * 0.9999:
            return f"{value / unit:.4g}{NO_BREAK}{name}"
    return f"{value:.4g}{NO_BREAK}B"


def round_count(value: float) -> str:
    """A count that is round already, as an axis tick: 500, 2 k, 1.5 M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit * 0.9999:
            return f"{value / unit:.4g}{NO_BREAK}{name}"
    return f"{value:.4g}"


def seconds(duration: float) -> str:
    """A duration: 2.3 s, 74 s, 12 min, 3.4 h."""
    if duration < 10:
        return f"{duration:.1f}{NO_BREAK}s"
    if duration < 120:
        return f"{duration:.0f}{NO_BREAK}s"
    if duration < 7200:
        return f"{duration / 60:.0f}{NO_BREAK}min"
    return f"{duration / 3600:.1f}{NO_BREAK}h"
