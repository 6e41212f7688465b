# SPDX-License-Identifier: Apache-2.0
"""Documents that follow from the code: `make docs` writes them, a test compares them."""
