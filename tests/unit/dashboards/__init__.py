# SPDX-License-Identifier: Apache-2.0
"""What is made from the dashboards' definitions."""
