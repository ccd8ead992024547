"""Structured bombs in Keras's files, HDF5 and zip archives, written without Keras."""

import io
import json
import zipfile
import zlib

import numpy as np
import pytest

from tests.interop.bombs import GOOD, LARGEST, assert_bounded, needs_fork
from tests.interop.keras.models import architecture, arrays, entry, lstm
from tests.interop.test_bombs import MANY, text_bombs

pytestmark = [pytest.mark.peers, needs_fork]
h5py = pytest.importorskip("h5py", reason="install bench/requirements.txt for this tier")

METADATA = '{"keras_version": "3.5.0"}'
CELL = "layers/lstm/cell/vars"


def weights(change=None):
    """An HDF5 file of one LSTM, and what `change` does to it."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="earliest") as file:
        for k, array in enumerate(arrays()):
            file[f"{CELL}/{k}"] = array
        if change:
            change(file)
    return buffer.getvalue()


def archive(config=None, data=None, metadata=METADATA, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("metadata.json", metadata)
        file.writestr("config.json", architecture(lstm()) if config is None else config)
        file.writestr("model.weights.h5", weights() if data is None else data)
    return buffer.getvalue()


def created(shape, name=f"{CELL}/0", **options):
    """A change that replaces an array by one without data."""

    def change(file):
        del file[name]
        file.create_dataset(name, shape, np.float32, **options)

    return change


def filtered(chunk, *filters, stored=None, shape=(3, 8)):
    """An array with these filters, and maybe one chunk of these bytes."""

    def change(file):
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(chunk)
        for name in filters:
            plan.set_deflate(9) if name == "deflate" else plan.set_shuffle()
        del file[f"{CELL}/0"]
        most = tuple(h5py.h5s.UNLIMITED for _ in shape)
        space = h5py.h5s.create_simple(shape, most)
        kind = h5py.h5t.IEEE_F32LE
        made = h5py.h5d.create(file.id, f"{CELL}/0".encode(), kind, space, dcpl=plan)
        if stored is not None:
            made.write_direct_chunk(tuple(0 for _ in shape), stored)

    return change


def many_groups(file):
    for k in range(900):
        file.create_group(f"layers/lstm_{k + 1}")


def many_links(file):
    """Names of one array."""
    del file[f"{CELL}/0"]
    file.create_dataset("big", data=np.zeros((40_000, 4), np.float32))
    for k in range(3000):
        file[f"{CELL}/{k if k == 0 else k + 2}"] = file["big"]


def strings(file):
    """An attribute of very many strings, all of them one in the file."""
    kind = h5py.string_dtype()
    text = "x" * 60_000
    file.attrs.create("architecture", np.array([text] * 4, object), dtype=kind)


def circle(file):
    file["layers/lstm/cell/again"] = file["layers"]
    file["layers/lstm_1"] = file["layers"]


def hdf5():
    inflating = zlib.compress(bytes(50 << 20), 9)
    twice = zlib.compress(zlib.compress(bytes(100 << 20), 9), 9)
    changes = {
        "a large array": created((1 << 30, 8)),
        "a larger one": created((1 << 40, 1 << 20), chunks=(1 << 10, 1 << 10)),
        "many axes": created((10,) * 12),
        "many chunks": created((4_000_000, 1), chunks=(1, 1)),
        "no rows": created((0, 8)),
        "no rows, wide": created((0, 1 << 40)),
        "a large bias": created((1 << 28,), f"{CELL}/2"),
        "a long compression": created((3, 8), chunks=(3, 8), compression="gzip"),
        "lzf": created((3, 8), chunks=(3, 8), compression="lzf"),
        "offset and scale": created((3, 8), chunks=(3, 8), scaleoffset=3),
        "checksums": created((3, 8), chunks=(3, 8), fletcher32=True),
        "a large chunk": filtered((60_000_000, 4), "deflate", "deflate"),
        "a large chunk, full": filtered((3, 8), "deflate", stored=inflating),
        "a chunk in a chunk": filtered((3, 8), "deflate", "deflate", stored=twice),
        "a shuffled chunk": filtered((3, 8), "shuffle", "deflate", stored=inflating),
        "four filters": filtered((3, 8), *["shuffle", "deflate"] * 2, stored=inflating),
        "twenty filters": filtered((3, 8), *["deflate"] * 20, stored=twice),
        "a chunk of noise": filtered((3, 8), "deflate", stored=b"x" * 100_000),
        "a short chunk": filtered((3, 8), stored=b"x"),
        "a long chunk": filtered((3, 8), stored=bytes(800_000)),
        "many groups": many_groups,
        "many links": many_links,
        "strings": strings,
        "a circle": circle,
    }
    return {f"h5, {name}": weights(change) for name, change in changes.items()}


def legacy(config, *names, change=None):
    """A .h5 file whose layer "a" has the arrays of an LSTM in groups of these names."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["model_config"] = config
        for name in names:
            for kind, array in zip(("kernel", "recurrent_kernel", "bias"), arrays(), strict=True):
                file[f"model_weights/a/{name}/{kind}:0"] = array
        if change:
            change(file["model_weights/a"])
    return buffer.getvalue()


