# SPDX-License-Identifier: Apache-2.0
"""What kvmexporter is measured against."""
