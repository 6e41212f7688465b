# SPDX-License-Identifier: Apache-2.0
"""The one definition of every dashboard, rule and runbook. Only `make dashboards` runs it."""
