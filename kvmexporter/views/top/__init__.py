# SPDX-License-Identifier: Apache-2.0
"""The live view of a terminal: keys, what is chosen, how it is drawn, and the loop."""
