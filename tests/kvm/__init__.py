# SPDX-License-Identifier: Apache-2.0
"""Tests on this host's real KVM, with exact counts."""
