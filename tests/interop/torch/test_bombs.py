"""Structured bombs in files of torch.save, written without PyTorch and read without it."""

import io
import pickle
import re
import struct
import zipfile

import numpy as np
import pytest

import clstm
from clstm.interop import torch as interop
from tests.interop.bombs import CALLED, GOOD, assert_bounded, needs_fork
from tests.interop.torch.pickles import (
    LSTM,
    NUMBERS,
    START,
    archive,
    call,
    integer,
    sequence,
    state,
    storage,
    symbol,
    tensor,
    text,
)
from tests.interop.torch.scripts import GOOD_CODE, HEAD, WEIGHTS, forward, module, script

pytestmark = needs_fork

MANY = 400_000


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


@pytest.mark.slow
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


# ---- TorchScript ----


def codes():
    """Code that is large, deep, without an end, or none."""
    n = 100_000
    calls = "".join(
        f"def f{k}(x: Tensor) -> Tensor:\n  a = __torch__.f{k - 1}(x, )\n"
        f"  return __torch__.f{k - 1}(a, )\n"
        for k in range(1, 60)
    )
    return {
        "lines": "a\n" * n,
        "a list": f"x = {'a,' * n}\n",
        "numbers": f"x = {'1,' * n}\n",
        "signs": f"x = {'-' * n}1\n",
        "nots": f"x = {'not ' * n}1\n",
        "brackets": "x = " + "(" * n,
        "lists": f"x = {'[' * 90}1{']' * 90}\n" * 1000,
        "attributes": f"x = a{'.a' * n}\n",
        "parts": f"x = a{'[0]' * n}\n",
        "calls of results": f"x = a{'()' * n}\n",
        "powers": f"x = {'9**' * n}9\n",
        "shifts": "x = 1 << 10 ** 10\n",
        "functions without names": f"x = {'lambda: ' * n}1\n",
        "a long integer": f"x = {'9' * n}\n",
        "a long hexadecimal": f"x = 0x{'f' * n}\n",
        "a long text": f"x = '{'x' * n}'\n",
        "escapes": "x = '" + "\\d" * n + "'\n",
        "names of characters": "x = '" + "\\N{DIGIT ONE}" * 9000 + "'\n",
        "formatted text": "x = " + "f'{a}'" * n + "\n",
        "conditions": "if a:\n pass\n" + "elif a:\n pass\n" * 20_000,
        "indentation": "".join(" " * k + "if a:\n" for k in range(1000)),
        "classes": "class M(Module):\n  a = 1\n" * 20_000,
        "decorators": "@a\n" * n + "def f(): pass\n",
        "zeros": b"\0" * n,
        "no UTF-8": b"\xff\xfe" * n,
        "a mark of order": b"\xef\xbb\xbf" + GOOD_CODE.encode(),
        "nothing": "",
        "blanks": " " * (1 << 20),
        "ends of lines": "\r" * (1 << 20),
        "calls of calls": calls + "def f0(x: Tensor) -> Tensor:\n  return x\n"
        + forward("y = __torch__.f59(y, )"),
        "a call of itself": HEAD + "  def forward(self, x: Tensor):\n    self.forward(x)\n",
        "many arguments": HEAD + f"  def forward(self{', x: Tensor' * 9000}): return x\n",
        "many other arguments": "def f(" + ",".join(f"a{k}=1" for k in range(3000))
        + "):\n  return a0\n" + forward(*["__torch__.f()"] * 2000),
    }  # fmt: skip


