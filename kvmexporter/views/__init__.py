# SPDX-License-Identifier: Apache-2.0
"""A snapshot, shown: each view takes what was sampled and never touches the kernel."""
