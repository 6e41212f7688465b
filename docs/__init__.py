# SPDX-License-Identifier: Apache-2.0
"""What is written about the program; some of it is made from the code."""
