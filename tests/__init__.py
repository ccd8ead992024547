"""The tests, one folder for each area; what several areas share is in `support`."""

import pytest

pytest.register_assert_rewrite("tests.support", "tests.embed", "tests.interop")
