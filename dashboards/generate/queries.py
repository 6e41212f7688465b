# SPDX-License-Identifier: Apache-2.0
"""Which metrics and labels a PromQL query names; enough of its grammar for our own queries."""

import re
from dataclasses import dataclass

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*\{([^}]*)\}")
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_BY = re.compile(r"\bby\s*\(([^)]*)\)")
_WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_DURATION = re.compile(r"\[[^\]]*\]|\boffset\s+\S+")
_NUMBER = re.compile(r"\b\d[\w.]*(?:[eE][-+]?\d+)?")
_VARIABLE = re.compile(r"\$\w+|\$\{[^}]*\}")
_WORDS = frozenset(
    {
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "and",
        "or",
        "unless",
        "bool",
        "offset",
        "sum",
        "min",
        "max",
        "avg",
        "count",
        "count_values",
        "topk",
        "bottomk",
        "quantile",
        "stddev",
        "inf",
        "nan",
    }
)


@dataclass(frozen=True, slots=True)
class Named:
    """What a query names.

    Attributes:
        metrics: names of metrics and recording rules.
        matched: (metric, label) of each matcher; "" is a selector without a name.
        grouped: labels of by, on, group_left and their kin.
        by: labels of each by.
    """

    metrics: frozenset[str]
    matched: frozenset[tuple[str, str]]
    grouped: frozenset[str]
    by: frozenset[frozenset[str]] = frozenset()


def named(promql: str) -> Named:
    """Read a query."""
    text = _STRING.sub('""', promql)
    text = _DURATION.sub("", text)
    metrics: set[str] = set()
    matched: set[tuple[str, str]] = set()
    for name, matchers in _SELECTOR.findall(text):
        if name:
            metrics.add(name)
        matched |= {(name, label) for label in _MATCHER.findall(matchers)}
    rest = _SELECTOR.sub(" ", text)
    grouped = {label for labels in _GROUPING.findall(rest) for label in _split(labels)}
    by = frozenset(_split(labels) for labels in _BY.findall(rest))
    rest = _GROUPING.sub(" ", rest)
    rest = _NUMBER.sub(" ", _VARIABLE.sub(" ", rest))
    for found in _WORD.finditer(rest):
        called = rest[found.end() :].lstrip().startswith("(")
        if found[0].lower() not in _WORDS and not called:
            metrics.add(found[0])
    return Named(frozenset(metrics), frozenset(matched), frozenset(grouped), by)


def _split(labels: str) -> frozenset[str]:
    return frozenset(label.strip() for label in labels.split(",")) - {""}
