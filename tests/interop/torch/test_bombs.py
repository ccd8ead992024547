"""Structured bombs in files of torch.save, written without PyTorch and read without it."""

import io
import pickle
import struct
import zipfile

import numpy as np
import pytest

from clstm.interop import torch as interop
from tests.interop.bombs import CALLED, GOOD, assert_bounded, needs_fork

pytestmark = needs_fork

MANY = 400_000
START = b"\x80\x02"


def text(value):
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    if len(data) < 256:
        return b"\x8a" + bytes([len(data)]) + data
    return b"\x8b" + struct.pack("<i", len(data)) + data


def symbol(module, name):
    return f"c{module}\n{name}\n".encode()


def sequence(*items):
    return b"(" + b"".join(items) + b"t"


def call(module, name, *arguments):
    return symbol(module, name) + sequence(*arguments) + b"R"


def state(entries):
    return b"}(" + b"".join(text(name) + value for name, value in entries.items()) + b"u"


def storage(key="0", count=4, kind="FloatStorage"):
    parts = (text("storage"), symbol("torch", kind), text(key), text("cpu"), integer(count))
    return sequence(*parts) + b"Q"


def tensor(shape, strides=None, offset=0, source=None):
    if strides is None:
        strides = [int(np.prod(shape[k + 1 :])) for k in range(len(shape))]
    axes = [sequence(*map(integer, sizes)) for sizes in (shape, strides)]
    own = storage() if source is None else source
    rest = (b"\x89", call("collections", "OrderedDict"))
    return call("torch._utils", "_rebuild_tensor_v2", own, integer(offset), *axes, *rest)


LSTM = {"weight_ih_l0": tensor((4, 1)), "weight_hh_l0": tensor((4, 1))}
NUMBERS = {"a/data/0": bytes(16)}


