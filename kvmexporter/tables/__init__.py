# SPDX-License-Identifier: Apache-2.0
"""Pure data: the numbers and names of the kernel's and QEMU's interfaces.

Nothing here imports from the rest of the project or reads anything when it is imported.
"""