def two_circles(folder):
    """Every path goes on in two ways, without an end."""
    folder["x/back"] = folder["y/back"] = folder


def wide(folder):
    for k in range(1500):
        folder.create_group(f"g{k}")


def nested(layers, depth=1):
    """Models in a model, all of one name."""
    whole = json.loads(architecture(*layers))
    for _ in range(depth):
        whole["config"]["name"] = "a"
        whole = json.loads(architecture(whole))
    return json.dumps(whole)


def functional(count, source=lambda k: k - 1):
    """A chain of layers, each called with the result of another one."""
    layers = [entry("InputLayer", name="0") | {"inbound_nodes": []}]
    for k in range(1, count):
        call = [[[str(source(k)), 0, 0, {}]]]
        layers.append(entry("Dropout", name=str(k)) | {"inbound_nodes": call})
    ends = {"input_layers": [["0", 0, 0]], "output_layers": [[str(count - 1), 0, 0]]}
    return json.dumps({"class_name": "Functional", "config": {"layers": layers} | ends})


def legacy_files():
    one = [lstm(name="a")]
    files = {
        "circles": legacy(architecture(*one), "cell", change=two_circles),
        "wide": legacy(architecture(*one), "cell", change=wide),
        "deep": legacy(architecture(*one), "x/" * 200),
        "many layers of one name": legacy(nested(1100 * one), "a", *map(str, range(150))),
        "models in models": legacy(nested(one, 80), "a"),
        "long chain": legacy(functional(1000), "a"),
        "a layer that takes its own result": legacy(functional(4, lambda k: k), "a"),
        "a chain that turns back": legacy(functional(1000, lambda k: (k + 1) % 1000), "a"),
    }
    return {f"legacy, {k}": data for k, data in files.items() if len(data) <= LARGEST}


def understated(data, size):
    """An archive whose member holds more than it claims."""
    whole = archive(data=data, method=zipfile.ZIP_DEFLATED)
    claimed = len(data).to_bytes(4, "little")
    return whole.replace(claimed, size.to_bytes(4, "little"))


def archives():
    zeros = bytes(80 << 20)
    deep = json.dumps({"layers": "HERE"}).replace('"HERE"', "[" * 400 + "]" * 400)
    many = [entry("Dropout", name=str(k)) for k in range(9000)]
    several = [lstm(name=str(k)) for k in range(6000)]
    stored = {
        "many layers": archive(architecture(*several)),
        "many that do nothing": archive(architecture(*many)),
        "a deep option": archive(architecture(lstm(activation=json.loads(deep)))),
        "a long option": archive(architecture(lstm(activation="x" * 900_000))),
        "a long name": archive(architecture(lstm(name="x" * 900_000, units=0))),
        "a long key": archive(architecture(lstm(**{"x" * 900_000: 1}))),
        "controls": archive(architecture(lstm(name="\x1b[31m\n\u202e", units=0))),
        "a long version": archive(metadata=json.dumps({"keras_version": "4" * 900_000})),
    }
    for size in (10**4, 10**6, 10**9, 2**31, 2**63, 10**30):
        stored[f"{size} units"] = archive(architecture(lstm(units=size)))
    deflated = {
        "zeros": archive(data=zeros, method=zipfile.ZIP_DEFLATED),
        "zeros in the configuration": archive(zeros, method=zipfile.ZIP_DEFLATED),
        "zeros that are not claimed": understated(zeros, 5000),
        "more that is not claimed": understated(zeros, 8 << 20),
        "lzma": archive(data=zeros, method=zipfile.ZIP_LZMA),
        "bzip2": archive(data=zeros, method=zipfile.ZIP_BZIP2),
    }
    for name, text in text_bombs(MANY).items():
        if "integer" not in name:
            deflated[f"text, {name}"] = archive(4 * text, method=zipfile.ZIP_DEFLATED)
    return {name: data for name, data in (stored | deflated).items() if len(data) <= LARGEST}


def test_keras(tmp_path):
    files = {GOOD: archive(), "good weights": weights()}
    files["legacy"] = legacy(architecture(lstm(name="a")), "cell")
    assert_bounded("keras", files | hdf5() | legacy_files() | archives(), tmp_path)
