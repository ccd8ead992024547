"""Keras files written by hand, without Keras: malformed, oversized, or with links elsewhere."""

import io
import json
import sys
import zipfile
import zlib

import numpy as np
import pytest

import clstm
from clstm.interop import keras as interop
from tests.interop.keras.models import FEATURES, architecture, arrays, entry, lstm

pytestmark = pytest.mark.peers
h5py = pytest.importorskip("h5py", reason="install bench/requirements.txt for this tier")

METADATA = '{"keras_version": "3.5.0", "date_saved": "2024-01-01@00:00:00"}'
CELL = "layers/lstm/cell/vars"


def weights(change=None, **folders):
    """An HDF5 file with the weights of one LSTM layer, and what `change` does to it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for folder, values in ({CELL: arrays()} | folders).items():
            for k, value in enumerate(values):
                file[f"{folder}/{k}"] = value
        if change:
            change(file)
    return buffer.getvalue()


def archive(path, config=None, data=None, metadata=METADATA, compression=zipfile.ZIP_STORED):
    parts = {
        "metadata.json": metadata,
        "config.json": architecture(lstm()) if config is None else config,
        "model.weights.h5": weights() if data is None else data,
    }
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, part in parts.items():
            if part != "":
                file.writestr(name, part)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.keras"


def refused(path, words):
    with pytest.raises(ValueError, match=words) as caught:
        interop.load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_the_file_by_hand_is_read(path):
    """The kernels are transposed; blocks i, f, c, o are ours, i, f, g, o."""
    model = interop.load(archive(path))
    kernel, recurrent, bias = arrays()
    np.testing.assert_array_equal(model.parameters["weight_ih_l0"], kernel.T)
    np.testing.assert_array_equal(model.parameters["weight_hh_l0"], recurrent.T)
    np.testing.assert_array_equal(model.parameters["bias_l0"], bias)
    assert repr(interop.load(archive(path, compression=zipfile.ZIP_DEFLATED))) == repr(model)


def sequential(*layers, **changes):
    whole = json.loads(architecture(*layers))
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "config.json is not JSON"),
        ("[]", "config.json is not a JSON object"),
        ("[" * 100_000, "config.json is not JSON"),
        ('{"class_name": NaN}', "config.json is not JSON: it contains NaN"),
        (sequential(class_name="Functional"), "a functional model has no valid inputs"),
        (sequential(class_name="Own"), "it is a 'Own' model, only Sequential and functional"),
        (sequential(module="own"), "Sequential of own is not a layer of Keras"),
        (sequential(class_name=None), "None of keras is not a layer of Keras"),
        (sequential(config=[]), "it has no LSTM, its layers are: none"),
        (sequential(config=7), "config.layers is not a list"),
        (sequential(config={"layers": {}}), "config.layers is not a list"),
        (architecture(7), r"layers\[0\] is not a layer"),
        (architecture({"class_name": "LSTM", "config": []}), r"layers\[0\] is not a layer"),
        (architecture(lstm() | {"module": "own"}), r"layers\[0\] \(rnn\): LSTM of own is no"),
        (architecture(lstm() | {"class_name": []}), r"layers\[0\] \(rnn\): \[\] of"),
        (architecture(lstm() | {"class_name": "GRU"}), "class GRU are not supported"),
        (architecture(lstm(), lstm() | {"class_name": "GRU"}), r"layers\[1\] \(rnn\): layers of"),
        (architecture(lstm(units=3)), r"kernel has shape \(3, 8\).*expected \(I, 12\)"),
        (architecture(lstm(units=0)), "units is 0, expected a positive integer"),
        (architecture(lstm(units=True)), "units is True"),
        (architecture(lstm(units=2.0)), r"units is 2\.0"),
        (architecture(lstm(units=10**30)), "kernel has shape"),
        (architecture(lstm(units=None)), "units is None"),
        (architecture(lstm(use_bias=False)), "has 3 weights, expected 2"),
        (architecture(lstm(use_bias=1)), "use_bias is 1, expected true or false"),
        (architecture(lstm(go_backwards="no")), "go_backwards is 'no'"),
        (architecture(lstm(return_sequences=0)), "return_sequences is 0"),
        (architecture(lstm(activation=["tanh"])), r"activation=\['tanh'\] is not supported"),
        (architecture(lstm(activation=None)), "activation=None is not supported"),
        (architecture(lstm(recurrent_activation="swish")), "recurrent_activation='swish'"),
        (architecture(lstm(time_major=True)), "time_major=True of LSTM is not supported"),
        (architecture(lstm(dtype="int8")), "dtype 'int8' is not supported"),
        (
            architecture(lstm(dtype={"class_name": "Own", "config": {}})),
            "dtype 'Own' is not supported",
        ),
        (architecture(lstm(dtype=[1])), r"dtype \[1\] is not supported"),
        (architecture(lstm(), lstm()), "there is no layers/lstm_1"),
        (
            architecture(lstm(return_sequences=False), lstm()),
            "only one step, for example by return_seq",
        ),
        (architecture(entry("Bidirectional", layer=7)), r"\.layer is not a layer"),
        (architecture(entry("Bidirectional", layer=lstm())), r"\.backward_layer is not a layer"),
        (architecture(lstm(), entry("Dense", units=2)), "there is no layers/dense"),
        (architecture(), "it has no LSTM, its layers are: none"),
    ],
)
def test_bad_configurations(config, words, path):
    refused(archive(path, config), words)


def replace(name, value):
    """A change of one array."""

    def change(file):
        del file[name]
        file[name] = value

    return change


def linked(link):
    """A change of the kernel into a link."""
    return replace(f"{CELL}/0", link)


def virtual(file):
    del file[f"{CELL}/0"]
    layout = h5py.VirtualLayout((3, 8), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 8))
    file.create_virtual_dataset(f"{CELL}/0", layout)


def external(file):
    del file[f"{CELL}/0"]
    where = [("/etc/passwd", 0, 96)]
    file.create_dataset(f"{CELL}/0", (3, 8), np.float32, external=where)


def huge(file):
    """Nothing is stored: all of it is the fill value."""
    del file[f"{CELL}/0"]
    file.create_dataset(f"{CELL}/0", (1 << 30, 8), np.float32, chunks=(1024, 8))


def many(file):
    """Each of them would just be allowed."""
    for k in range(3):
        del file[f"{CELL}/{k}"]
    for k in range(3):
        file.create_dataset(f"{CELL}/{k}", (700_000, 2), np.float32)


def chunked(**options):
    """A change of the kernel into one that is stored in chunks."""

    def change(file):
        kernel = file[f"{CELL}/0"][()]
        del file[f"{CELL}/0"]
        file.create_dataset(f"{CELL}/0", data=kernel, **options)

    return change


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (3, 8)},
        {"chunks": (2, 3)},
        {"chunks": (1, 8), "maxshape": (None, 8)},
        {"chunks": (5, 20), "maxshape": (None, None)},
        {"chunks": (2, 5), "compression": "gzip"},
        {"chunks": (2, 5), "shuffle": True},
        {"compression": "gzip", "compression_opts": 9, "shuffle": True},
        {"chunks": (2, 5), "compression": "gzip", "dtype": ">f4"},
        {"chunks": (2, 5), "compression": "gzip", "shuffle": True, "dtype": "<f8"},
    ],
    ids=str,
)
def test_compressed_arrays_are_read(options, path):
    model = interop.load(archive(path, data=weights(chunked(**options))))
    np.testing.assert_array_equal(model.parameters["weight_ih_l0"], arrays()[0].T)


def deflated_twice(file):
    """A chunk of few bytes, an array of few numbers, and a gigabyte between them."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((60_000_000, 4))
    plan.set_deflate(9)
    plan.set_deflate(9)
    del file[f"{CELL}/0"]
    space = h5py.h5s.create_simple((3, 8), (h5py.h5s.UNLIMITED, 8))
    name = f"{CELL}/0".encode()
    h5py.h5d.create(file.id, name, h5py.h5t.IEEE_F32LE, space, dcpl=plan)


