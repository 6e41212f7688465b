# SPDX-License-Identifier: Apache-2.0
"""The BPF side: the C programs, what they are compiled with, and the child that loads them."""
