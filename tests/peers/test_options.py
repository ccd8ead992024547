"""PyTorch and ONNX Runtime as second opinions: directions, lengths, projection, with gradients.

The specification is compared too: every other test relies on it.
"""

import numpy as np
import pytest

from tests.support import reference
from tests.support.case import Case
from tests.support.options import Pass, lengths_of, random_lengths

pytestmark = pytest.mark.peers

FORWARD = {np.float32: 4e-6, np.float64: 1e-12}
GRADIENT = {np.float32: 3e-5, np.float64: 1e-11}


def random_pass(seed, dtype):
    """Options that PyTorch has, too: rows of at least one step, no reverse direction alone."""
    rng = np.random.default_rng(seed)
    steps, batch, input_size, hidden_size = (int(rng.integers(1, n + 1)) for n in (30, 20, 40, 90))
    case = Case(
        steps=steps,
        batch=batch,
        input_size=input_size,
        hidden_size=hidden_size + 1,
        num_layers=int(rng.integers(1, 4)),
        bias=bool(seed % 3),
        dtype=dtype,
        seed=seed,
        direction="both" if seed % 2 else "forward",
        proj_size=int(rng.integers(1, hidden_size + 1)) if seed // 2 % 2 else 0,
        lengths=tuple(rng.integers(1, steps + 1, batch).tolist()) if seed // 4 % 2 else None,
    )
    return Pass(case, ragged=seed % 8 > 5)


def torch_names(name):
    return name.replace("bias_", "bias_ih_")


def run_torch(one, model):
    """y, h, c and all gradients by PyTorch, arrays by our names."""
    torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    from torch.nn.utils import rnn

    case, lengths = one.case, lengths_of(one.case)
    theirs = torch.nn.LSTM(
        case.input_size,
        case.hidden_size,
        case.num_layers,
        bias=case.bias,
        bidirectional=case.direction == "both",
        proj_size=case.proj_size,
        dtype=torch.float32 if case.dtype == np.float32 else torch.float64,
    )
    state = model.state_dict(torch_names=True)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    inputs = [torch.tensor(a, requires_grad=True) for a in (np.nan_to_num(case.x()), *case.state())]
    x, h0, c0 = inputs
    if case.lengths is not None:
        x = rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    y, (h, c) = theirs(x, (h0, c0))
    if case.lengths is not None:
        y, _ = rnn.pad_packed_sequence(y, total_length=case.steps)
    outer = np.nan_to_num(case.dy()), *case.state(salt=6)
    torch.autograd.backward([y, h, c], [torch.tensor(a) for a in outer])
    named = dict(theirs.named_parameters())
    gradients = dict(zip(("x", "state h", "state c"), (a.grad for a in inputs), strict=True))
    gradients |= {name: named[torch_names(name)].grad for name in model.parameters}
    results = [tensor.detach().numpy() for tensor in (y, h, c)]
    return results, {name: tensor.numpy() for name, tensor in gradients.items()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(16))
def test_forward_and_gradients_against_pytorch(seed, dtype):
    one = random_pass(seed, dtype)
    model = one.case.model()
    (y, h, c), gradients = run_torch(one, model)
    our_y, (our_h, our_c) = one.call(model)
    for actual, expected in ((our_y, y), (our_h, h), (our_c, c)):
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() <= FORWARD[dtype]
    ours, together = one.gradients(model), np.linalg.norm(gradients["state c"])
    assert list(ours) == list(gradients)
    for name, expected in gradients.items():
        error = np.linalg.norm(ours[name] - expected)
        assert error <= GRADIENT[dtype] * max(np.linalg.norm(expected), together), name


@pytest.mark.parametrize("seed", range(16))
def test_the_specification_agrees_with_pytorch(seed):
    one = random_pass(seed, np.float64)
    model = one.case.model()
    (y, h, c), gradients = run_torch(one, model)
    tape = one.specified(model)
    for actual, expected in ((tape.y, y), (tape.state[0], h), (tape.state[1], c)):
        assert np.abs(actual - expected).max() <= 1e-13
    exact = one.exact_gradients(model)
    for name, expected in gradients.items():
        assert np.abs(exact[name] - expected).max() <= 1e-12 * max(1, np.abs(expected).max()), name