def inflated(file):
    """A chunk whose bytes are a megabyte of zeros, deflated."""
    chunked(chunks=(3, 8), compression="gzip")(file)
    file[f"{CELL}/0"].id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 20)))


def with_holes(file):
    del file[f"{CELL}/0"]
    file.create_dataset(f"{CELL}/0", (3, 8), np.float32, chunks=(3, 4))[:, :4] = 1


def unfiltered(file):
    chunked(chunks=(3, 8), compression="gzip")(file)
    file[f"{CELL}/0"].id.write_direct_chunk((0, 0), bytes(96), filter_mask=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda file: file.__delitem__("layers"), "there is no layers/lstm|group 'layers'"),
        (lambda file: file.__delitem__(f"{CELL}/0"), r"has \['1', '2'\], expected 0, 1"),
        (replace("layers/lstm", [1.0]), "layers/lstm/cell/vars is not a group"),
        (
            replace(f"{CELL}/0", np.zeros((3, 8), np.int32)),
            "is not a plain array of floating-point",
        ),
        (replace(f"{CELL}/0", "text"), "is not a plain array of floating-point"),
        (replace(f"{CELL}/0", h5py.Empty("f")), "claims shape None"),
        (replace(f"{CELL}/0", np.zeros((3, 7))), r"kernel has shape \(3, 7\)"),
        (replace(f"{CELL}/0", np.zeros((0, 8))), r"kernel has shape \(0, 8\)"),
        (replace(f"{CELL}/0", np.zeros(24)), r"kernel has shape \(24,\)"),
        (replace(f"{CELL}/1", np.zeros((3, 8))), r"recurrent_kernel has shape \(3, 8\)"),
        (replace(f"{CELL}/2", np.zeros((2, 8))), r"bias has shape \(2, 8\)"),
        (linked(h5py.SoftLink("/missing")), "vars/0 is a link"),
        (linked(h5py.SoftLink(f"/{CELL}/1")), "vars/0 is a link"),
        (linked(h5py.ExternalLink("other.h5", "/x")), "vars/0 is a link"),
        (virtual, "vars/0 is not a plain array"),
        (external, "vars/0 is not a plain array"),
        (huge, r"vars/0 of shape \(1073741824, 8\) would take too much"),
        (deflated_twice, r"vars/0 has the HDF5 filters \[1, 1\], expected"),
        (chunked(compression="lzf"), r"vars/0 has the HDF5 filters \[32000\], expected"),
        (chunked(fletcher32=True), r"vars/0 has the HDF5 filters \[3\], expected"),
        (
            chunked(chunks=(600_000, 8), maxshape=(None, 8), compression="gzip"),
            r"vars/0 in 1 chunks of shape \(600000, 8\) would take too much",
        ),
        (inflated, r"vars/0 has a chunk at \(0, 0\) of another size than 96 bytes"),
        (with_holes, r"vars/0 has no chunk at \(0, 4\)"),
        (unfiltered, r"vars/0 has no chunk at \(0, 0\) that went through all filters"),
        (many, r"vars/1 of shape \(700000, 2\) would take too much"),
    ],
)
def test_bad_weights(change, words, path, tmp_path):
    data = weights(change)
    refused(archive(path, data=data), words)
    alone = tmp_path / "some.weights.h5"
    alone.write_bytes(data)
    refused(alone, "layers|vars|kernel|bias")


