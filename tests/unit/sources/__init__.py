# SPDX-License-Identifier: Apache-2.0
"""What reads the outside world."""
