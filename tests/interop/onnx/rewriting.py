"""Graphs in other spelling: operators that only move elements, put in, split and merged at random.

A value of a graph is replaced by one that is equal: operators are put between it and what takes it,
and again between these, so that transposes stand around splits around reshapes.
"""

import math

import numpy as np

FLOAT, DOUBLE = 1, 11  # of TensorProto


class Free(int):
    """The size of an axis that the graph leaves open."""


def times(sizes):
    """The size of an axis that joins others."""
    sizes = list(sizes)
    kind = Free if any(isinstance(size, Free) for size in sizes) else int
    return kind(math.prod(sizes))


class Rewriter:
    """A graph whose values have known shapes, for one size of its inputs.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    shapes : dict
        The shapes of its values of floats by name, with `Free` sizes.
    """

    def __init__(self, model, shapes, rng):
        self.graph, self.shapes, self.rng = model.graph, dict(shapes), rng
        self.doubles = set()  # values of float64; the others of a known shape are of float32
        self.count = 0

    # ---- Parts ----

    def name(self):
        self.count += 1
        return f"r{self.count}"

    def ints(self, *numbers):
        from onnx import numpy_helper

        name = self.name()
        array = np.array(numbers, np.int64)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def number(self, value):
        from onnx import numpy_helper

        name = self.name()
        self.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
        return name

    def node(self, kind, inputs, shape, at, outputs=1, **given):
        from onnx import helper

        names = [self.name() for _ in range(outputs)]
        made = helper.make_node(kind, list(inputs), names, name=names[0], **given)
        self.graph.node.insert(at[0], made)
        at[0] += 1
        if shape is not None:
            self.shapes |= {n: tuple(shape) for n in names}
        if given.get("to") == DOUBLE or (kind != "Cast" and inputs[0] in self.doubles):
            self.doubles.update(names)
        return names if outputs > 1 else names[0]

    def shape_of(self, value, at):
        """A list of the sizes of a value, written in one of several ways."""
        kind = self.rng.integers(4)
        sizes = self.shapes[value]
        if kind == 0 and not any(isinstance(size, Free) for size in sizes):
            return self.ints(*sizes)
        whole = self.node("Shape", [value], None, at)
        if kind == 1:
            return whole
        parts = []
        for k in range(len(sizes)):
            if kind == 2:
                one = self.node("Gather", [whole, self.number(k)], None, at, axis=0)
                parts.append(self.node("Unsqueeze", [one, self.ints(0)], None, at))
            else:
                ends = self.ints(k), self.ints(k + 1), self.ints(0)
                parts.append(self.node("Slice", [whole, *ends], None, at))
        return self.node("Concat", parts, None, at, axis=0)

    # ---- Equal values ----

    def transposes(self, value, shape, at):
        perm = self.rng.permutation(len(shape))
        other = [shape[k] for k in perm]
        turned = self.node("Transpose", [value], other, at, perm=perm.tolist())
        return self.node("Transpose", [turned], shape, at, perm=np.argsort(perm).tolist())

    def squeezes(self, value, shape, at):
        axis = int(self.rng.integers(len(shape) + 1))
        axes = self.ints(axis if self.rng.random() < 0.5 else axis - len(shape) - 1)
        wide = (*shape[:axis], 1, *shape[axis:])
        added = self.node("Unsqueeze", [value, axes], wide, at)
        return self.node("Squeeze", [added, axes], shape, at)

    def reshapes(self, value, shape, at):
        """Merge axes, and split them again."""
        first = int(self.rng.integers(len(shape)))
        last = int(self.rng.integers(first, len(shape)))
        middle = times(shape[first : last + 1])
        merged = (*shape[:first], middle, *shape[last + 1 :])
        sizes = [0] * first + [-1]
        for k in range(last + 1, len(shape)):
            sizes.append(-1 if isinstance(shape[k], Free) else shape[k])
        if sizes.count(-1) > 1:
            return self.flattens(value, shape, at)
        back = self.shape_of(value, at)
        one = self.node("Reshape", [value, self.ints(*sizes)], merged, at)
        return self.node("Reshape", [one, back], shape, at)

    def flattens(self, value, shape, at):
        axis = int(self.rng.integers(len(shape) + 1))
        sizes = times(shape[:axis]), times(shape[axis:])
        back = self.shape_of(value, at)
        flat = self.node("Flatten", [value], sizes, at, axis=axis)
        return self.node("Reshape", [flat, back], shape, at)

    def _axis(self, shape):
        """An axis whose size is known in any case."""
        known = [k for k, size in enumerate(shape) if size > 1 and not isinstance(size, Free)]
        return int(self.rng.choice(known)) if known else None

    def splits(self, value, shape, at):
        if (axis := self._axis(shape)) is None:
            return value
        first = int(self.rng.integers(1, shape[axis]))
        cut = [first, shape[axis] - first]
        halves = self.node("Split", [value, self.ints(*cut)], None, at, outputs=2, axis=axis)
        for half, size in zip(halves, cut, strict=True):
            self.shapes[half] = (*shape[:axis], size, *shape[axis + 1 :])
        return self.node("Concat", halves, shape, at, axis=axis - len(shape))

    def slices(self, value, shape, at):
        if (axis := self._axis(shape)) is None:
            return value
        place = int(self.rng.integers(1, shape[axis]))
        parts = []
        for start, end in ((0, place), (place - shape[axis], 2**62)):
            ends = self.ints(start), self.ints(end), self.ints(axis)
            size = place if start == 0 else shape[axis] - place
            own = (*shape[:axis], size, *shape[axis + 1 :])
            parts.append(self.node("Slice", [value, *ends], own, at))
        return self.node("Concat", parts, shape, at, axis=axis)

    def reverses(self, value, shape, at):
        axis = int(self.rng.integers(len(shape)))
        for _ in range(2):
            cuts = self.ints(-1), self.ints(-(2**62)), self.ints(axis), self.ints(-1)
            value = self.node("Slice", [value, *cuts], shape, at)
        return value

    def copies(self, value, shape, at):
        """Put a value beside itself, and take one of the two."""
        axis = int(self.rng.integers(len(shape) + 1))
        wide = (*shape[:axis], 1, *shape[axis:])
        one = self.node("Unsqueeze", [value, self.ints(axis)], wide, at)
        both = self.node("Concat", [one, one], (*shape[:axis], 2, *shape[axis:]), at, axis=axis)
        index = self.number(int(self.rng.integers(-2, 2)))
        return self.node("Gather", [both, index], shape, at, axis=axis)

    def expands(self, value, shape, at):
        return self.node("Expand", [value, self.shape_of(value, at)], shape, at)

    def tiles(self, value, shape, at):
        """Repeat an axis, and cut it."""
        if (axis := self._axis(shape)) is None:
            return value
        repeats = [1] * len(shape)
        repeats[axis] = 3
        wide = (*shape[:axis], 3 * shape[axis], *shape[axis + 1 :])
        tiled = self.node("Tile", [value, self.ints(*repeats)], wide, at)
        first = int(self.rng.integers(3)) * shape[axis]
        ends = self.ints(first), self.ints(first + shape[axis]), self.ints(axis)
        return self.node("Slice", [tiled, *ends], shape, at)

    def gathers(self, value, shape, at):
        if (axis := self._axis(shape)) is None:
            return value
        places = self.ints(*range(shape[axis]))
        return self.node("Gather", [value, places], shape, at, axis=axis)

    def casts(self, value, shape, at):
        wide = self.node("Cast", [value], shape, at, to=DOUBLE)
        back = DOUBLE if value in self.doubles else FLOAT
        return self.node("Cast", [wide], shape, at, to=back)

    def identities(self, value, shape, at):
        return self.node(str(self.rng.choice(["Identity", "Dropout"])), [value], shape, at)

    # ---- A step ----

    def rewrite(self):
        """Put an equal value for one that a node takes, or split or merge two nodes."""
        if self.rng.random() < 0.2 and self._split_or_merge():
            return
        places = [
            (k, j)
            for k, node in enumerate(self.graph.node)
            for j, name in enumerate(node.input)
            if name in self.shapes and self.shapes[name] and not (node.op_type == "LSTM" and j)
        ]
        k, j = places[self.rng.integers(len(places))]
        taker = self.graph.node[k]
        value = taker.input[j]
        kinds = [
            *(self.transposes, self.squeezes, self.reshapes, self.flattens, self.splits),
            *(self.slices, self.reverses, self.copies, self.expands, self.tiles, self.gathers),
            *(self.casts, self.identities),
        ]
        change = kinds[self.rng.integers(len(kinds))]
        if change == self.casts and taker.op_type == "Cast":
            return
        at = [k]
        new = change(value, self.shapes[value], at)
        self.graph.node[at[0]].input[j] = new

    def _split_or_merge(self):
        nodes = [(k, n) for k, n in enumerate(self.graph.node) if n.op_type == "Transpose"]
        if not nodes:
            return False
        k, node = nodes[self.rng.integers(len(nodes))]
        perm = np.array(node.attribute[0].ints)
        if self.rng.random() < 0.5:  # a transpose as two
            if node.input[0] not in self.shapes:
                return False
            first = self.rng.permutation(len(perm))
            shape = [self.shapes[node.input[0]][k] for k in first]
            at = [k]
            between = self.node("Transpose", [node.input[0]], shape, at, perm=first.tolist())
            node = self.graph.node[at[0]]
            node.input[0] = between
            del node.attribute[0].ints[:]
            node.attribute[0].ints.extend(np.argsort(first)[perm].tolist())
            return True
        before = [n for _, n in nodes if node.input[0] in n.output]
        if not before:
            return False
        node.input[0] = before[0].input[0]
        del node.attribute[0].ints[:]
        node.attribute[0].ints.extend(np.array(before[0].attribute[0].ints)[perm].tolist())
        return True


