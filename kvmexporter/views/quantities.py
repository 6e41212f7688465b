# SPDX-License-Identifier: Apache-2.0
"""Numbers for people: three digits and the unit that fits."""

import math
import time

from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Kind, Metric, Value
from kvmexporter.units import ns_to_seconds

_TIMES = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
# From what size on, in which unit.
_RATIOS = ((1e-3, 1e-2, "%"), (1e-6, 1e-6, " ppm"), (1e-12, 1e-9, " ppb"))
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_DECIMAL = ((1e9, "G"), (1e6, "M"), (1e4, "k"))


def duration(seconds: float) -> str:
    """A time with three digits and the unit that fits."""
    sign, size = ("-" if seconds < 0 else ""), abs(seconds)
    for unit, scale in _TIMES:
        if size >= scale:
            return f"{sign}{_three(size / scale)} {unit}"
    return f"{sign}{size / 1e-9:.3g} ns"


def size(count: float) -> str:
    """A number of bytes, in powers of 1024."""
    scaled, unit = float(count), 0
    while abs(scaled) >= 1024 and unit < len(_BINARY) - 1:
        scaled, unit = scaled / 1024, unit + 1
    return f"{_three(scaled)} {_BINARY[unit]}"


def rate(count: float, seconds: float | None) -> str:
    """Events a second, or how many there were if no time passed."""
    return f"{count / seconds:,.1f}" if seconds else f"{count:,.0f}"


def short(count: float) -> str:
    """A count in at most six characters."""
    for scale, unit in _DECIMAL:
        if abs(count) >= scale:
            return f"{_three(count / (1e3 if unit == 'k' else scale))}{unit}"
    return f"{count:.0f}" if count >= 100 or count == int(count) else f"{count:.1f}"


def share(part: float, whole: float) -> str:
    """A part in percent, "" of nothing."""
    return f"{part / whole:.1%}" if whole else ""


def ratio(number: float) -> str:
    """A part of a whole, or how much two clocks differ: in percent, or in millionths and less."""
    for least, scale, unit in _RATIOS:
        if abs(number) >= least:
            return f"{_three(number / scale)}{unit}"
    return "0"


def quantile(times: Histogram | None, q: float) -> str:
    """A quantile of a distribution, "" if nothing was observed."""
    seconds = times.quantile(q) if times else None
    return "" if seconds is None else duration(seconds)


def mean(times: Histogram | None) -> str:
    """The mean of a distribution, "" if nothing was observed."""
    return duration(ns_to_seconds(times.sum_ns) / times.count) if times and times.count else ""


def unit(metric: Metric) -> str:
    """The base unit in a metric's name: seconds, bytes, ratio, hertz, or ""."""
    last = metric.name.removesuffix("_total").rpartition("_")[2]
    return last if last in ("seconds", "bytes", "ratio", "hertz") else ""


def title(metric: Metric, prefixes: tuple[str, ...]) -> str:
    """A metric's name as words, without whose it is, its kind and its unit."""
    name = metric.name
    for prefix in prefixes:
        name = name.removeprefix(prefix)
    name = name.removesuffix("_total").removesuffix("_info")
    if unit(metric):
        name = name.removesuffix(f"_{unit(metric)}")
    return name.replace("_", " ")


def value(metric: Metric, number: Value, seconds: float | None = None) -> str:
    """A metric's value in its unit.

    Args:
        metric: what it is of.
        number: as sampled; of counters and histograms what came in that time.
        seconds: the time, None if the values are totals.
    """
    if isinstance(number, Histogram):
        text = f"{rate(number.count, seconds)}{'/s' if seconds else ''}"
        if number.count:
            text += f", p50 {quantile(number, 0.5)}, p99 {quantile(number, 0.99)}"
        return text
    per = "/s" if seconds and metric.kind is Kind.COUNTER else ""
    if per and seconds:
        number = number / seconds
    match unit(metric):
        case "seconds" if metric.name.endswith("start_time_seconds"):
            return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(number))
        case "seconds":
            return duration(number) + per
        case "bytes":
            return size(number) + per
        case "hertz":
            return f"{number / 1e6:,.3f} MHz"
        case "ratio":
            return ratio(number)
        case _ if per:
            return f"{number:,.1f}/s"
        case _:
            return f"{number:,.0f}" if number == int(number) else f"{number:,.4g}"


def _three(number: float) -> str:
    """Three significant digits, never with an exponent."""
    if not number or abs(number) >= 100:
        return f"{number:,.0f}"
    digits = 2 - math.floor(math.log10(abs(number)))
    text = f"{number:.{max(digits, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