class Imitation:
    """A layer of a package other than Keras."""

    get_config = get_weights = None


def test_what_is_no_layer_of_keras_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    for value, kind, hint in (
        (arrays(), "list", "give the layer itself, not its weights"),
        (arrays()[0], "ndarray", "give the layer itself, not its weights"),
        ("model.keras", "str", r"clstm\.interop\.keras\.load reads a file"),
    ):
        with pytest.raises(ValueError, match=f"layer must be a built layer .* got {kind}: {hint}"):
            interop.from_keras(value)
    with pytest.raises(
        ValueError, match=rf"layers of Keras are supported, this one is of {__name__}"
    ):
        interop.from_keras(Imitation())


def legacy(path, groups, version="2.15.0", config=None, root="model_weights"):
    """A file in the layout of .h5; no `root` is that of weights alone."""
    with h5py.File(path, "w") as file:
        if config is not None:
            file.attrs["model_config"] = config
        if version is not None:
            file.attrs["keras_version"] = version
        if not root:
            file.attrs["layer_names"] = ["rnn"]
        for name, array in groups.items():
            file[f"{root}/{name}"] = array
    return path


KERNELS = dict(zip(("kernel:0", "recurrent_kernel:0", "bias:0"), arrays(), strict=True))


def under(folder, names=KERNELS):
    return {f"{folder}/{name}": array for name, array in names.items()}


@pytest.mark.parametrize("place", ["", "lstm_1", "rnn/lstm_cell_3", "model/rnn/lstm_cell"])
@pytest.mark.parametrize("end", [":0", ""])
def test_the_names_of_variables_differ_from_version_to_version(place, end, tmp_path):
    named = {name.removesuffix(":0") + end: array for name, array in KERNELS.items()}
    path = legacy(
        tmp_path / "model.h5", under(f"rnn/{place}", named), config=architecture(lstm()).encode()
    )
    np.testing.assert_array_equal(clstm.load(path).parameters["weight_ih_l0"], arrays()[0].T)
    alone = legacy(tmp_path / "alone.h5", under(f"rnn/{place}", named), root="")
    read = clstm.load(alone, architecture=architecture(lstm()))
    np.testing.assert_array_equal(read.parameters["bias_l0"], arrays()[2])
    with pytest.raises(
        ValueError, match=r"alone\.h5: it has weights without .* give architecture="
    ):
        clstm.load(alone)


