# SPDX-License-Identifier: Apache-2.0
"""The benchmark's own arithmetic: what is judged, by what, and what is written."""
