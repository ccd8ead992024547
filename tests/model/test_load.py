"""clstm.load recognises every format by its content, not by the file's name."""

import importlib
import io
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

import clstm
from clstm.interop import guitarml, nam, npz, rtneural, safetensors
from clstm.interop.layers import Dense
from clstm.load import FORMATS, load, recognise


@pytest.fixture
def path(tmp_path):
    """A path whose name does not tell the format."""
    return tmp_path / "model.bin"


def saved(module):
    """The saving function of a module that needs a package."""

    def save(model, path):
        package = {"keras": "h5py"}.get(module, module)
        pytest.importorskip(package, reason="install bench/requirements.txt for this tier")
        importlib.import_module(f"clstm.interop.{module}").save(model, path)

    return save


def saved_as_weights(model, path):
    saved("keras")(model, path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


peers = pytest.mark.peers
WRITERS = [
    pytest.param("safetensors", clstm.LSTM.save, id="ours"),
    pytest.param("safetensors", safetensors.save, id="PyTorch's names"),
    pytest.param("RTNeural", rtneural.save, id="RTNeural"),
    pytest.param(
        "RTNeural", lambda m, p: rtneural.save(m, p, torch_names=True), id="RTNeural, PyTorch"
    ),
    pytest.param("NAM", nam.save, id="NAM"),
    pytest.param("GuitarML", guitarml.save, id="GuitarML"),
    pytest.param("NumPy", npz.save, id="NumPy"),
    pytest.param("NumPy", lambda m, p: npz.save(m, p, torch_names=True), id="NumPy, PyTorch"),
    pytest.param("ONNX", saved("onnx"), id="ONNX", marks=peers),
    pytest.param("Keras", saved("keras"), id="Keras", marks=peers),
    pytest.param("Keras", saved_as_weights, id="Keras weights", marks=peers),
    pytest.param("PyTorch", saved("torch"), id="PyTorch", marks=peers),
]


@pytest.mark.parametrize(("name", "save"), WRITERS)
def test_every_format_is_told_by_its_content(name, save, model, path):
    save(model, path)
    assert recognise(path).name == name
    x = np.random.default_rng(1).standard_normal((7, 1)).astype(np.float32)
    for where in (path, str(path)):
        np.testing.assert_allclose(clstm.load(where)(x)[0], model(x)[0], rtol=0, atol=1e-6)


def test_options_are_those_of_the_format(model, path):
    arrays = model.state_dict(torch_names=True)
    linear = {f"fc.{n}": arrays.pop(f"{n}_out") for n in ("weight", "bias")}
    save_file({f"rnn.{n}": a for n, a in arrays.items()} | linear, path)
    read = clstm.load(path, prefix="rnn.", head="fc.", batch_first=True)
    assert read.batch_first and read.output_size == 1
    with pytest.raises(TypeError, match=r"model\.bin: safetensors has no option 'node', .* prefix"):
        clstm.load(path, node=1)


@pytest.mark.parametrize(
    ("name", "save", "known"),
    [("NAM", nam.save, "dtype"), ("RTNeural", rtneural.save, "dtype")],
)
def test_an_unknown_option_is_answered_with_those_of_the_format(name, save, known, model, path):
    save(model, path)
    words = rf"model\.bin: {name} has no option 'prefix', its options are {known}"
    with pytest.raises(TypeError, match=words):
        clstm.load(path, prefix="lstm.")


def test_an_lstm_with_more_around_it_is_a_sequential(model, path):
    dense = Dense(np.ones((1, 1), np.float32), np.ones(1, np.float32), "tanh")
    rtneural.save(clstm.Sequential([model, dense]), path)
    loaded = clstm.load(path)
    assert isinstance(loaded, clstm.Sequential)
    x = np.ones((5, model.input_size), np.float32)
    np.testing.assert_allclose(loaded(x)[0], np.tanh(model(x)[0] + 1), rtol=1e-6)
    loaded.save(path)
    np.testing.assert_array_equal(clstm.load(path)(x)[0], loaded(x)[0])


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return buffer.getvalue()


UNKNOWN = {
    "empty": b"",
    "text": b"hello, world\n",
    "one byte": b"\x08",
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "zip": zipped("a.txt"),
    "cut zip": zipped("config.json")[:-20],
    "JSON list": b"[1, 2]",
    "JSON object": b'{"a": 1}',
    "deep JSON": b'{"a":' * 20_000,
    "cut JSON": b'{"layers": [',
    "not UTF-8": b'{"layers": "\xff"}',
    "long header": (1 << 40).to_bytes(8, "little") + b"{}",
    "protobuf of something else": b"\x08\x07\x52\x01a",
    "ONNX without a graph": b"\x08\x08\x12\x01a",
    "cut ONNX": b"\x08\x08\x3a\x7f\x0a",
    "number that does not end": b"\x08" + b"\xff" * 20,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_content_is_refused_with_the_known_formats(name, path):
    path.write_bytes(UNKNOWN[name])
    with pytest.raises(ValueError, match=r"model\.bin: unknown format") as caught:
        clstm.load(path)
    assert all(kind.name in str(caught.value) for kind in FORMATS)


def test_one_array_of_numpys_is_told_with_what_reads_it(model, tmp_path):
    np.save(tmp_path / "model.npy", model.parameters.flat)
    with pytest.raises(ValueError, match=r"model\.npy: unknown format \(.* takes arrays by name"):
        clstm.load(tmp_path / "model.npy")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Keras", b"\x89HDF\r\n\x1a\n"),
        ("Keras", zipped("metadata.json", "config.json")),
        ("PyTorch", zipped("archive/data.pkl", "archive/version")),
        ("PyTorch", b"\x80\x02}q\x00."),
        ("safetensors", (2).to_bytes(8, "little") + b"{}"),
        ("ONNX", b"\x08\x08\x12\x01a\x3a\x02\x12\x00\x42\x02\x10\x11"),
        ("NAM", b' {"architecture": "WaveNet"}'),
        ("GuitarML", b'{"model_data": {}, "state_dict": {}}'),
        ("RTNeural", b'\n{"layers": []}'),
        ("RTNeural", b'{"rec.weight_ih_l0": []}'),
    ],
)
def test_formats_are_told_without_their_packages(name, content, path):
    path.write_bytes(content)
    assert recognise(path).name == name