def test_the_hard_sigmoid_of_keras_2_is_another_one(tmp_path):
    config = architecture(lstm(recurrent_activation="hard_sigmoid"))
    for version, alpha in (("2.15.0", 0.2), ("2.2.4-tf", 0.2), ("3.5.0", 1 / 6)):
        path = legacy(tmp_path / "model.h5", under("rnn/rnn"), version, config)
        assert clstm.load(path).cell.gate.alpha == alpha


@pytest.mark.parametrize("listed", [True, False])
def test_a_configuration_of_early_keras_2(listed, tmp_path):
    """A Sequential's was a list; its first layer had the shape of the input."""
    layers = [{"class_name": "LSTM", "config": lstm(batch_input_shape=[None, 4, 3])["config"]}]
    layers[0]["config"] |= {"implementation": 1, "unit_forget_bias": True, "recurrent_dropout": 0.1}
    whole = {"class_name": "Sequential", "config": layers if listed else {"layers": layers}}
    path = legacy(tmp_path / "model.h5", under("rnn/rnn"), "2.0.8", json.dumps(whole))
    assert isinstance(clstm.load(path), clstm.LSTM)


def nested(*names):
    """A model in a model, both of two layers."""
    inner = json.loads(architecture(*(lstm(name=name) for name in names)))
    inner["config"]["name"] = "inner"
    return json.dumps({"class_name": "Sequential", "config": {"layers": [inner]}})


@pytest.mark.parametrize("names", [("inner", "b"), ("a", "inner"), ("a", "b")])
def test_arrays_of_a_model_in_a_model_are_told_apart_by_their_names(names, tmp_path):
    """Also where a layer has the name of its model."""
    arrays_of = [arrays(2, FEATURES, seed=1), arrays(2, 2, seed=2)]
    groups = {}
    for name, values in zip(names, arrays_of, strict=True):
        groups |= under(f"inner/inner/{name}/cell", dict(zip(KERNELS, values, strict=True)))
    path = legacy(tmp_path / "model.h5", groups, config=nested(*names))
    read = interop.read(path)
    for layer, values in zip(read, arrays_of, strict=True):
        np.testing.assert_array_equal(layer.parameters["weight_hh_l0"], values[1].T)


@pytest.mark.parametrize(
    ("groups", "options", "words"),
    [
        (under("rnn/x"), {"version": None}, "keras_version is None, expected 2.x or 3.x"),
        (under("rnn/x"), {"version": "1.2.2"}, r"Keras 1 is not supported; load it with Keras 2"),
        (under("rnn/x"), {"version": "4.0.0"}, "keras_version is '4.0.0', expected 2.x or 3.x"),
        (under("rnn/x"), {"config": "{"}, "model_config is not JSON"),
        (under("rnn/x"), {"config": "[]"}, "model_config is not a JSON object"),
        (under("rnn/x"), {"config": None}, "weights without the model's configuration"),
        (under("other/x"), {}, "there is no model_weights/rnn"),
        (under("rnn/x") | under("rnn/y"), {}, "model_weights/rnn has 2 groups of arrays, expected"),
        (under("rnn/x", {"kernel": arrays()[0]}), {}, r"\(rnn\) has 1 weights, expected 3"),
        (under("rnn/x", KERNELS | {"more": arrays()[0]}), {}, "rnn/x has an array 'more'"),
        (under("rnn/x", KERNELS | {"bias": arrays()[2]}), {}, "rnn/x has two arrays 'bias'"),
        (under("rnn/x/" * 40), {}, "has groups in groups, more than 32 deep"),
        (under("inner/a/x"), {"config": nested("a", "b")}, "has 0 groups of arrays of b, expected"),
    ],
)
def test_bad_files_of_the_legacy_layout(groups, options, words, tmp_path):
    given = {"config": architecture(lstm())} | options
    refused(legacy(tmp_path / "model.h5", groups, **given), words)


