# SPDX-License-Identifier: Apache-2.0
"""What the tests share: events, the wire format, and the servers' clients."""