def statements():
    """Code in whose `forward` values grow."""
    lines = {
        "layers": ["y = torch.relu(y)"] * 2000,
        "layers that are kept": [f"y{k + 1} = torch.relu(y{k})" for k in range(-1, 2000)],
        "no layers": ["y = torch.dropout(y, 0.5, False)"] * 2000,
        "doubled lists": ["a = [1]", *["a = [a, a]"] * 200, "y = torch.view(y, a)"],
        "doubled parts": ["y = torch.cat([y, y], 2)"] * 200,
        "doubled sizes": ["a = torch.size(y, 0)", *["a = torch.mul(a, a)"] * 100],
        "doubled numbers": ["a = 3", *["a = torch.mul(a, a)"] * 100, "y = torch.mul(y, a)"],
        "doubled texts": ["a = 'aa'", *["a = torch.add(a, a)"] * 100],
        "doubled sums": ["y = torch.add(y, y)"] * 100,
        "axes": ["y = torch.unsqueeze(y, 0)"] * 3000,
        "a view": [f"y = torch.view(y, [{'1, ' * 9000}])"],
        "an order": [f"y = torch.permute(y, [{'0, ' * 9000}])"],
        "many parts": [f"y = torch.cat([{'y, ' * 9000}], 2)"],
        "a gain of infinity": ["y = torch.mul(y, 1e999)"],
        "a large gain": [f"y = torch.mul(y, 0x{'f' * 9000})"],
        "a division by nothing": ["y = torch.div(y, 0)"],
        "a floor of nothing": ["a = torch.floordiv(1, 0)"],
        "a large axis": [f"y = torch.select(y, 0x{'f' * 9000}, 0)"],
        "a large index": [f"y = torch.select(y, 0, 0x{'f' * 9000})"],
        "a large end": [f"y = torch.slice(y, 2, 0, 0x{'f' * 9000})"],
        "weights": ["y = torch.linear(y, self.w)"] * 500,
        "LSTMs": [
            "y, h, c = torch.lstm(y, [_0, _0], [self.w, self.r], False, 1, 0., False, False, False)"
        ] * 500,
        "layers of an LSTM": [
            "y, h, c = torch.lstm(x, [_0, _0], [self.w, self.r], False, 1000000000, 0., False, "
            "False, False)"
        ],
        "lists of weights": ["a = self.many"] * 2000,
        "an unknown constant": ["y = torch.mul(y, CONSTANTS.c0)"],
        "a far constant": ["y = torch.mul(y, CONSTANTS.c99999999999)"],
        "a module as a number": ["y = torch.mul(y, self)"],
        "a loop": ["for k in range(1000000000):", "  y = torch.relu(y)"],
        "no end": ["while True:", "  pass"],
        "an import": ["import os"],
        "a product": ["a = 9 ** 9 ** 9"],
        "a list of a range": ["a = [k for k in range(1000000000)]"],
        "an exception": ["ops.prim.RaiseException('" + "x" * 9000 + "')"],
        "a lower class": ["y = (self.__class__).__subclasses__(y, )"],
        "a name of Python": ["y = getattr(self, '__class__')"],
        "an unknown function": ["y = __import__('os')"],
        "another entry": ["y = __torch__.other.f(y, )"],
    }  # fmt: skip
    return {name: forward(*parts) for name, parts in lines.items()}


def runs(folder):
    """Code that Python would run to its end, and to an effect."""
    touch = f"open({str(folder / CALLED)!r}, 'w')"
    return {
        "a call at the top": f"{touch}\n{GOOD_CODE}",
        "a call in a class": f"class M(Module):\n  a = {touch}\n{GOOD_CODE.partition(chr(10))[2]}",
        "a call in a default": GOOD_CODE.replace("x: Tensor", f"x: Tensor = {touch}"),
        "a call in a type": GOOD_CODE.replace("x: Tensor", f"x: {touch}"),
        "a call in forward": forward(touch),
        "a call by exec": forward(f"exec({touch!r})"),
    }


