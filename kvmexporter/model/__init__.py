# SPDX-License-Identifier: Apache-2.0
"""What the program knows: frozen data and pure functions, no I/O and no view."""