def archive(content, entries=None):
    """A file of `torch.save` with this pickle; further entries replace the numbers."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a/data.pkl", START + content + b".")
        for name, data in (NUMBERS if entries is None else entries).items():
            file.writestr(name, data)
    return buffer.getvalue()


def calls(folder):
    """Calls of what a reader must not call, whether it would be large, or do something."""
    touch = f"open({str(folder / CALLED)!r}, 'w')"
    return {
        "a large array": call("builtins", "bytearray", integer(2 * 10**9)),
        "an old name": call("__builtin__", "bytearray", integer(2 * 10**9)),
        "a module": call("torch.nn.modules.rnn", "LSTM", integer(1), integer(2)),
        "a large module": call("torch.nn.modules.rnn", "LSTM", integer(1), integer(9000)),
        "a linear module": call("torch.nn.modules.linear", "Linear", integer(10**9), integer(10)),
        "zeros": call("torch", "zeros", integer(10**10)),
        "numpy": call("numpy", "zeros", integer(10**10)),
        "a range": call("builtins", "list", call("builtins", "range", integer(10**9))),
        "a product": call("operator", "mul", text("x"), integer(10**9)),
        "a power": call("operator", "pow", integer(10), integer(10**9)),
        "exec": call("builtins", "exec", text(touch)),
        "eval": call("builtins", "eval", text(touch)),
        "a shell": call("os", "system", text(f"touch {folder / CALLED}")),
        "posix": call("posix", "system", text(f"touch {folder / CALLED}")),
        "of an attribute": call("builtins", "getattr", symbol("os", "path"), text("join")),
        "a loader": call("torch", "load", text("/etc/passwd")),
        "a state that is set": call("os", "environ") + state({"a": text("b")}) + b"b",
        "sleep": call("time", "sleep", integer(1000)),
        "a frozen set": call("builtins", "frozenset", b"](" + b"K\1" * 100 + b"e"),
        "text names": b"(S'touch'\nios\nsystem\n",
        "an extension": b"\x82\1",
    }


def structures():
    """Pickles that are large, deep or full of claims."""
    collisions = b"}(" + b"".join(integer(k * (2**61 - 1)) + b"N" for k in range(60_000)) + b"u"
    deep = b")" + b"\x85" * MANY
    return {
        "empty dictionaries": b"}" * MANY,
        "empty lists": b"]" * MANY,
        "empty tuples": b")" * MANY,
        "marks": b"(" * MANY,
        "nothing": b"N" * MANY,
        "pairs": b"N" + b"2" * MANY,
        "tuples": deep,
        "a tuple as key": b"}" + deep + b"Ns",
        "lists in lists": b"]" * MANY + b"a" * (MANY - 1),
        "a list in itself": b"]q\0h\0a",
        "names in the memo": b"N" + b"".join(b"r" + struct.pack("<I", k) for k in range(150_000)),
        "a far place": b"Nr\xff\xff\xff\xff",
        "no place": b"h\7",
        "equal hashes": collisions,
        "doubled": b"]" + b"".join(b"q\0](h\0h\0e" for _ in range(1000)),
        "a long integer": integer(1 << (8 * MANY)),
        "long text": text("x" * MANY),
        "a claimed text": b"X\xff\xff\xff\x7f",
        "a claimed long text": b"\x8d" + b"\xff" * 8,
        "claimed bytes": b"\x8e" + struct.pack("<Q", 2**62),
        "a claimed frame": b"\x95" + struct.pack("<Q", 2**62),
        "a claimed integer": b"\x8b\xff\xff\xff\x7f",
        "an integer in text": b"L" + b"7" * MANY + b"L\n",
        "calls of calls": symbol("a", "b") + b")R" * (MANY // 2),
        "states": symbol("a", "b") + b")R" + b"Nb" * (MANY // 2),
        "instances": symbol("torch.nn.modules.rnn", "LSTM") + b")\x81" + b"}b",
        "a long name": symbol("x" * MANY, "y"),
        "controls": symbol("\x1b[31m", "red\x1b[0m\r"),
        "many keys": state({str(k): b"N" for k in range(60_000)}),
        "many tensors": state({f"{k}.weight_ih_l0": tensor((4, 1)) for k in range(2500)}),
        "no end": b"",
    }


def claims():
    """Tensors that claim more than is there."""
    named = {
        "strides of zero": tensor((10**5, 10**5), (0, 0)),
        "a large size": tensor((2**62, 1), (0, 0)),
        "an overflow": tensor((2**40, 2**40), (0, 0)),
        "a larger integer": tensor((2**70, 1), (1, 1)),
        "a negative size": tensor((-1, 1), (1, 1)),
        "a negative stride": tensor((4, 1), (-1, 1)),
        "a far stride": tensor((4, 1), (2**61, 1)),
        "a far offset": tensor((4, 1), offset=2**61),
        "another offset": tensor((4, 1), offset=1),
        "many axes": tensor((1,) * 50_000, (1,) * 50_000),
        "no axes": tensor((), ()),
        "sizes of text": call(
            "torch._utils", "_rebuild_tensor_v2", storage(), b"K\0", *2 * [sequence(text("4"))]
        ),
        "no storage": tensor((4, 1), source=b"N"),
        "a storage of no type": tensor((4, 1), source=sequence(text("storage"), b"N") + b"Q"),
        "no such storage": tensor((4, 1), source=storage("7")),
        "another folder": tensor((4, 1), source=storage("../../etc/passwd")),
        "integers": tensor((4, 1), source=storage(kind="LongStorage")),
        "a type of its own": tensor((4, 1), source=storage(kind="x" * 1000)),
    }
    return {name: state(LSTM | {"weight_hh_l0": value}) for name, value in named.items()}


def archives():
    """Archives that claim more than is there, or hold very much that is small."""
    many = {f"a/data/{k}": b"" for k in range(1, 9000)}
    views = state({f"weight_hh_l{k}": tensor((400, 500), source=storage()) for k in range(800)})
    whole = archive(state(LSTM))
    twice = whole.replace(b"a/data/0", b"a/data.p").replace(b"a/data.pkl", b"a/data.pk1")
    stored = struct.pack("<II", 16, 16)
    return {
        "many entries": archive(state(LSTM), NUMBERS | many),
        "views of one storage": archive(views, {"a/data/0": bytes(800_000)}),
        "a claimed size": whole.replace(stored, struct.pack("<II", 2**31, 2**31)),
        "two sizes": whole.replace(stored, struct.pack("<II", 16, 2**31)),
        "other names": twice,
        "deflated": deflated(bytes(50 << 20)),
        "a cut archive": whole[:-30],
        "two pickles": archive(state(LSTM), NUMBERS | {"b/data.pkl": b"."}),
        "an empty archive": b"PK\5\6" + bytes(18),
        "an old pickle": pickle.dumps({"a": 1}, protocol=2),
    }


def deflated(data):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", START + state(LSTM) + b".")
        file.writestr("a/data/0", data)
    return buffer.getvalue()


@pytest.mark.slow
def test_torch(tmp_path):
    """None of the named functions is called, and none of the claims is believed."""
    contents = calls(tmp_path) | structures() | claims()
    files = {name: archive(content) for name, content in contents.items()} | archives()
    assert_bounded("torch", files | {GOOD: archive(state(LSTM))}, tmp_path)


def test_calls_beside_tensors(tmp_path):
    """The same calls as values of a state dict, whose tensors are read without them."""
    files = {
        f"{name} {kind}": archive(content)
        for name, value in calls(tmp_path).items()
        for kind, content in {
            "beside": state(LSTM | {"other": value}),
            "inside": state(LSTM | {"weight_hh_l0": value}),
            "before": value + b"0" + state(LSTM),
        }.items()
    }
    assert_bounded("torch", files | {GOOD: archive(state(LSTM))}, tmp_path)


def test_mutated_pickles(tmp_path):
    """ValueError with the file's name, or a model of the file's numbers."""
    check_mutations(tmp_path / "model.pt", 1000)


@pytest.mark.long
def test_many_mutated_pickles(tmp_path):
    check_mutations(tmp_path / "model.pt", 100_000)


def check_mutations(path, count):
    rng, refused = np.random.default_rng(0), 0
    content = state(LSTM)
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(content)))
            changed[place] = rng.choice([rng.integers(256), *b"}](t)RQbu.0"])
        path.write_bytes(archive(bytes(changed)))
        try:
            assert interop.load(path).parameters.flat.size < 1000
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert count // 4 < refused < count