def contents():
    """Pickles beside good code, and archives."""
    many = {f"a{k}": tensor((4, 1)) for k in range(2000)}
    refs = WEIGHTS["w"] + b"q\0" + b"0](" + b"h\0" * 20_000 + b"e"
    inner = module({"w": WEIGHTS["w"]}) + b"q\1" + b"0h\1"
    constants = b"(" + b"N" * 100_000 + b"t"
    return {
        "many weights": script(GOOD_CODE, module(WEIGHTS | many)),
        "a list of weights": script(
            forward(*["a = self.many"] * 2000), module(WEIGHTS | {"many": refs})
        ),
        "a module in itself": script(
            forward("a = self.m.m.m.m"), module(WEIGHTS | {"m": inner})
        ),
        "no module": script(GOOD_CODE, b"N"),
        "a class without code": script(GOOD_CODE, module(WEIGHTS, "N")),
        "no state": script(GOOD_CODE, symbol("__torch__", "M") + b")\x81"),
        "a call of the class": script(GOOD_CODE, symbol("__torch__", "M") + b")R"),
        "other attributes": script(GOOD_CODE, module({"w": b"N", "r": b"]"})),
        "a large matrix": script(GOOD_CODE, module(WEIGHTS | {"w": tensor((2**40, 2**20))})),
        "many constants": script(GOOD_CODE, constants=constants),
        "no constants": script(forward("y = torch.mul(y, CONSTANTS.c0)"), constants=b"N"),
        "a call in the constants": script(
            forward("y = torch.mul(y, CONSTANTS.c0)"), constants=call("os", "abort") + b"\x85"
        ),
        "code that unpacks to much": script("#" * (200 << 20)),
        "code of another method": script(GOOD_CODE, entries={"a/code/b.py": b"x"}).replace(
            b"a/code/__torch__.py", b"a/code/__torch__.pz"
        ),
    }  # fmt: skip


@pytest.mark.slow
def test_scripts(tmp_path):
    """Code is followed, never run, and bounded before it is parsed."""
    texts = codes() | statements() | runs(tmp_path)
    files = {name: script(code) for name, code in texts.items()} | contents()
    files = {name: data for name, data in files.items() if len(data) <= 1 << 20}
    assert len(files) >= 85
    assert_bounded("torch", files | {GOOD: script(GOOD_CODE)}, tmp_path)


# ---- Modules ----


def nested(depth, inner):
    """A Sequential in a Sequential, each with its inner one twice."""
    begin = symbol("torch.nn.modules.container", "Sequential") + b")\x81"
    names = (text("_modules"), text("0"), text("1"))
    for _ in range(depth):
        place = b"q\1" + names[1] + inner + b"q\2" + names[2] + b"h\2"
        inner = begin + b"}" + names[0] + b"}(" + place.removeprefix(b"q\1") + b"usb"
    return inner


def pickled(kind, entries):
    module_name, _, name = kind.rpartition(".")
    return symbol(f"torch.nn.modules.{module_name}", name) + b")\x81" + state(entries) + b"b"


