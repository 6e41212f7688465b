# SPDX-License-Identifier: Apache-2.0
"""Pictures of the dashboards, drawn by Grafana's own components in a headless browser."""
