"""NumPy's arrays in pickles, and where a state dict stands in one; read without PyTorch."""

import pickle

import numpy as np
import pytest

import clstm
from clstm.interop import npz
from clstm.interop import torch as interop
from tests.interop.torch.pickles import LSTM, archive, call, integer, sequence, state, symbol, text

RNG = np.random.default_rng(0)
SHAPES = {"weight_ih_l0": (12, 2), "weight_hh_l0": (12, 3), "bias_ih_l0": (12,)}
ARRAYS = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
ARRAYS["bias_hh_l0"] = np.zeros(12, np.float32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pkl"


def load(path, arrays, protocol=4, **options):
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    return clstm.load(path, **options)


def expected(path, dtype=None):
    np.savez(path.with_suffix(".npz"), **ARRAYS)
    return npz.load(path.with_suffix(".npz"), dtype=dtype).parameters.flat


CHANGES = {
    "as they are": lambda a: a,
    "in Fortran's order": np.asfortranarray,
    "bytes in the other order": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "every other element": lambda a: np.repeat(a, 2, 0)[::2],
    "read only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("change", CHANGES)
def test_arrays_of_every_layout_and_protocol(change, protocol, path):
    arrays = {name: CHANGES[change](array) for name, array in ARRAYS.items()}
    model = load(path, arrays, protocol)
    np.testing.assert_array_equal(model.parameters.flat, expected(path))
    assert model.notes == {}


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_arrays_of_other_types(kind, path):
    model = load(path, {name: array.astype(kind) for name, array in ARRAYS.items()})
    assert model.dtype == (np.float64 if kind == np.float64 else np.float32)
    assert model.notes == ({"stored_as": "float16"} if kind == np.float16 else {})
    np.testing.assert_allclose(model.parameters.flat, expected(path), rtol=0, atol=2e-3)


def test_read_returns_a_sequential(path):
    load(path, ARRAYS)
    model = interop.read(path, batch_first=True)
    assert isinstance(model, clstm.Sequential) and model.batch_first
    np.testing.assert_array_equal(model.parameters.flat, expected(path))
    again = npz.read(path.with_suffix(".npz"), dtype=np.float64)
    assert isinstance(again, clstm.Sequential) and again.dtype == np.float64


def test_a_state_dict_in_lists_and_tuples(path):
    content = {"a": ({"epoch": 1}, [{"weights": ARRAYS}]), "b": [{}, 3, None]}
    assert load(path, content).input_size == 2
    assert clstm.load(path, key="a.1.0.weights").input_size == 2
    with pytest.raises(ValueError, match=r"weights\.pkl: key 'b' is no .*: a\.1\.0\.weights"):
        clstm.load(path, key="b")
    several = [ARRAYS, {name: array.copy() for name, array in ARRAYS.items()}]
    with pytest.raises(ValueError, match=r"key must be 'x\.0' or 'x\.1'"):
        load(path, {"x": several})


def test_what_is_nested_too_deeply(path):
    content = ARRAYS
    for _ in range(200):
        content = [content]
    with pytest.raises(ValueError, match=r"weights\.pkl: .*nested too deeply"):
        load(path, {"x": content})


def test_the_format_before_pytorch_1_6_is_refused_by_name(path):
    """It begins with a number alone."""
    with pytest.raises(ValueError, match=r"PyTorch 1\.6 and later"):
        load(path, 0x1950A86A20F9469CFC6C, 2)


def array(shape=(12, 2), dtype=None, data=b"B\x60\0\0\0" + bytes(96), fields=5):
    """An array's instructions, in the protocol 3."""
    made = call("numpy.core.multiarray", "_reconstruct", symbol("numpy", "ndarray"))
    kind = call("numpy", "dtype", text("f4"), b"\x89", b"\x88") if dtype is None else dtype
    parts = [integer(1), sequence(*map(integer, shape)), kind, b"\x89", data]
    return made + sequence(*parts[:fields]) + b"b"


BAD = {
    "no numbers": (array(data=b"N"), "no bytes"),
    "few numbers": (array(data=b"B\x04\0\0\0" + bytes(4)), r"shape \(12, 2\) and 4 bytes"),
    "a large shape": (array((2**40, 2**40)), "rows|shape"),
    "a negative size": (array((-12, -2)), "shape|rows|no tuple of sizes"),
    "many axes": (array((1,) * 50), "shape|axes"),
    "text of other characters": (
        array(data=call("_codecs", "encode", text("\u20ac" * 32), text("latin1"))),
        "no bytes",
    ),
    "integers": (array(dtype=call("numpy", "dtype", text("i4"))), "numbers of i4"),
    "objects": (array(dtype=call("numpy", "dtype", text("O"))), "numbers of O"),
    "no type": (array(dtype=b"N"), "it has values, expected one of f2, f4, f8"),
    "another function as type": (array(dtype=call("os", "abort")), "expected one of f2, f4, f8"),
    "no name of a type": (array(dtype=call("numpy", "dtype", b"N")), "expected one of f2, f4, f8"),
    "another order": (
        array(dtype=call("numpy", "dtype", text("f4")) + sequence(integer(3), b"N") + b"b"),
        "no order of bytes",
    ),
    "few fields": (array(fields=4), "expected a tensor"),
    "no state": (call("numpy.core.multiarray", "_reconstruct", integer(1)), "expected a tensor"),
    "a call of its own": (call("os", "abort"), "is os.abort, expected a tensor"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_array_is_refused_by_its_name(name, path):
    value, words = BAD[name]
    names = dict.fromkeys(SHAPES, array((12, 2)))
    good = {"weight_hh_l0": array((12, 3), data=b"B\x90\0\0\0" + bytes(144))}
    content = state(names | good | {"weight_ih_l0": value})
    content = content.replace(text("bias_ih_l0") + array((12, 2)), b"")
    for data in (b"\x80\3" + content + b".", archive(content)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=words) as caught:
            interop.load(path)
        assert str(caught.value).startswith(str(path))
        assert "weight_ih_l0" in str(caught.value)


def test_tensors_of_pytorch_need_the_archive(path):
    path.write_bytes(b"\x80\2" + state(LSTM) + b".")
    with pytest.raises(ValueError, match="weight_ih_l0: its numbers are not in the file"):
        clstm.load(path)


def test_mutated_pickles(path):
    """ValueError with the file's name, or a model."""
    check_mutations(path, 500)


@pytest.mark.long
def test_many_mutated_pickles(path):
    check_mutations(path, 50_000)


def check_mutations(path, count):
    rng, refused = np.random.default_rng(0), 0
    for k in range(count):
        changed = bytearray(pickle.dumps(ARRAYS, protocol=2 + k % 4))
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(2, len(changed)))
            changed[place] = rng.choice([rng.integers(256), *b"}](t)RQbu.0"])
        path.write_bytes(bytes(changed))
        try:
            assert interop.load(path).parameters.flat.size < 1000
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert count // 10 < refused < count
