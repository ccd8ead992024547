"""Graphs as converters of TensorFlow write them, in the operators of any version from 7 on.

Sequences come with the batch first and are turned; directions are one node, or two that are fed a
reversed sequence; weights, states, the last step and the head are written in many ways.
"""

import numpy as np

INPUTS, UNITS, CLASSES, STEPS, BATCH = 3, 4, 2, 5, 2


class Builder:
    """Nodes and constants of a graph; each operator is written as its version wants it."""

    def __init__(self, opset):
        self.opset, self.nodes, self.constants, self.count = opset, [], [], 0

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, array, as_node=False):
        from onnx import numpy_helper

        name = self.name()
        tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
        if as_node:
            return self.node("Constant", value=tensor)
        self.constants.append(tensor)
        return name

    def ints(self, *numbers):
        return self.constant(np.array(numbers, np.int64))

    def node(self, kind, *inputs, outputs=1, **given):
        from onnx import helper

        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=names[0], **given))
        return names if outputs > 1 else names[0]

    def _with(self, kind, value, since, name, numbers, **given):
        if self.opset >= since:
            return self.node(kind, value, self.ints(*numbers), **given)
        return self.node(kind, value, **{name: list(numbers)}, **given)

    def squeeze(self, value, *axes):
        return self._with("Squeeze", value, 13, "axes", axes)

    def unsqueeze(self, value, *axes):
        return self._with("Unsqueeze", value, 13, "axes", axes)

    def split(self, value, sizes, axis):
        return self._with("Split", value, 13, "split", sizes, axis=axis, outputs=len(sizes))

    def cut(self, value, start, end, axis):
        if self.opset >= 10:
            ends = [self.ints(number) for number in (start, end, axis)]
            return self.node("Slice", value, *ends)
        return self.node("Slice", value, starts=[start], ends=[end], axes=[axis])

    def transpose(self, value, *perm):
        return self.node("Transpose", value, perm=list(perm))

    def reshape(self, value, *shape):
        return self.node("Reshape", value, self.ints(*shape))

    def model(self, result, sizes, output, kind=1):
        """Return the model; x has elements of the type that ONNX has this number for."""
        from onnx import TensorProto, helper

        x = helper.make_tensor_value_info("x", kind, sizes)
        y = helper.make_tensor_value_info(result, TensorProto.FLOAT, output)
        graph = helper.make_graph(self.nodes, "made", [x], [y], self.constants)
        opset = helper.make_opsetid("", self.opset)
        version = 3 if self.opset < 9 else 8
        if version == 3:  # initializers are inputs, too
            for tensor in self.constants:
                kind = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
                graph.input.append(kind)
        return helper.make_model(graph, opset_imports=[opset], ir_version=version)


