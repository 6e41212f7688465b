# SPDX-License-Identifier: Apache-2.0
"""All reading of the outside world, one interface a file; roots and sockets are arguments."""
