# SPDX-License-Identifier: Apache-2.0
"""The dashboards and alerts with a real Prometheus, and as pictures."""
