# SPDX-License-Identifier: Apache-2.0
"""One file per subject; they never import one another. `registry.py` lists them."""
