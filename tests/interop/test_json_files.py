"""Reading JSON: invalid files, and arrays of numbers."""

import json

import numpy as np
import pytest

from clstm.interop.json_files import Node, read_json, write_json


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1, 2] 3", "not valid JSON: Extra data"),
        (b"\xff\xfe\xff", "not valid JSON"),
        (b"\x80\x81", "not valid JSON"),
        (b'{"a": NaN}', "NaN is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b'{"a": 1, "b": 2, "a": 3}', "an object has 'a' twice"),
        (b'[{"b": {"c": 1, "c": 1}}]', "an object has 'c' twice"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 20_000, "nested too deeply"),
        (b"1" * 5000, "not valid JSON"),  # Python refuses integers of this length
    ],
)
def test_no_json(tmp_path, data, reason):
    path = tmp_path / "model.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=reason) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("value", "shape", "reason"),
    [
        (1.0, (1,), "is not an array of 1 axes"),
        ([1.0], (1, 1), "is not an array of 2 axes"),
        ([[1.0], 2.0], (2, 1), "is not an array of 2 axes"),
        ({"a": 1}, (1,), "is not an array of 1 axes"),
        ([1.0, 2.0], (3,), r"has shape \(2,\), expected \(3,\)"),
        ([[1.0, 2.0]], (2, 1), r"has shape \(1, 2\), expected \(2, 1\)"),
        ([[1.0, 2.0]], (None, 1), r"has shape \(1, 2\), expected \(any, 1\)"),
        ([], (1, 1), r"has shape \(0,\), expected \(1, 1\)"),
        ([1.0], (10**400,), r"has shape \(1,\), expected \(a very large number,\)"),
        ([[1.0], [1.0, 2.0]], (2, 1), "has rows of different lengths"),
        ([1.0, "2.0"], (2,), "contains a value that is not a number"),
        ([1.0, None], (2,), "contains a value that is not a number"),
        ([1.0, True], (2,), "contains a value that is not a number"),
        ([[1.0], [[2.0]]], (2, 1), "contains a value that is not a number"),
        ([1.0, 1e39], (2,), "holds a number that is too large for float32"),
        ([1.0, float("inf")], (2,), "holds a number that is too large"),  # from 1e999
        ([1.0, 10**400], (2,), "holds a number that is too large"),
    ],
)
def test_no_array(value, shape, reason):
    with pytest.raises(ValueError, match=rf"^m\.json: a\[0\] {reason}"):
        Node(value, "m.json", "a[0]").array(shape, np.float32)


def test_arrays():
    array = Node([[1, 2.5], [-3e38, 4]], "m.json").array((2, None), np.float32)
    np.testing.assert_array_equal(array, np.array([[1, 2.5], [-3e38, 4]], np.float32))
    assert array.dtype == np.float32
    assert Node([1e300], "m.json").array((1,), np.float64) == [1e300]


def test_messages_say_the_place():
    root = Node({"a": [{"b": True}, "x" * 1000]}, "m.json")
    first, second = root.members({"a"})["a"].items()
    inner = first.members({"b"}, {"c"})["b"]
    for check, message in [
        (lambda: inner.integer(1), r"m.json: a\[0\].b is true, expected an integer"),
        (lambda: inner.text(), r"m.json: a\[0\].b is true, expected a string"),
        (lambda: inner.items(), r"m.json: a\[0\].b is true, expected a list"),
        (lambda: root.members({"a"})["a"].items(3), "a has 2 items, expected at least 3"),
        (lambda: inner.any_members(), r"m.json: a\[0\].b is true, expected an object"),
        (lambda: first.members({"c"}, {"b"}), r"m.json: a\[0\] has no 'c'"),
        (lambda: first.members(set()), r"m.json: a\[0\] has 'b', which is not supported"),
        (lambda: root.members({"b"}), "m.json: the file has no 'b'"),
        (lambda: second.text("y", "z"), r"m.json: a\[1\] is 'x+\.\.\.x+', expected 'y' or 'z'"),
    ]:
        with pytest.raises(ValueError, match=message) as caught:
            check()
        assert len(str(caught.value)) < 100


@pytest.mark.parametrize("value", [0, 4, 10**30, -(10**400), 2.0, None, "2", [2]])
def test_no_integer(value):
    with pytest.raises(ValueError, match=r"m\.json: the file is .*expected"):
        Node(value, "m.json").integer(1, 3)


def test_round_trip(tmp_path):
    path = tmp_path / "model.json"
    values = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    write_json(path, {"a": values.tolist(), "b": "é"})
    value = read_json(path).value
    np.testing.assert_array_equal(np.array(value["a"], np.float32), values)
    assert value["b"] == "é"


def test_nothing_is_written_for_numbers_that_json_does_not_have(tmp_path):
    path = tmp_path / "model.json"
    path.write_text("before")
    with pytest.raises(ValueError, match="the model has NaN or infinity"):
        write_json(path, {"a": [1.0, float("nan")]})
    assert path.read_text() == "before"
    write_json(path, [1.0])
    assert json.loads(path.read_text()) == [1.0]
