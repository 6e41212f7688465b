# SPDX-License-Identifier: Apache-2.0
"""`docs/benchmarks.md`, read: what a scrape of a host was measured to cost."""

from collections.abc import Mapping
from dataclasses import dataclass

_UNITS = {"ms": 1e-3, "KiB": 1 << 10}


@dataclass(frozen=True, slots=True)
class Host:
    """What a scrape of a host was measured to cost.

    Attributes:
        vms: how many it has.
        cpu_seconds: processor time.
        gzip_bytes: the response.
        series: in all.
        series_per_vm: of one VM.
        source: whether it was measured, or how it was reckoned.
    """

    vms: int
    cpu_seconds: float
    gzip_bytes: float
    series: float
    series_per_vm: float
    source: str

    @property
    def own_series(self) -> float:
        """Without its VMs'."""
        return self.series - self.vms * self.series_per_vm


class Benchmarks:
    """The tables of `docs/benchmarks.md` that are about scrapes.

    Args:
        text: the document.

    Attributes:
        hosts: those that are as by default.
        per_vcpu: those that also count exits by vCPU.
        by_metric: metric → series of one VM.
    """

    def __init__(self, text: str) -> None:
        self.hosts: list[Host] = []
        self.per_vcpu: list[Host] = []
        for row in _rows(text, "A scrape,"):
            if row["without"] == "-":
                (self.hosts if row["per vCPU"] == "off" else self.per_vcpu).append(_host(row))
        metrics = _rows(text, "Series of one VM, by metric")
        self.by_metric = {row["metric"].strip("`"): float(row["series"]) for row in metrics}

    def host(self, vms: int) -> Host:
        """A host of so many VMs: as measured, or on the line between the sizes around it.

        Raises:
            ValueError: no sizes around it were measured.
        """
        below = max((one for one in self.hosts if one.vms <= vms), key=_vms, default=None)
        above = min((one for one in self.hosts if one.vms >= vms), key=_vms, default=None)
        if below is None or above is None:
            raise ValueError(f"no fleets of {vms} VMs, or of fewer and of more, were measured")
        if below == above:
            return below
        share = (vms - below.vms) / (above.vms - below.vms)

        def between(low: float, high: float) -> float:
            return low + (high - low) * share

        return Host(
            vms,
            between(below.cpu_seconds, above.cpu_seconds),
            between(below.gzip_bytes, above.gzip_bytes),
            between(below.series, above.series),
            between(below.series_per_vm, above.series_per_vm),
            f"from the line between {below.vms} and {above.vms} VMs, which were measured",
        )


def _vms(host: Host) -> int:
    return host.vms


def _rows(text: str, title: str) -> list[Mapping[str, str]]:
    """The rows of the table below a heading that begins so, by column."""
    _, _, found = text.partition(f"\n## {title}")
    lines = [line for line in found.partition("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def _host(row: Mapping[str, str]) -> Host:
    return Host(
        int(row["VMs"].replace(",", "")),
        _quantity(row["CPU"]),
        _quantity(row["gzip"]),
        float(row["series"].replace(",", "")),
        float(row["per VM"]),
        "as it was measured",
    )


def _quantity(text: str) -> float:
    number, unit = text.partition("(")[0].replace(",", "").split()  # its noise is no matter here
    return float(number) * _UNITS[unit]