@pytest.mark.parametrize("bidirectional", [False, True])
def test_pytorchs_state_dict_loads_under_a_prefix(bidirectional):
    """Both of its biases count, those of the reverse direction too."""
    torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(5, 6, 2, bidirectional=bidirectional, proj_size=4)
    case = Case(num_layers=2, direction="both" if bidirectional else "forward", proj_size=4)
    model = case.model()
    state = {f"encoder.{name}": p.detach().numpy() for name, p in theirs.named_parameters()}
    model.load_state_dict(state | {"head": np.ones(3)}, prefix="encoder.")
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(case.x()))[0].numpy()
    np.testing.assert_allclose(model(case.x())[0], expected, atol=4e-6)


def onnx_node(case, parameters):
    """One LSTM node of ONNX with sequence_lens and an initial state, in the bytes of a model."""
    onnx = pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")
    helper, float32, int32 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT32
    suffixes = {"forward": [""], "reverse": ["_reverse"], "both": ["", "_reverse"]}[case.direction]

    def stacked(kind):
        """Blocks i, o, f, g as ONNX has them, one direction after the other."""
        arrays = [np.split(parameters[f"{kind}_l0{suffix}"], 4) for suffix in suffixes]
        return np.stack([np.concatenate([i, o, f, g]) for i, f, g, o in arrays])

    bias = stacked("bias")
    weights = {"W": stacked("weight_ih"), "R": stacked("weight_hh")}
    weights["B"] = np.concatenate([bias, np.zeros_like(bias)], axis=1)
    direction = {"both": "bidirectional"}.get(case.direction, case.direction)
    node = helper.make_node(
        "LSTM",
        ["x", "W", "R", "B", "lengths", "h0", "c0"],
        ["y", "h", "c"],
        hidden_size=case.hidden_size,
        direction=direction,
    )
    parts = len(suffixes)
    state = (parts, case.batch, case.hidden_size)
    shapes = {"x": (case.steps, case.batch, case.input_size), "h0": state, "c0": state}
    inputs = [helper.make_tensor_value_info(n, float32, shape) for n, shape in shapes.items()]
    inputs.append(helper.make_tensor_value_info("lengths", int32, (case.batch,)))
    outputs = {"y": (case.steps, parts, case.batch, case.hidden_size), "h": state, "c": state}
    graph = helper.make_graph(
        [node],
        "lstm",
        inputs,
        [helper.make_tensor_value_info(n, float32, shape) for n, shape in outputs.items()],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
@pytest.mark.parametrize("seed", range(6))
def test_lengths_and_directions_against_onnx_runtime(seed, direction):
    """Rows of length 0 are left out: ONNX Runtime gives them a final state of zeros."""
    ort = pytest.importorskip("onnxruntime", reason="install bench/requirements.txt for this tier")
    rng = np.random.default_rng(seed)
    steps, batch, input_size, hidden_size = (int(n) for n in rng.integers(2, 30, 4))
    lengths = tuple(max(1, n) for n in random_lengths(rng, steps, batch))
    case = Case(steps, batch, input_size, hidden_size, direction=direction, lengths=lengths)
    model = case.model()
    session = ort.InferenceSession(
        onnx_node(case, model.parameters), providers=["CPUExecutionProvider"]
    )
    h0, c0 = case.state()
    x = np.nan_to_num(case.x())
    given = {"x": x, "h0": h0, "c0": c0, "lengths": np.array(lengths, np.int32)}
    y, h, c = session.run(None, given)
    expected = y.swapaxes(1, 2).reshape(steps, batch, -1)
    tape = reference.forward(model.parameters, x, (h0, c0), lengths=lengths)
    ours, (our_h, our_c) = Pass(case).call(model)
    for theirs, exact, actual in (
        (expected, tape.y, ours),
        (h, tape.state[0], our_h),
        (c, tape.state[1], our_c),
    ):
        np.testing.assert_allclose(actual, theirs, atol=1e-5)
        np.testing.assert_allclose(exact, theirs, atol=1e-5)
