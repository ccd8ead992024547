"""Structured bombs in ONNX files; some are made byte by byte, as the onnx package refuses to."""

import numpy as np
import pytest

from tests.interop.bombs import GOOD, assert_bounded, needs_fork
from tests.interop.onnx.models import UNITS, graph_of, lstm_node, model_of, node_model, weights

pytestmark = [pytest.mark.peers, needs_fork]

MANY = 1_000_000


@pytest.fixture(autouse=True)
def peers():
    pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")


def varint(value):
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def field(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def model_bytes(graph=b"", *fields):
    """A ModelProto with this GraphProto."""
    return b"\x08\x08" + field(7, graph) + b"".join(fields)


def wire():
    """Messages of no content, of which a file has very many."""
    half = MANY // 2
    in_graph = {"nodes": 1, "names": 2, "initializers": 5, "inputs": 11, "values": 13, "sparse": 15}
    files = {
        f"empty {kind}": model_bytes(bytes([number << 3 | 2, 0]) * half)
        for kind, number in in_graph.items()
    }
    node = {"node inputs": 1, "node outputs": 2, "attributes": 5}
    files |= {
        f"empty {kind}": model_bytes(field(1, bytes([number << 3 | 2, 0]) * half))
        for kind, number in node.items()
    }
    attribute = {"tensors": 10, "graphs": 11, "strings": 9}
    files |= {
        f"empty {kind} of an attribute": model_bytes(
            field(1, field(5, bytes([number << 3 | 2, 0]) * half))
        )
        for kind, number in attribute.items()
    }
    files["empty functions"] = model_bytes(b"", field(25, b"") * (half // 2))
    files["empty opsets"] = model_bytes(b"", field(8, b"") * half)
    files["nodes of a function"] = model_bytes(b"", field(25, bytes([7 << 3 | 2, 0]) * half))
    files["external data of a tensor"] = model_bytes(field(5, bytes([13 << 3 | 2, 0]) * half))
    files["dimensions"] = model_bytes(field(5, b"\x0a" + varint(MANY) + b"\1" * MANY))
    files["integers"] = model_bytes(field(5, field(7, b"\1" * (MANY - 20))))
    named = {"inputs": (11, b""), "tensors": (5, b""), "nodes": (1, b"\x12\2xy")}
    for kind, (number, rest) in named.items():
        name = 1 if number == 11 else 8 if number == 5 else 3
        several = [field(number, rest + field(name, str(k).encode())) for k in range(80_000)]
        files[f"many {kind}"] = model_bytes(b"".join(several))
    outputs = [field(1, field(2, str(k).encode())) for k in range(100_000)]
    files["many outputs of nodes"] = model_bytes(b"".join(outputs))
    files["many outputs of a node"] = model_bytes(
        field(1, b"".join(field(2, str(k).encode()) for k in range(120_000)))
    )
    deep = b""
    for _ in range(20_000):
        deep = field(1, field(5, field(6, deep)))
        if len(deep) > MANY:
            break
    files["nested graphs"] = model_bytes(deep)
    return files


def functions(count, body, calls, given=()):
    """Functions f0, f1, ... of which each calls the next, and the last has nodes."""
    from onnx import helper

    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    made = []
    for k in range(count):
        nodes = body if k == count - 1 else calls_of(f"f{k + 1}", calls)
        made.append(helper.make_function("own", f"f{k}", list(given), ["Y"], nodes, opsets))
    return made


def calls_of(name, count):
    from onnx import helper

    return [helper.make_node(name, [], [f"c{k}"], domain="own") for k in range(count)]


def calls():
    """Functions that are called often."""
    from onnx import helper

    given = weights()
    constants = [constant_node(name, array) for name, array in given.items()]
    small = [lstm_node(f"n{k}", given=tuple(given), outputs=(f"Y{k}",)) for k in range(1200)]
    plain = [helper.make_node("Relu", ["a"], [f"r{k}"]) for k in range(5000)]
    names = [f"i{k}" for k in range(50_000)]
    outputs = helper.make_node("Split", ["a"], [f"o{k}" for k in range(50_000)])
    large = constant_node("big", np.zeros(100_000, np.float32))
    attribute = helper.make_node("Cast", ["a"], ["Y"], to=1)
    long = helper.make_node("Foo", ["a"], ["Y"], values=[1] * 100_000)
    files = {
        "many nodes": ([*constants, *small], 140, 1),
        "many nodes, deeper": ([*constants, *small[:100]], 4, 6),
        "doubled": (plain[:1], 2, 40),
        "hundreds": (plain[:1], 100, 10),
        "nothing, often": ([], 20_000, 1),
        "much that is nothing": (plain, 2000, 1),
        "an array in each": ([large, lstm_node(given=("big", "big"))], 3000, 1),
        "many outputs": ([outputs], 2000, 1),
        "many attributes": ([attribute], 5000, 2),
        "a long attribute": ([long], 3000, 1),
    }
    result = {}
    for name, (body, count, depth) in files.items():
        made = functions(depth, body, count)
        graph = graph_of(calls_of("f0", count), {})
        result[name] = model_of(graph, functions=made).SerializeToString()
    wide = functions(1, [], 1, names)
    result["many arguments"] = model_of(
        graph_of(calls_of("f0", 3000), {}), functions=wide
    ).SerializeToString()
    return result


def constant_node(name, array):
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(array, name)
    return helper.make_node("Constant", [], [name], value=tensor)


def graphs():
    """Graphs in which the same is used again and again."""
    from onnx import helper

    given = weights()
    make, text = helper.make_node, "x" * 400_000
    nodes = {
        "doubled": [make("Concat", [f"v{k}"] * 2, [f"v{k + 1}"], axis=0) for k in range(60)],
        "one value often": [make("Concat", ["v0"] * 250_000, ["v1"], axis=0)],
        "a chain": [make("Identity", [f"v{k}"], [f"v{k + 1}"]) for k in range(20_000)],
        "a circle": [make("Identity", [f"v{k}"], [f"v{1 - k}"]) for k in (0, 1)],
        "itself": [make("Identity", ["v1"], ["v1"])],
        "casts": [make("Cast", ["v0"], [f"v{k}"], to=11) for k in range(1, 9000)],
        "a long name": [make("Identity", ["v0"], [text])],
        "controls": [make("\x1b[31m", ["v0"], ["v1"], name="\x1b[0m\n\u202e")],
    }
    files = {}
    for name, before in nodes.items():
        held = {"v0": np.zeros((40, 40), np.float32)} | given
        last = before[-1].output[0]
        lstm = lstm_node("n")
        lstm.input[1] = last
        files[name] = model_of(graph_of([*before, lstm], held)).SerializeToString()
    shared = [lstm_node(f"n{k}", outputs=(f"Y{k}",)) for k in range(10_000)]
    files["shared weights"] = model_of(graph_of(shared, given)).SerializeToString()
    zeros = given | {"initial_h": np.zeros((1, 70_000, UNITS), np.float32)}
    some = [lstm_node(f"n{k}", zeros, outputs=(f"Y{k}",)) for k in range(3000)]
    files["a shared state"] = model_of(graph_of(some, zeros)).SerializeToString()
    starts = np.zeros(100_000, np.int64)
    cuts = [make("Slice", ["v0", "s", "s", "s"], [f"c{k}"]) for k in range(3000)]
    ends = [lstm_node(f"n{k}", outputs=(f"Y{k}",)) for k in range(3000)]
    for k, node in enumerate(ends):
        node.input[1] = f"c{k}"
    held = {"v0": given["W"], "s": starts} | given
    files["long cuts"] = model_of(graph_of([*cuts, *ends], held)).SerializeToString()
    named = node_model({"X": None} | given)
    named.graph.node[0].name = "\x1b[31m" + text
    named.graph.node[0].attribute.add(name="unknown")
    files["a long name of the node"] = named.SerializeToString()
    return files


def constants():
    """Sizes, axes and places of the graphs in `moving`, by name."""
    numbers = {"0": 0, "1": 1, "2": 2, "huge": 1 << 62}
    held = {f"n{name}": np.array([number]) for name, number in numbers.items()}
    held |= {f"m{name}": np.array(number) for name, number in numbers.items()}
    held |= {"flat": np.array([-1]), "pair": np.array([-1, 2]), "wide": np.full(4, 1 << 40)}
    held |= {"repeats": np.full(4, 1 << 15), "places": np.zeros(100_000, np.int64)}
    return held | {"row": np.zeros((1, 1), np.float32), "square": np.zeros((3, 3), np.float32)}


def make(kind, inputs, *outputs, **given):
    from onnx import helper

    return helper.make_node(kind, inputs, outputs, **given)


def chain(count, step, first):
    return [first, *(node for k in range(count) for node in step(f"v{k}", f"v{k + 1}"))]


def apart(one, other):
    """Cuts that no digits describe, put together in another order."""
    return [
        make("Slice", [one, "n0", "n2", "n0"], f"{other}a"),
        make("Slice", [one, "n2", "nhuge", "n0"], f"{other}b"),
        make("Concat", [f"{other}b", f"{other}a"], other, axis=0),
    ]


def turned(one, other):
    """Every axis split, and its digits turned."""
    return [
        make("Reshape", [one, "pair"], f"{other}r"),
        make("Transpose", [f"{other}r"], f"{other}t"),
        make("Reshape", [f"{other}t", "flat"], other),
    ]


def moving():
    """Nodes that move, list and repeat what an LSTM gives, that compute sizes, and layers."""
    flat = make("Reshape", ["Y", "flat"], "v0")
    plain = make("Squeeze", ["Y", "n1"], "v0")
    filled, parts = make("ConstantOfShape", ["wide"], "v0"), [f"s{k}" for k in range(100_000)]
    tiles = chain(60, lambda a, b: [make("Tile", [a, "n2"], b)], flat)
    doubled = chain(60, lambda a, b: [make("Concat", [a, a], b, axis=0)], flat)
    sizes = chain(40, lambda a, b: [make("Mul", [a, a], b)], make("Shape", ["x"], "v0"))
    skips, sums = (
        chain(
            count,
            lambda a, b, before=before: [
                make("Relu", [a], f"{b}l"),
                make("Add", [f"{b}l", before or a], b),
            ],
            plain,
        )
        for count, before in ((400, "v0"), (2000, ""))
    )
    return {
        "cuts": chain(3000, apart, flat),
        "tiled": [make("Tile", ["Y", "repeats"], "v1")],
        "tiles": tiles,
        "tiles that are cut": [*tiles, *apart("v60", "v61")],
        "expanded": [make("Expand", ["Y", "wide"], "v1")],
        "beside itself": doubled,
        "often beside itself": [flat, make("Concat", ["v0"] * 250_000, "v1", axis=0)],
        "splits": [flat, make("Split", ["v0"], *parts, axis=0), make("Identity", ["s0"], "v1")],
        "axes": chain(3000, lambda a, b: [make("Unsqueeze", [a, "n0"], b)], flat),
        "digits": chain(200, turned, flat),
        "many places": [flat, make("Gather", ["v0", "places"], "v1", axis=0)],
        "sizes": [*sizes, make("Reshape", ["Y", "v40"], "v41")],
        "a constant": [filled, make("Add", ["Y", "v0"], "v1")],
        "a range": [make("Range", ["m0", "mhuge", "m1"], "v0"), make("Gather", ["Y", "v0"], "v1")],
        "rows": [make("Expand", ["row", "wide"], "v0"), make("MatMul", ["Y", "v0"], "v1")],
        "skips": skips,
        "sums": sums,
        "dense": chain(3000, lambda a, b: [make("MatMul", [a, "square"], b)], plain),
    }


def moved():
    """The graphs of `moving`, with sizes that are fixed or open."""
    from onnx import helper, numpy_helper

    whole, files = (weights() | constants()).items(), {}
    for name, after in moving().items():
        for kind, sizes in (("open", ["T", "B", 2]), ("fixed", [3, 2, 2])):
            x = helper.make_tensor_value_info("x", 1, sizes)
            last = helper.make_tensor_value_info(after[-1].output[0], 1, None)
            lstm = lstm_node("n", ("W", "R"))
            lstm.input[0] = "x"
            used = {value for node in (lstm, *after) for value in node.input}
            tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in whole if n in used]
            graph = helper.make_graph([lstm, *after], "made", [x], [last], tensors)
            files[f"{name}, {kind}"] = model_of(graph).SerializeToString()
    return files


def beside():
    """External data: claims, other places, and what many tensors share."""
    from onnx import TensorProto

    def tensors(count, shape, **entries):
        model = node_model({"X": None} | weights())
        del model.graph.initializer[:]
        for k in range(count):
            for name, dims in ((f"w{k}", shape), (f"r{k}", (1, 400, 100))):
                tensor = TensorProto(name=name, data_type=1, dims=dims, data_location=1)
                for key, value in entries.items():
                    tensor.external_data.add(key=key, value=value.format(k=k))
                model.graph.initializer.append(tensor)
            if k:
                model.graph.node.append(lstm_node(f"n{k}", outputs=(f"Y{k}",)))
            del model.graph.node[k].input[1:]
            model.graph.node[k].input.extend([f"w{k}", f"r{k}"])
        return model.SerializeToString()

    place = {"location": "weights.bin"}
    return {
        "weights.bin": bytes(900_000),
        "shared": tensors(1000, (1, 400, 500), **place),
        "shared, overlapping": tensors(1000, (1, 400, 500), offset="{k}", **place),
        "another length": tensors(1, (4, 1, 1), length="900000", **place),
        "a long length": tensors(1, (4, 1, 1), length="9" * 400_000, **place),
        "a large shape": tensors(1, (2**40, 1, 1), **place),
        "an overflow": tensors(1, (2**40, 2**40, 1), **place),
        "a negative offset": tensors(1, (4, 1, 1), offset="-4", **place),
        "a far offset": tensors(1, (4, 1, 1), offset=str(2**62), **place),
        "an endless file": tensors(1, (4, 1, 1), location="/dev/zero"),
        "a folder": tensors(1, (4, 1, 1), location="."),
        "above": tensors(1, (4, 1, 1), location="../../../../etc/passwd"),
        "absolute": tensors(1, (4, 1, 1), location="/etc/passwd"),
        "nowhere": tensors(1, (4, 1, 1)),
        "a long place": tensors(1, (4, 1, 1), location="x" * 400_000),
        "no place": tensors(1, (4, 1, 1), location="a\0b"),
        "no such file": tensors(1, (4, 1, 1), location="none.bin"),
    }


def test_onnx(tmp_path):
    files = {GOOD: node_model({"X": None} | weights()).SerializeToString()}
    assert_bounded("onnx", files | wire() | calls() | graphs() | beside(), tmp_path)


def test_what_moves_in_graphs(tmp_path):
    files = {GOOD: node_model({"X": None} | weights()).SerializeToString()}
    assert_bounded("onnx", files | wire() | moved(), tmp_path)


def test_links_lead_nowhere(tmp_path):
    """Neither a file in another folder nor a pipe is read."""
    import os

    from clstm.interop import onnx as interop

    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "outside.bin").write_bytes(bytes(900))
    (inner / "link.bin").symlink_to(tmp_path / "outside.bin")
    os.mkfifo(inner / "pipe.bin")
    whole = node_model({"X": None} | weights())
    for name, words in (("link.bin", "is not in the folder"), ("pipe.bin", "not a regular file")):
        for tensor in whole.graph.initializer:
            tensor.ClearField("raw_data")
            tensor.ClearField("external_data")
            tensor.data_location = 1
            tensor.external_data.add(key="location", value=name)
        (inner / "model.onnx").write_bytes(whole.SerializeToString())
        with pytest.raises(ValueError, match=words):
            interop.load(inner / "model.onnx")
