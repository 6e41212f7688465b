# SPDX-License-Identifier: Apache-2.0
"""The measured budgets: what counting costs a guest, what a scrape costs a host."""
