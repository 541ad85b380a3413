# SPDX-License-Identifier: Apache-2.0
"""All that is compared, in the order of the tables."""

import subjects

ALL = (subjects.Ours, subjects.OursTwice, subjects.Script)
