# SPDX-License-Identifier: Apache-2.0
import pytest


@pytest.fixture(scope="session")
def pictures():
    """Where pictures go."""
    from lib.consumers import REPOSITORY
    folder = REPOSITORY / ".local/pages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