class Maker:
    """One graph, drawn at random; `choices` says what it is made of."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.builder = Builder(7 + seed % 16)
        self.choices = {"opset": self.builder.opset}

    def choose(self, name, *options):
        self.choices[name] = chosen = options[self.rng.integers(len(options))]
        return chosen

    def since(self, opset, *options):
        return options if self.builder.opset >= opset else ()

    def draw(self, *shape):
        return (self.rng.standard_normal(shape) / 2).astype(np.float32)

    # ---- Parts ----

    def weight(self, array):
        """A constant, computed from others in one of many ways."""
        b, kind = self.builder, self.kind
        if kind == "nodes":
            return b.constant(array, as_node=True)
        if kind == "transposed":
            order = tuple(range(array.ndim))[::-1]
            return b.transpose(b.constant(array.transpose(order)), *order)
        if kind == "gates":
            axis = 1 if array.ndim > 1 else 0
            parts = [b.constant(part) for part in np.split(array, 4, axis)]
            return b.node("Concat", *parts, axis=axis)
        if kind == "half":
            return b.node("Cast", b.constant(array.astype(np.float16)), to=1)
        if kind == "scaled":
            return b.node("Mul", b.constant(array / 4), b.constant(np.float32(4)))
        if kind == "part":
            wide = np.concatenate([array, array + 1])
            return b.cut(b.constant(wide), 0, len(array), 0)
        if kind == "integers":
            scale = np.float32(np.abs(array).max() / 127)
            whole = b.constant(np.rint(array / scale).astype(np.int8))
            zero = b.constant(np.int8(0))
            return b.node("DequantizeLinear", whole, b.constant(scale), zero)
        return b.constant(array)

    def state(self, x, parts):
        """An initial state of zeros or of learned numbers; x is (T, B, I)."""
        b, kind = self.builder, self.states
        if kind == "none":
            return ""
        if parts == 2 and self.joins == "split":
            return b.node("Concat", *(self.state(x, 1) for _ in range(2)), axis=0)
        if kind == "literal":
            return b.constant(np.zeros((parts, BATCH, UNITS), np.float32))
        batch = b.cut(b.node("Shape", x), 1, 2, 0)
        shape = b.node("Concat", b.ints(parts), batch, b.ints(UNITS), axis=0)
        if kind == "filled":
            return b.node("ConstantOfShape", shape)
        if kind == "tiled":
            repeats = b.node("Concat", b.ints(1), batch, b.ints(1), axis=0)
            return b.node("Tile", b.constant(self.draw(parts, 1, UNITS)), repeats)
        return b.node("Expand", b.constant(self.draw(parts, 1, UNITS)), shape)

    def lstm(self, x, inputs, parts, direction):
        b = self.builder
        names = [self.weight(self.draw(parts, 4 * UNITS, size)) for size in (inputs, UNITS)]
        names.append(self.weight(self.draw(parts, 8 * UNITS)) if self.bias else "")
        names += ["", self.state(x, parts), self.state(x, parts)]
        given = {"hidden_size": UNITS, "direction": direction}
        return b.node("LSTM", x, *names, outputs=3, **given)

    def flipped(self, x):
        """A sequence (T, B, I) from its end."""
        b = self.builder
        if self.flips == "slice":
            ends = [b.ints(number) for number in (-1, -(2**63) + 1, 0, -1)]
            return b.node("Slice", x, *ends)
        shape = b.node("Shape", x)
        steps, rows = (b.cut(shape, k, k + 1, 0) for k in (0, 1))
        lengths = b.node("Expand", steps, rows)
        return b.node("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)

    def layer(self, x, inputs, directions):
        """Return y (T, B, D H) and the last h (B, D H)."""
        b = self.builder
        if directions == "apart":
            y, h, _ = self.lstm(x, inputs, 1, "forward")
            z, g, _ = self.lstm(self.flipped(x), inputs, 1, "forward")
            y, z = b.squeeze(y, 1), self.flipped(b.squeeze(z, 1))
            ends = [b.squeeze(part, 0) for part in (h, g)]
            return b.node("Concat", y, z, axis=2), b.node("Concat", *ends, axis=1)
        parts = 2 if directions == "bidirectional" else 1
        y, h, _ = self.lstm(x, inputs, parts, directions)
        if parts == 1:
            return b.squeeze(y, 1), b.squeeze(h, 0)
        if self.joins == "split":
            ys = [b.squeeze(half, 1) for half in b.split(y, [1, 1], 1)]
            hs = [b.squeeze(half, 0) for half in b.split(h, [1, 1], 0)]
            return b.node("Concat", *ys, axis=2), b.node("Concat", *hs, axis=-1)
        y = b.reshape(b.transpose(y, 0, 2, 1, 3), 0, 0, -1)
        return y, b.reshape(b.transpose(h, 1, 0, 2), -1, 2 * UNITS)

    def head(self, y, width, rank):
        b, kind = self.builder, self.choose("head", "none", "product", "reshaped", "softmax")
        if kind == "none":
            return y, width
        matrix = b.constant(self.draw(width, CLASSES))
        if kind == "reshaped":
            flat = b.reshape(y, -1, width)
            bias = b.constant(self.draw(CLASSES))
            flat = b.node("Gemm", flat, matrix, bias)
            kept = [-1, CLASSES] if rank == 2 else [BATCH, -1, CLASSES]
            return b.reshape(flat, *kept), CLASSES
        y = b.node("Add", b.node("MatMul", y, matrix), b.constant(self.draw(CLASSES)))
        return (b.node("Softmax", y, axis=rank - 1) if kind == "softmax" else y), CLASSES

    # ---- The graph ----

    def make(self):
        """Return the model and x (B, T, I)."""
        b = self.builder
        self.kind = self.choose(
            "weights", "plain", "nodes", "transposed", "gates", "half", "scaled", "part",
            *self.since(10, "integers"),
        )  # fmt: skip
        later = (*self.since(8, "expanded"), *self.since(9, "filled"), "tiled")
        self.states = self.choose("states", "none", "literal", *later)
        self.bias = self.choose("bias", True, False)
        self.joins = self.choose("joins", "split", "transpose")
        self.flips = self.choose("flips", "slice", "sequence")
        directions = self.choose(
            "directions", "forward", "reverse", "bidirectional", *self.since(10, "apart")
        )
        value, inputs = b.transpose("x", 1, 0, 2), INPUTS
        width = UNITS * (1 if directions in ("forward", "reverse") else 2)
        for _ in range(self.choose("layers", 1, 2)):
            value, last = self.layer(value, inputs, directions)
            inputs = width
        returns = self.choose("returns", "all", "last", "h", "gathered")
        if returns == "all":
            value = b.transpose(value, 1, 0, 2)
        elif returns == "last":
            value = b.squeeze(b.cut(b.transpose(value, 1, 0, 2), -1, 2**31 - 1, 1), 1)
        elif returns == "gathered":
            value = b.node("Gather", value, b.constant(np.int64(STEPS - 1)), axis=0)
        else:
            value = last
        value, size = self.head(value, width, 3 if returns == "all" else 2)
        fixed = returns == "gathered" or self.choose("sizes", "open", "fixed") == "fixed"
        fixed = fixed or self.states == "literal" or self.choices["head"] == "reshaped"
        sizes = [BATCH, STEPS, INPUTS] if fixed else ["N", "T", INPUTS]
        model = b.model(value, sizes, ["N", "T", size] if returns == "all" else ["N", size])
        return model, self.draw(BATCH, STEPS, INPUTS)
