"""NumPy's .npz files, and how the LSTM in a file of weights is found."""

import io
import zipfile

import numpy as np
import pytest

import clstm
from clstm.interop import npz, torch_names
from tests.interop.files import assert_same_model, draw_model


def arrays(prefix="", inputs=2, hidden=3, reverse=False, gates=4):
    rng = np.random.default_rng(inputs + hidden)
    shapes = {"weight_ih_l0": (gates * hidden, inputs), "weight_hh_l0": (gates * hidden, hidden)}
    shapes |= {"bias_ih_l0": (gates * hidden,), "bias_hh_l0": (gates * hidden,)}
    if reverse:
        shapes |= {f"{name}_reverse": shape for name, shape in shapes.items()}
    return {prefix + n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def linear(prefix, outputs, inputs):
    return {f"{prefix}weight": np.ones((outputs, inputs)), f"{prefix}bias": np.ones(outputs)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


# ---- What is found ----


def found(*parts, **options):
    named = {name: array.shape for part in parts for name, array in part.items()}
    return torch_names.find(named, **options)


NORM = {"norm.weight": np.ones(3), "norm.bias": np.ones(3)}


@pytest.mark.parametrize(
    ("parts", "prefix", "head", "others"),
    [
        ([arrays()], "", None, []),
        ([arrays("a.b."), linear("c.", 2, 3)], "a.b.", "c.", []),
        ([arrays(), linear("fc.", 2, 3)], "", "fc.", []),
        ([arrays("a.", reverse=True), linear("fc.", 2, 6)], "a.", "fc.", []),
        ([arrays("a.", reverse=True), linear("fc.", 2, 3)], "a.", None, ["fc.bias", "fc.weight"]),
        ([arrays("a."), NORM], "a.", None, ["norm.bias", "norm.weight"]),
        (
            [arrays("a."), linear("b.", 2, 3), linear("c.", 5, 2)],
            "a.",
            "b.",
            ["c.bias", "c.weight"],
        ),
        (
            [arrays("a."), linear("b.", 2, 3), linear("c.", 5, 3)],
            "a.",
            None,
            ["b.bias", "b.weight", "c.bias", "c.weight"],
        ),
        ([arrays("a."), arrays("g.", gates=3)], "a.", None, sorted(arrays("g."))),
    ],
)
def test_the_only_lstm_and_the_only_linear_layer_behind_it(parts, prefix, head, others):
    result = found(*parts)
    assert (result.prefix, result.head, result.others) == (prefix, head, others)
    every = {name for part in parts for name in part}
    assert {*result.names, *others} == every
    assert not {*result.names} & {*others}


def test_several_lstms_need_a_prefix():
    with pytest.raises(ValueError, match=r"several LSTMs: prefix must be one of 'a\.', 'b\.'"):
        found(arrays("a."), arrays("b."))
    assert found(arrays("a."), arrays("b."), prefix="b.").prefix == "b."
    chosen = found(arrays("a."), linear("b.", 2, 3), linear("c.", 5, 3), head="c.")
    assert (chosen.head, chosen.others) == ("c.", ["b.bias", "b.weight"])


# ---- Files ----


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_of_numpys(save, path):
    head = linear("head.", 2, 3)
    save(path, **arrays("rnn."), **head, **NORM)
    lstm = clstm.load(path)
    assert_same_model(lstm, torch_names.read(arrays("rnn.") | head, "rnn.", "head."))
    assert lstm.notes == {"not_read": ["norm.bias", "norm.weight"]}
    assert clstm.load(path, batch_first=True, dtype="float64").batch_first
    alone = clstm.load(path, prefix="rnn.")
    assert alone.output_size is None


def test_arrays_in_any_order_and_width(path):
    """Fortran's order, big-endian numbers and half precision."""
    given = {name: np.asfortranarray(array).astype(">f4") for name, array in arrays().items()}
    given["bias_ih_l0"] = given["bias_ih_l0"].astype(np.float16)
    np.savez(path, **given)
    expected = torch_names.read({name: array.astype("f4") for name, array in given.items()})
    assert_same_model(clstm.load(path), expected)


@pytest.mark.parametrize("torch", [True, False])
@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"proj_size": 2}, {"bias": False, "output_size": None}]
)
def test_round_trip(path, torch, options):
    lstm = draw_model(**options)
    npz.save(lstm, path, torch_names=torch)
    assert_same_model(npz.load(path), lstm)
    assert set(np.load(path)) == set(lstm.state_dict(torch_names=torch))


def test_what_arrays_do_not_say_is_not_written(path):
    with pytest.raises(ValueError, match=r"NumPy's \.npz has no cell\.clip=3"):
        npz.save(draw_model(cell=clstm.Cell(clip=3)), path)
    with pytest.raises(TypeError, match="holds an LSTM, not a Sequential"):
        npz.save(clstm.Sequential([draw_model()]), path)
    assert not path.exists()


def entry(array, header=None):
    """The bytes of a .npy entry, with another header."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    data = buffer.getvalue()
    if header is None:
        return data
    text = (header + " " * (117 - len(header)) + "\n").encode()
    return data[:8] + len(text).to_bytes(2, "little") + text + data[128:]


def header(shape, kind="<f4"):
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


WEIGHT = np.zeros((12, 2), np.float32)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (entry(WEIGHT, header((10**6, 10**6))), r"has shape \(1000000, 1000000\) of float32, but"),
        (entry(WEIGHT, header((12, 3))), r"has shape \(12, 3\) of float32, but 96 bytes"),
        (entry(WEIGHT, header((12, 2), "|O")), "has dtype object, expected floating-point"),
        (entry(WEIGHT, header((12, 2), "<i4")), "has dtype int32, expected floating-point"),
        (entry(WEIGHT, "{}"), "is no array of NumPy's"),
        (entry(WEIGHT, "__import__('os')"), "is no array of NumPy's"),
        (entry(WEIGHT)[:5], "is no array of NumPy's"),
        (b"", "is no array of NumPy's"),
    ],
)
def test_bad_arrays(path, content, reason):
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays().items():
            if name != "weight_ih_l0":
                archive.writestr(f"{name}.npy", entry(array))
        archive.writestr("weight_ih_l0.npy", content)
    with pytest.raises(ValueError, match=rf"model\.npz: weight_ih_l0\.npy .*{reason}"):
        clstm.load(path)


def test_a_bomb_is_not_unpacked(path):
    """100 MB of zeros in 100 kB: more than a file of this size may take."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays().items():
            archive.writestr(f"{name}.npy", entry(array))
        archive.writestr("weight_hr_l0.npy", entry(np.zeros((5000, 5000), np.float32)))
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match=r"model\.npz: weight_hr_l0\.npy would take too much"):
        clstm.load(path)


@pytest.mark.parametrize("count", [300, pytest.param(100_000, marks=pytest.mark.long)])
def test_mutated_files(path, count):
    np.savez(path, **arrays())
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(count):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            clstm.load(path)
        except ValueError as error:
            assert str(path) in str(error)
