# SPDX-License-Identifier: Apache-2.0
"""What is shipped: wheel, deb, image, Kubernetes, systemd."""
