"""Small files by hand for the reader of safetensors files, and how others are made of them."""

import copy
import json
import struct

from clstm.configuration import Configuration
from clstm.options import kinds

DATA = struct.pack("<12f", *range(12))
METADATA = {"clstm.format": "1"} | {
    f"clstm.{name}": text
    for name, text in Configuration(input_size=1, hidden_size=1).to_metadata().items()
}
LATER = {f"clstm.{name}" for name, kind in kinds(Configuration).items() if kind.later}
TENSORS = {
    "bias_l0": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
    "weight_hh_l0": {"dtype": "F32", "shape": [4, 1], "data_offsets": [16, 32]},
    "weight_ih_l0": {"dtype": "F32", "shape": [4, 1], "data_offsets": [32, 48]},
}
HEADER = {"__metadata__": METADATA} | TENSORS
BOTH = {name + way: dict(fields) for way in ("", "_reverse") for name, fields in TENSORS.items()}


def pack(header, data=DATA, length=None):
    """Return a file of a header, as it is or as JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":"))
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


TEXT = pack(HEADER)[8 : -len(DATA)]


def replaced(old, new):
    """Return the plain file with one place of its header's text changed."""
    assert TEXT.count(old.encode()) == 1, old
    return pack(TEXT.replace(old.encode(), new.encode("utf-8", "surrogatepass")))


def inserted(text):
    """Return the plain file with more metadata, as JSON."""
    return replaced('"__metadata__":{', f'"__metadata__":{{{text},')


def metadata(**changes):
    """Return the plain file with keys of ours changed, or without those that are None."""
    changes = {f"clstm.{name}": value for name, value in changes.items()}
    kept = {k: v for k, v in (METADATA | changes).items() if v is not None}
    return pack({"__metadata__": kept} | TENSORS)


def tensor(name="weight_hh_l0", data=DATA, **changes):
    """Return the plain file with fields of one tensor changed, or without those that are None."""
    header = copy.deepcopy(HEADER)
    header[name] = {k: v for k, v in (header[name] | changes).items() if v is not None}
    return pack(header, data)


def ranges(*ends):
    """Return the plain file with other places of the tensors."""
    header = copy.deepcopy(HEADER)
    for name, end in zip(TENSORS, ends, strict=True):
        header[name]["data_offsets"] = end
    return pack(header)


def of_type(name, size, dtype="float32"):
    """Return the plain file with numbers of another type and size, and metadata as if of dtype."""
    header = copy.deepcopy(HEADER)
    for place, fields in enumerate(header[tensor] for tensor in TENSORS):
        fields |= {"dtype": name, "data_offsets": [4 * size * place, 4 * size * (place + 1)]}
    header["__metadata__"]["clstm.dtype"] = dtype
    return pack(header, bytes(12 * size))


def both(**changes):
    """Return a file of a model of two directions, with keys of ours changed."""
    text = metadata(bidirectional="True", **changes)[8 : -len(DATA)]
    header = json.loads(text) | copy.deepcopy(BOTH)
    for place, name in enumerate(BOTH):
        header[name]["data_offsets"] = [16 * place, 16 * (place + 1)]
    return pack(header, 2 * DATA)


def wide(columns, text):
    """Return a file of a model of more inputs, and what its metadata says of their number."""
    header = copy.deepcopy(HEADER)
    header["__metadata__"]["clstm.input_size"] = text
    header["weight_ih_l0"] |= {"shape": [4, columns], "data_offsets": [32, 32 + 16 * columns]}
    return pack(header, DATA + bytes(16 * (columns - 1)))


def unbiased(bias):
    """Return a file of a model without a bias, and what its metadata says of it."""
    header = json.loads(metadata(bias=bias)[8 : -len(DATA)])
    del header["bias_l0"]
    for name, place in (("weight_hh_l0", [0, 16]), ("weight_ih_l0", [16, 32])):
        header[name]["data_offsets"] = place
    return pack(header, DATA[16:])


def without(*names):
    return pack({k: v for k, v in HEADER.items() if k not in names})


GOOD = {
    "plain": pack(HEADER),
    "float64": of_type("F64", 8, "float64"),
    "padded": pack(TEXT + b"       "),
    "blanks everywhere": pack(json.dumps(HEADER, indent=3).replace("\n", "\r\n\t").encode()),
    "names in another order": pack(dict(reversed(HEADER.items()))),
    "fields in another order": pack(
        HEADER | {"bias_l0": dict(reversed(TENSORS["bias_l0"].items()))}
    ),
    "numbers in another order": ranges([32, 48], [0, 16], [16, 32]),
    "escaped names": replaced('"weight_hh_l0"', r'"\u0077eight\u005Fhh\u005fl0"'),
    "escaped keys": replaced('"clstm.dtype"', r'"\u0063lstm.dt\u0079pe"'),
    "escaped values": replaced('"float32"', r'"\u0066loat32"'),
    "escaped fields": pack(TEXT.replace(b'"shape"', rb'"sh\u0061pe"')),
    "keys of others": inserted(r'"format":"np","":"","\"\\\/\b\f\n\r\t":"\u0000","\u0000":"a"'),
    "keys beyond ASCII": inserted(r'"\u00e9":"","\ud83d\ude00":"\ud83d\ude00","é😀":"\u20ac"'),
    "keys that almost are the same": inserted(r'"clstm":"","clstm\u0000.x":"","clst":"","clsn":""'),
    "leading zeros": metadata(num_layers="0001"),
    "batch first": metadata(batch_first="True"),
    "of an earlier release": pack(
        {"__metadata__": {k: v for k, v in METADATA.items() if k not in LATER}} | TENSORS
    ),
    "fast activations": inserted('"clstm.activations":"fast"'),
    "accurate activations": inserted('"clstm.activations":"accurate"'),
    "both directions": both(),
    "no bias": unbiased("False"),
    "ten inputs": wide(10, "10"),
    "reverse": pack(TEXT.replace(b"forward", b"reverse").replace(b"_l0", b"_l0_reverse")),
}


def cell(**keys):
    """Return the plain file with a cell of its own; a dot in a key is written __ here."""
    return metadata(**{f"cell.{name.replace('__', '.')}": value for name, value in keys.items()})


ONE = "0x1.0000000000000p+0"
CELLS = {
    "coupled": cell(peephole="False", coupled="True"),
    "clips": cell(clip=ONE, cell_clip="0x0.0p+0"),
    "a denormal clip": cell(clip="0x0.0000000000001p-1022"),
    "the largest clip": cell(cell_clip="0x1.fffffffffffffp+1023"),
    "the usual functions": cell(gate="sigmoid", cell="tanh", hidden="tanh"),
    "functions as they are": cell(gate="hard_sigmoid", cell="elu", hidden="leaky_relu"),
    "functions with their parameters": cell(
        **{"gate": "hard_sigmoid", "gate__alpha": ONE, "gate__beta": "-0x1.8p-3"},
        **{"cell": "scaled_tanh", "cell__alpha": "0x0.0p+0", "cell__beta": ONE},
        **{"hidden": "thresholded_relu", "hidden__alpha": "-0x0.0p+0"},
    ),
    "one parameter of two": cell(gate="hard_sigmoid", gate__beta=ONE),
    "functions of inference": cell(gate="softsign", cell="softplus", hidden="relu"),
}

WORDS = {*METADATA, *METADATA.values(), *TENSORS, *TENSORS["bias_l0"], "__metadata__", "F64", ONE}