@pytest.mark.parametrize("link", [h5py.SoftLink("/x"), h5py.ExternalLink("other.h5", "/x")])
def test_links_in_the_legacy_layout_are_refused(link, tmp_path):
    groups = under("rnn/x") | {"rnn/y": link}
    path = legacy(tmp_path / "model.h5", groups, config=architecture(lstm()))
    refused(path, "model_weights/rnn/y is a link")


def test_the_layout_of_early_files_of_version_3(path):
    """Keras 2.12 named the group of layers otherwise."""
    early = "_layer_checkpoint_dependencies/lstm/cell/vars"
    data = weights(lambda file: file.move("layers", "_layer_checkpoint_dependencies"))
    assert early in h5py.File(io.BytesIO(data))
    metadata = '{"keras_version": "2.12.0"}'
    model = clstm.load(archive(path, data=data, metadata=metadata))
    np.testing.assert_array_equal(model.parameters["bias_l0"], arrays()[2])


def test_one_layer_by_its_name(path):
    """What stands beside it need not be supported."""
    other = entry("Conv1D", name="conv", filters=3)
    whole = json.loads(architecture(other, lstm(name="mine", return_sequences=False)))
    archive(path, json.dumps(whole | {"class_name": "Functional"}))
    model = clstm.load(path, layer="mine")
    np.testing.assert_array_equal(model.parameters["bias_l0"], arrays()[2])
    assert isinstance(model, clstm.LSTM) and model.batch_first
    for name, words in (
        ("conv", r"layers\[0\] \(conv\) is a layer of class Conv1D, not an LSTM"),
        ("none", "it has 0 layers 'none', expected one; its recurrent layers are 'mine'"),
    ):
        with pytest.raises(ValueError, match=words):
            clstm.load(path, layer=name)
    with pytest.raises(TypeError, match="layer must be the name of a layer, got int"):
        clstm.load(path, layer=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metadata": ""}, "it has no metadata.json"),
        ({"config": ""}, "it has no config.json"),
        ({"data": ""}, "it has no model.weights.h5"),
        ({"data": b"PK"}, "it is not a valid HDF5 file"),
        ({"metadata": "{}"}, "metadata.json: keras_version is None, expected 2.x or 3.x"),
        ({"metadata": '{"keras_version": "1.0.0"}'}, "Keras 1 is not supported"),
        ({"metadata": '{"keras_version": 3}'}, "keras_version is 3, expected 2"),
    ],
)
def test_bad_archives(options, words, path):
    refused(archive(path, **options), words)


def test_an_archive_that_grows_is_refused(path):
    zeros = bytes(100 << 20)
    grown = archive(path, data=zeros, compression=zipfile.ZIP_DEFLATED)
    refused(grown, "model.weights.h5 would take too much")
    assert path.stat().st_size < 1 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(method, path):
    refused(
        archive(path, compression=method),
        "metadata.json is compressed by a method that Keras does not use",
    )


def test_files_that_are_no_archive_are_refused(path, tmp_path):
    for content in (b"", b"PK\3\4", b"no", archive(path).read_bytes()[:-30]):
        path.write_bytes(content)
        refused(path, "not a valid zip archive")
    with pytest.raises(FileNotFoundError):
        interop.load(tmp_path / "none.keras")


def test_other_files_of_weights_are_refused(path):
    """An HDF5 file of something else."""
    with h5py.File(path, "w") as file:
        file["other/lstm/kernel:0"] = np.zeros((3, 8))
    refused(path, "it has no group 'layers'")


def check_mutations(path, count):
    """A model that runs, or ValueError with the file's name."""
    data = weights(**{"layers/dense/vars": [np.ones((2, 1), np.float32), np.ones(1, np.float32)]})
    config = architecture(lstm(), entry("Dense", units=1, use_bias=True))
    archived = archive(path, config, data).read_bytes()
    rng, refusals = np.random.default_rng(0), 0
    for k in range(count):
        source = data if k % 2 else archived
        changed = bytearray(source)
        for _ in range(rng.integers(1, 8)):
            place = int(rng.integers(len(source)))
            changed[place] = rng.choice([rng.integers(256), changed[place] ^ 1, 255])
        path.write_bytes(changed[: rng.integers(len(source))] if rng.random() < 0.1 else changed)
        try:
            model = interop.load(path, architecture=config)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            refusals += 1
        else:
            assert isinstance(model, clstm.LSTM)
            with np.errstate(all="ignore"):
                model(np.ones((2, model.input_size)))
    assert count // 10 < refusals < count


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the numbers may be anything
def test_mutated_files(path):
    check_mutations(path, 1000)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_mutated_files(path):
    check_mutations(path, 100_000)
