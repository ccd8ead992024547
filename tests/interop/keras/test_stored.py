"""Files that Keras 2 and 3 wrote, read without Keras: each gives the result that Keras gave."""

import pytest

import clstm
from tests.interop.keras import stored
from tests.support.bounds import assert_close, largest

BOUND = 2e-6
FILES = [(package, name) for package in stored.KINDS for name in stored.names(package)]


def test_there_are_files_of_every_kind():
    assert len(FILES) >= 60
    for package, kinds in stored.KINDS.items():
        assert set(stored.names(package).values()) == set(kinds)


@pytest.mark.parametrize(("package", "name"), FILES)
def test_a_file_gives_what_keras_gave(package, name, tmp_path):
    path, options, x, expected = stored.read(package, name, tmp_path)
    model = clstm.load(path, **options)
    y, _ = model(x)
    assert y.shape == expected.shape
    assert_close(y, expected, BOUND, largest(expected))