def test_many_fields_take_no_time(path):
    """A file of fields of two bytes each is not read to its end."""
    path.write_bytes(b"\x08\x08" * 2_000_000 + b"\x3a\x00")
    with pytest.raises(ValueError, match="unknown format"):
        clstm.load(path)


def test_an_unreadable_path_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        clstm.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        clstm.load(tmp_path)


class Evil:
    """A pickle that runs code when it is read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a pickle was executed')",)


@pytest.mark.peers
@pytest.mark.parametrize("zipped", [False, True])
def test_no_pickle_is_executed(zipped, path):
    torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    if zipped:
        torch.save({"weight_ih_l0": Evil()}, path)
    else:
        path.write_bytes(pickle.dumps(Evil(), protocol=2))
    assert recognise(path).name == "PyTorch"
    with pytest.raises(ValueError, match=r"model\.bin"):
        clstm.load(path)


def test_nothing_of_the_formats_is_imported_before_it_is_needed(model, path):
    model.save(path)
    code = """
import sys, clstm
from clstm.interop import guitarml, keras, nam, rtneural, torch_names
foreign = ("torch", "onnx", "keras", "h5py", "tensorflow", "onnxruntime")
assert not [name for name in foreign if name in sys.modules], sys.modules.keys()
"""
    start = "import sys, clstm; assert not {'clstm.interop', 'zipfile'} & set(sys.modules);"
    start += f"clstm.load({str(path)!r}); assert 'clstm.interop.keras' not in sys.modules"
    for program in (code, start):
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr


def check_mutations(model, path, count):
    """Files of all formats that need no package: ValueError, or a model that runs."""
    contents = []
    for save in (clstm.LSTM.save, rtneural.save, nam.save, guitarml.save):
        save(model, path)
        contents.append(path.read_bytes())
    rng, refused = np.random.default_rng(0), 0
    for k in range(count):
        changed = bytearray(contents[k % len(contents)])
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(changed) if rng.random() < 0.5 else 80))
            changed[place] = rng.choice([rng.integers(256), changed[place] ^ 1, *b'9[]{}":,'])
        path.write_bytes(changed[: rng.integers(len(changed))] if k % 9 == 0 else changed)
        try:
            read = load(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            with np.errstate(all="ignore"):
                assert len(read(np.ones((2, read.input_size)))[0]) == 2
    assert count // 4 < refused < count


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the numbers may be anything
def test_mutated_files(model, path):
    check_mutations(model, path, 1000)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_mutated_files(model, path):
    check_mutations(model, path, 100_000)


def test_the_reference_models_of_rtneural_are_loaded(reference_data):
    folder = reference_data / "rtneural"
    assert clstm.load(folder / "lstm_1d.json").hidden_size == 8
    assert len(clstm.load(folder / "lstm.json")) == 2
    with pytest.raises(ValueError, match=r"bad_lstm\.json"):
        clstm.load(folder / "bad_lstm.json")