def shapes_of(model, feeds, free):
    """The shapes of all values of floats for these inputs; with free sizes if they stay open."""
    found = _inferred(model, feeds, 0)
    if not free:
        return found
    wider = _inferred(model, feeds, 7)
    pairs = {name: list(zip(found[name], wider[name], strict=True)) for name in found}
    return {n: tuple(a if a == b else Free(a) for a, b in sizes) for n, sizes in pairs.items()}


def _inferred(model, feeds, more):
    """The shapes for these inputs, whose open axes are longer."""
    import onnx
    import onnx.shape_inference

    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for axis, size in zip(
            value.type.tensor_type.shape.dim, feeds[value.name].shape, strict=True
        ):
            axis.dim_value = axis.dim_value or size + more
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    found = {}
    for value in [*inferred.value_info, *inferred.input, *inferred.output]:
        kind = value.type.tensor_type
        sizes = tuple(axis.dim_value for axis in kind.shape.dim)
        if kind.elem_type == 1 and kind.HasField("shape") and all(sizes):
            found[value.name] = sizes
    return found


def rewritten(model, feeds, seed, steps):
    """A graph that computes the same in other spelling."""
    import onnx

    rng = np.random.default_rng(seed)
    free = bool(rng.integers(2))
    made = onnx.ModelProto()
    made.CopyFrom(model)
    rewriter = Rewriter(made, shapes_of(model, feeds, free), rng)
    for _ in range(steps):
        rewriter.rewrite()
    if not free:
        for value in made.graph.input:
            sizes = feeds[value.name].shape
            for axis, size in zip(value.type.tensor_type.shape.dim, sizes, strict=True):
                axis.dim_value = size
    return made
