"""Structured bombs in safetensors and JSON files."""

import json
import struct

import numpy as np
import pytest

import clstm
from clstm.interop import guitarml, nam, rtneural
from tests.interop.bombs import GOOD, assert_bounded, needs_fork
from tests.interop.files import changed, draw_model

pytestmark = [pytest.mark.slow, needs_fork]

SIZES = (1000, 10**5, 10**6, 2**31 - 1, 2**31, 2**32, 2**62, 2**63, 10**30, 10**400)
MANY = 900_000  # about the largest number of characters


# ---- safetensors ----


def container(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensors(shapes, dtype="F32", metadata=None):
    """A file of zeros."""
    header, end = {}, 0
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, shape in shapes.items():
        start, end = end, end + int(np.prod(shape)) * 4
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return container(header, bytes(end))


SMALL = {"weight_ih_l0": [4, 1], "weight_hh_l0": [4, 1], "bias_l0": [4]}
METADATA = {
    "clstm.format": "1",
    "clstm.input_size": "1",
    "clstm.hidden_size": "1",
    "clstm.num_layers": "1",
    "clstm.output_size": "0",
    "clstm.bias": "True",
    "clstm.batch_first": "False",
    "clstm.dtype": "float32",
}


def safetensors_bombs(tmp_path):
    clstm.LSTM(1, 1, rng=0).save(tmp_path / "written")
    files = {GOOD: (tmp_path / "written").read_bytes(), "ours": tensors(SMALL, metadata=METADATA)}
    for name in ("num_layers", "hidden_size", "input_size", "output_size", "proj_size"):
        for size in SIZES[::2]:
            entries = METADATA | {f"clstm.{name}": str(size)}
            files[f"{name} {len(str(size))}"] = tensors(SMALL, metadata=entries)
    long = "x" * MANY
    files["long value"] = tensors(SMALL, metadata=METADATA | {"clstm.dtype": long})
    files["long entry"] = tensors(SMALL, metadata=METADATA | {f"clstm.{long}": "1"})
    files["long format"] = tensors(SMALL, metadata={"clstm.format": long})
    files["many entries"] = tensors(
        SMALL, metadata=METADATA | {f"clstm.{k}": "" for k in range(40_000)}
    )
    files["other entries"] = tensors(SMALL, metadata={str(k): "" for k in range(60_000)})
    files["long name"] = tensors(SMALL | {long: [0]})
    third = long[: MANY // 3]
    files["long prefix"] = tensors({f"{third}.{name}": shape for name, shape in SMALL.items()})
    files["controls"] = tensors(SMALL | {"\x1b[31mred\x1b[0m\n\r\u202e": [1]})
    files["many tensors"] = tensors({str(k): [0] for k in range(15_000)})
    files["many layers"] = tensors({f"weight_ih_l{k}": [4, 1] for k in range(9000)})
    files["far layer"] = tensors(SMALL | {"weight_ih_l999999": [4, 1]})
    files["many firsts"] = tensors({f"{k}.weight_ih_l0": [4, 1] for k in range(8000)})
    files["many models"] = tensors(
        {f"{k}.weight_{kind}_l0": [4, 1] for k in range(4000) for kind in ("ih", "hh")}
    )
    files["many axes"] = tensors(SMALL | {"weight_hh_l0": [1] * 300_000})
    files["nothing, wide"] = tensors({"weight_ih_l0": [4 * 10**9, 0], "weight_hh_l0": [0, 10**9]})
    files["nested"] = container(b"[" * MANY)
    files["nested objects"] = container(b'{"a":' * (MANY // 5))
    files["twice"] = container(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'.ljust(1))
    for k, size in enumerate((2**20, 10**8, 2**40, 2**63, 2**64 - 1)):
        files[f"header {k}"] = struct.pack("<Q", size) + b"{}"
    for k, shape in enumerate(([2**32, 2**32], [2**62, 4], [2**63 - 1], [2**64])):
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 16]}
        files[f"shape {k}"] = container({"weight_ih_l0": entry, "weight_hh_l0": entry}, bytes(16))
    for k, offsets in enumerate(([0, 2**62], [2**63, 2**63 + 16], [16, 0], [0, 16])):
        entries = {n: {"dtype": "F32", "shape": [4, 1], "data_offsets": offsets} for n in SMALL}
        files[f"offsets {k}"] = container(entries, bytes(16))
    return files


def test_safetensors(tmp_path):
    files = safetensors_bombs(tmp_path)
    (tmp_path / "written").unlink()
    assert_bounded("safetensors", files, tmp_path)


# ---- JSON ----


def text_bombs(size):
    """What no format is: depth, width, long words and numbers."""
    digits = "7" * size
    return {
        "nested lists": "[" * size,
        "closed lists": "[" * (size // 2) + "]" * (size // 2),
        "nested objects": '{"a":' * (size // 5),
        "empty lists": "[" + "[]," * (size // 3) + "[]]",
        "empty objects": "[" + "{}," * (size // 3) + "{}]",
        "small objects": "[" + '{"":0},' * (size // 7) + "{}]",
        "lists of lists": "[" + "[[[]]]," * (size // 7) + "[]]",
        "zeros": "[" + "0," * (size // 2) + "0]",
        "floats": "[" + "1.," * (size // 3) + "1.5]",
        "small numbers": "[" + ".5e-300,".rjust(9, "1") * (size // 9) + "1]",
        "a long integer": digits,
        "long integers": "[" + f"{digits[:4300]}," * (size // 4301) + "1]",
        "a long float": f"1.{digits}",
        "a long exponent": f"1e{digits}",
        "a tiny float": f"0.{'0' * size}1",
        "a long text": json.dumps("x" * size),
        "wide text": json.dumps("\U0001f600" + "x" * size, ensure_ascii=False),
        "escapes": '"' + "\\ud83d" * (size // 6) + '"',
        "controls": json.dumps("\x1b[31m\u202e\r" * 1000),
        "nulls": "[" + "null," * (size // 5) + "null]",
        "many names": json.dumps({str(k): k for k in range(size // 15)}),
        "a name twice": "{" + '"a":1,' * (size // 6) + '"a":1}',
        "long names twice": "{" + f'"{"x" * (size // 2)}":1,' * 2 + '"a":1}',
    }


def json_bombs(whole, places, numbers):
    """Bombs at the places of a format, and as a whole file."""
    files = {GOOD: json.dumps(whole).encode()}
    for name, bomb in text_bombs(MANY).items():
        files[f"alone, {name}"] = bomb.encode()
    for k, (name, bomb) in enumerate(text_bombs(MANY // 4).items()):
        data = json.dumps(changed(whole, *places[k % len(places)], to="HERE"))
        files[f"inside, {name}"] = data.replace('"HERE"', bomb).encode()[: 1 << 20]
    for k, size in enumerate(SIZES):
        place = numbers[k % len(numbers)]
        files[f"number {k}"] = json.dumps(changed(whole, *place, to=size)).encode()
    return files


def written(save, path):
    save(draw_model(1, 1, 1, 1), path)
    value = json.loads(path.read_text())
    path.unlink()
    return value


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nam(tmp_path):
    whole = written(nam.save, tmp_path / "a")
    places = [("weights",), ("metadata",), ("config", "num_layers"), ("version",)]
    sizes = [("config", n) for n in ("input_size", "hidden_size", "num_layers")]
    files = json_bombs(whole, places, [*sizes, ("config", "out_channels")])
    layers = 60_000
    config = {"input_size": 1, "hidden_size": 1, "num_layers": layers}
    numbers = "0," * (14 * layers + 1) + "0"
    bomb = json.dumps(whole | {"config": config, "weights": "HERE"})
    files["many layers"] = bomb.replace('"HERE"', f"[{numbers}]").encode()[: 1 << 20]
    assert_bounded("nam", files, tmp_path)


def test_guitarml(tmp_path):
    whole = written(guitarml.save, tmp_path / "a")
    places = [("state_dict",), ("state_dict", "rec.weight_hh_l0"), ("model_data", "unit_type")]
    sizes = [("model_data", n) for n in ("input_size", "hidden_size", "num_layers", "output_size")]
    files = json_bombs(whole, places, sizes)
    layers = 2500
    names = {f"rec.{k}_l{n}": [[0]] * 4 for n in range(layers) for k in ("weight_ih", "weight_hh")}
    names |= {f"rec.bias_{k}_l{n}": [0] * 4 for n in range(layers) for k in ("ih", "hh")}
    state = names | {"lin.weight": [[0]], "lin.bias": [0]}
    data = {"input_size": 1, "hidden_size": 1, "skip": 0, "unit_type": "LSTM"}
    files["many layers"] = json.dumps(
        {"model_data": data | {"num_layers": layers}, "state_dict": state}, separators=(",", ":")
    ).encode()
    assert_bounded("guitarml", files, tmp_path)


def test_rtneural(tmp_path):
    whole = written(rtneural.save, tmp_path / "a")
    places = [("layers",), ("layers", 0, "weights", 0), ("layers", 0, "type"), ("in_shape",)]
    numbers = [("in_shape", 2), ("layers", 0, "shape", 2)]
    files = json_bombs(whole, places, numbers)
    entry = json.dumps(whole["layers"][0], separators=(",", ":"))
    many = f"[{','.join([entry] * (MANY // (len(entry) + 1)))}]"
    files["many layers"] = json.dumps(whole | {"layers": "HERE"}).replace('"HERE"', many).encode()
    activation = '{"type":"activation","activation":"tanh","shape":[1]}'
    more = f"[{entry},{','.join([activation] * (MANY // 60))}]"
    files["activations"] = json.dumps(whole | {"layers": "HERE"}).replace('"HERE"', more).encode()
    state = {f"m{k}.weight": [[1]] for k in range(40_000)}
    files["many modules"] = json.dumps(
        {"a.weight_ih_l0": [[1]] * 4, "a.weight_hh_l0": [[1]] * 4} | state
    ).encode()[: 1 << 20]
    assert_bounded("rtneural", files, tmp_path)
