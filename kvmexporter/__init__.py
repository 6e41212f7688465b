# SPDX-License-Identifier: Apache-2.0
"""Prometheus exporter and timekeeping monitor for KVM hosts and guests."""

__version__ = "0.1.0"