def pickled_modules(folder):
    """Modules that are many, deep, or say what their weights do not hold."""
    sizes = {"input_size": integer(1), "hidden_size": integer(1), "num_layers": integer(1)}
    sizes |= {"bidirectional": b"\x89", "batch_first": b"\x89"}
    lstm = pickled("rnn.LSTM", {"_parameters": state(LSTM)} | sizes)
    tanh = pickled("activation.Tanh", {})

    def chain(parts):
        return pickled("container.Sequential", {"_modules": state(parts)})

    def with_sizes(**changed):
        given = {"_parameters": state(LSTM)} | sizes | changed
        return chain({"0": pickled("rnn.LSTM", given)})

    called = {name: chain({"0": value, "1": lstm}) for name, value in calls(folder).items()}
    large = pickled("linear.Linear", {"_parameters": state({"weight": tensor((9**9, 1))})})
    more = {
        "large sizes": with_sizes(hidden_size=integer(10**9)),
        "many layers": with_sizes(num_layers=integer(10**9)),
        "another size": with_sizes(input_size=integer(2)),
        "two directions": with_sizes(bidirectional=b"\x88"),
        "no size": with_sizes(hidden_size=b"N"),
        "many activations": chain({**{str(k): tanh for k in range(8000)}, "x": lstm}),
        "an activation of many places": chain(
            {"0": tanh + b"q\1", **{str(k): b"h\1" for k in range(1, 60_000)}, "x": lstm}
        ),
        "doubled": nested(35, tanh),
        "deep": nested(300, lstm),
        "no modules": pickled("container.Sequential", {"_modules": b"N"}),
        "a list of modules": pickled("container.Sequential", {"_modules": b"]"}),
        "numbers as modules": chain({"0": integer(7), "1": lstm}),
        "names that are none": pickled("container.Sequential", {"_modules": b"}N" + lstm + b"s"}),
        "no state": symbol("torch.nn.modules.container", "Sequential") + b")\x81",
        "a call": symbol("torch.nn.modules.container", "Sequential") + b")R",
        "parameters that are none": chain(
            {"0": pickled("linear.Linear", {"_parameters": integer(1)}), "1": lstm}
        ),
        "a linear layer without a weight": chain({"0": pickled("linear.Linear", {}), "1": lstm}),
        "a large linear layer": chain({"0": large, "1": lstm}),
        "a hook": chain({"0": lstm, "_forward_hooks": tanh}),
        "a forward of its own": chain(
            {"0": pickled("activation.Tanh", {"forward": symbol("os", "abort")}), "1": lstm}
        ),
        "an unknown class": chain({"0": pickled("activation.Nothing", {}), "1": lstm}),
        "a long place": chain({"x" * 400_000: tanh, "1": pickled("rnn.GRU", {})}),
        "controls": chain({"\x1b[31m": pickled("rnn.GRU", {})}),
        "itself": b"}q\0" + text("_modules") + b"h\0s0" + chain({"0": b"h\0"}),
    }  # fmt: skip
    good = chain({"0": tanh, "1": lstm})
    counts = {f"{k} activations": {str(n): tanh for n in range(k)} for k in range(1, 12)}
    more |= {name: chain(parts | {"x": lstm}) for name, parts in counts.items()}
    return called | more, good


@pytest.mark.slow
def test_modules(tmp_path):
    contents, good = pickled_modules(tmp_path)
    files = {name: archive(content) for name, content in contents.items()}
    files = {name: data for name, data in files.items() if len(data) <= 1 << 20}
    assert_bounded("torch", files | {GOOD: archive(good)}, tmp_path)


def test_mutated_scripts_and_modules(tmp_path):
    """ValueError with the file's name, or a model that runs."""
    check_other_mutations(tmp_path / "model.pt", 500)


@pytest.mark.long
def test_many_mutated_scripts_and_modules(tmp_path):
    check_other_mutations(tmp_path / "model.pt", 50_000)


def check_other_mutations(path, count):
    """Half of them in a pickle or in code, by bytes; half in code, by words."""
    rng, refused = np.random.default_rng(1), 0
    _, good = pickled_modules(path.parent)
    code = forward("y = torch.relu(torch.select(y, 0, -1))").encode()
    words = [b"torch", b"y", b"x", b"h", b"c", b"self", b"0", b"1", b"-1", b"2", b"None", b"True"]
    words += [b"_0", b"[y, y]", b"(y, h)", b"size", b"cat", b"view", b"add", b"mul", b"w", b"1e9"]
    for _ in range(count):
        changed = bytearray(good)
        changed[int(rng.integers(len(good)))] = rng.choice([rng.integers(256), *b"}](t)RQbu.0N"])
        first = archive(bytes(changed))
        parts = re.split(rb"(\w+|\W)", code)
        for _ in range(rng.integers(1, 4)):
            parts[int(rng.integers(len(parts)))] = words[int(rng.integers(len(words)))]
        for data in (first, script(b"".join(parts))):
            path.write_bytes(data)
            try:
                model = clstm.load(path)
            except ValueError as error:
                assert str(path) in str(error)
                refused += 1
            else:
                with np.errstate(all="ignore"):
                    model(np.ones((3, model.input_size)))
    assert count // 2 < refused < 2 * count
