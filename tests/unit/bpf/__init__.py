# SPDX-License-Identifier: Apache-2.0
"""The loader child and what it is asked for."""
