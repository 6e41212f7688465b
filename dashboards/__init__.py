# SPDX-License-Identifier: Apache-2.0
"""Dashboards, alerts and their provisioning; all but `generate` is made by `make dashboards`."""
