"""What records or replaces PyTorch's operations sees those of `torch.nn.LSTM`."""

import copy
import io

import pytest

import clstm.interop.torch
from tests.interop.torch.pairs import OPTIONS, assert_close, draw, pair, torch

# After `pairs`, which skips this file where there is no PyTorch.
from clstm.interop.torch.recording import recorder  # isort: skip
from torch._subclasses.fake_tensor import FakeTensorMode  # isort: skip
from torch.ao import quantization  # isort: skip
from torch.ao.quantization import quantize_fx  # isort: skip
from torch.autograd import forward_ad  # isort: skip
from torch.fx.experimental.proxy_tensor import make_fx  # isort: skip
from torch.utils.checkpoint import checkpoint  # isort: skip

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),  # PyTorch recommends its newer recorders
]
X = (6, 4, 5)
rnn = torch.nn.utils.rnn


class Net(torch.nn.Module):
    """An LSTM inside a larger model."""

    def __init__(self, lstm):
        super().__init__()
        self.lstm = lstm

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        return 2 * y, h, c


def nets(requires_grad=True, dtype=torch.float32, **options):
    """The model with PyTorch's module, and an accelerated copy."""
    theirs, _ = pair(dtype, **options)
    net = Net(theirs).requires_grad_(requires_grad).eval()
    ours = clstm.interop.torch.accelerate(copy.deepcopy(net))
    ours(draw(*((4, 6, 5) if options.get("batch_first") else X), dtype=dtype))  # as trained before
    return net, ours


def run_onnx(model):
    """The file's results, by ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model)
    name = session.get_inputs()[0].name
    return lambda x: [torch.tensor(part) for part in session.run(None, {name: x.numpy()})]


def script_to_onnx(net, x):
    file = io.BytesIO()
    torch.onnx.export(net, (x,), file, dynamo=False)
    return run_onnx(file.getvalue())


def export_to_onnx(net, x):
    pytest.importorskip("onnxscript", reason="PyTorch's default ONNX exporter needs it")
    file = io.BytesIO()
    torch.onnx.export(net, (x,), dynamo=True, verbose=False).save(file)
    return run_onnx(file.getvalue())


def fake_fx(mode):
    return lambda net, x: make_fx(net, tracing_mode=mode, _allow_non_fake_inputs=True)(x)


RECORDERS = {
    "jit.trace": lambda net, x: torch.jit.trace(net, (x,)),
    "jit.script": lambda net, x: torch.jit.script(net),
    "onnx": script_to_onnx,
    "onnx, dynamo": export_to_onnx,
    "export": lambda net, x: torch.export.export(net, (x,)).module(),
    "export, strict": lambda net, x: torch.export.export(net, (x,), strict=True).module(),
    "make_fx": lambda net, x: make_fx(net)(x),
    "make_fx, fake": fake_fx("fake"),
    "make_fx, symbolic": fake_fx("symbolic"),
    "make_fx, pre_dispatch": lambda net, x: make_fx(net, pre_dispatch=True)(x),
    "fx": lambda net, x: torch.fx.symbolic_trace(net),
    "compile": lambda net, x: torch.compile(net, backend="eager"),
    "compile, aot": lambda net, x: torch.compile(net, backend="aot_eager"),
    "functionalize": lambda net, x: torch.func.functionalize(net),
    "checkpoint": lambda net, x: lambda x: checkpoint(net, x, use_reentrant=False),
    "checkpoint, reentrant": lambda net, x: lambda x: checkpoint(net, x, use_reentrant=True),
    "quantize_dynamic": lambda net, x: quantization.quantize_dynamic(net, {torch.nn.LSTM}),
    "prepare_fx": lambda net, x: quantize_fx.prepare_fx(
        net, quantization.get_default_qconfig_mapping(), (x,)
    ),
}
FOLLOW = ["jit.trace", "jit.script", "export", "fx", "compile"]  # they share the parameters


def assert_follows(recorded, net, seed):
    x = draw(4 if net.lstm.batch_first else 6, 6 if net.lstm.batch_first else 4, 5, seed=seed)
    with torch.no_grad():
        for actual, expected in zip(recorded(x), net(x), strict=True):
            assert_close(actual, expected)


@pytest.mark.parametrize(
    ("requires_grad", "scope"),
    [(True, torch.no_grad), (True, torch.enable_grad), (False, torch.enable_grad)],
)
@pytest.mark.parametrize("name", RECORDERS)
def test_what_is_recorded_follows_its_input(name, requires_grad, scope):
    theirs, ours = nets(requires_grad)
    with scope():
        recorded = RECORDERS[name](ours, draw(*X))
    for seed in (1, 2):
        assert_follows(recorded, theirs, seed)


@pytest.mark.parametrize("name", ["jit.trace", "onnx", "onnx, dynamo", "export", "make_fx", "fx"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_with_options(options, name):
    if name.startswith("onnx") and "proj_size" in options:
        pytest.skip("ONNX's LSTM has no projection")
    theirs, ours = nets(requires_grad=False, **options)
    shape = (4, 6, 5) if options.get("batch_first") else X
    recorded = RECORDERS[name](ours, draw(*shape))
    for seed in (1, 2):
        assert_follows(recorded, theirs, seed)


@pytest.mark.parametrize("name", FOLLOW)
def test_what_is_recorded_follows_its_parameters(name):
    theirs, ours = nets(requires_grad=False)
    recorded = RECORDERS[name](ours, draw(*X))
    for net in (theirs, ours):
        net.lstm.weight_hh_l0.mul_(0.5)
        net.lstm.bias_ih_l0.add_(0.1)
    assert_follows(recorded, theirs, 1)


@pytest.mark.parametrize("name", ["jit.trace", "make_fx"])
def test_states_and_packed_sequences_are_recorded(name):
    record = {"jit.trace": torch.jit.trace, "make_fx": lambda f, given: make_fx(f)(*given)}[name]
    theirs, ours = nets(requires_grad=False)

    def run(lstm):
        def f(x, h, c):
            packed = rnn.pack_padded_sequence(x, torch.tensor([6, 5, 5, 2]))
            y, (h, c) = lstm(packed, (h, c))
            return y.data, h, c

        return f

    recorded = record(run(ours.lstm), (draw(*X), draw(1, 4, 7), draw(1, 4, 7, seed=1)))
    given = draw(*X, seed=5), draw(1, 4, 7, seed=6), draw(1, 4, 7, seed=7)
    for actual, expected in zip(recorded(*given), run(theirs.lstm)(*given), strict=True):
        assert_close(actual, expected)


@pytest.mark.parametrize("name", ["export", "make_fx", "compile, aot"])
def test_dropout_is_recorded_as_dropout(name):
    theirs, _ = pair(num_layers=2, dropout=0.5)
    ours = clstm.interop.torch.accelerate(Net(theirs).requires_grad_(False).train())
    recorded = RECORDERS[name](ours, draw(*X))
    first, second = recorded(draw(*X))[0], recorded(draw(*X))[0]
    assert not torch.equal(first, second)


def test_what_torch_func_computes():
    theirs, ours = nets()
    x, functions = draw(*X), torch.func
    parameters = {n: p.detach() for n, p in ours.named_parameters()}

    def loss(net, values, x):
        return functions.functional_call(net, values, (x,))[0].square().sum()

    for transform in (
        lambda net: functions.grad(lambda x: loss(net, parameters, x))(x),
        lambda net: functions.grad(lambda p: loss(net, p, x))(parameters)["lstm.weight_hh_l0"],
        lambda net: functions.vjp(lambda x: net(x)[0], x)[1](torch.ones(6, 4, 7))[0],
        lambda net: functions.jacrev(lambda x: net(x)[0].sum((0, 2)))(x),
    ):
        assert_close(transform(ours), transform(theirs))


def raised(call):
    with pytest.raises((RuntimeError, NotImplementedError)) as error:
        call()
    return type(error.value), str(error.value)


def test_what_pytorchs_lstm_cannot_do_raises_as_it_does():
    theirs, ours = nets(requires_grad=False)
    x = draw(*X)

    def jvp(net):
        return torch.func.jvp(lambda x: net(x)[0], (x,), (x,))

    def dual(net):
        with forward_ad.dual_level():
            return net(forward_ad.make_dual(x, x))

    def dual_weight(net):
        with forward_ad.dual_level():
            weight = net.lstm.weight_hh_l0
            values = {"lstm.weight_hh_l0": forward_ad.make_dual(weight, torch.ones_like(weight))}
            return torch.func.functional_call(net, values, (x,))

    for call in (jvp, dual, dual_weight, lambda net: torch.func.vmap(net, in_dims=1)(x)):
        assert raised(lambda call=call: call(ours)) == raised(lambda call=call: call(theirs))


def test_fake_meta_and_lazily_negated_tensors():
    theirs, ours = nets(requires_grad=False)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert type(ours(mode.from_tensor(draw(*X)))[0]).__name__ == "FakeTensor"
    x = torch.imag(torch.complex(draw(*X), draw(*X)).conj())
    assert x.is_neg()
    assert_close(ours(x)[0], theirs(x)[0])
    y = ours.to("meta")(draw(*X).to("meta"))[0]
    assert y.is_meta and y.shape == (6, 4, 7)


class Counter(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the operations that are dispatched."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


class Functions(torch.overrides.TorchFunctionMode):
    """Notes the functions of PyTorch that are called."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


class Marked(torch.Tensor):
    """A subclass whose results are of the subclass."""


@pytest.mark.parametrize("mode", [Counter, Functions])
def test_modes_see_the_same_operations(mode):
    seen = []
    for net in nets(requires_grad=False):
        with mode() as watching:
            net(draw(*X))
        seen.append([f for f in watching.seen if "lstm" in str(f) or "rnn" in str(f)])
    assert len(seen[0]) == 1
    assert seen[0] == seen[1]


def test_subclasses_of_tensors_stay_what_they_are():
    for net in nets(requires_grad=False):
        assert all(type(part) is Marked for part in net(draw(*X).as_subclass(Marked)))
        weights = {"lstm.weight_hh_l0": net.lstm.weight_hh_l0.as_subclass(Marked)}
        assert type(torch.func.functional_call(net, weights, (draw(*X),))[0]) is Marked


def test_ordinary_calls_are_clstms():
    """Neither of these records anything."""
    _, ours = nets()
    tensors = [draw(*X), *ours.parameters()]
    with torch.inference_mode():
        assert recorder([*tensors, draw(*X)]) is None
    with torch.no_grad(), torch.autocast("cpu"), torch.device("cpu"):
        assert recorder([*tensors, *(p.detach() for p in ours.parameters())]) is None
    with torch.device("cpu"):
        y = ours(draw(*X))[0]
    assert y.grad_fn.next_functions[0][0].name() == "LSTMFunctionBackward"
    ours, x = pair(num_layers=2, dropout=0.5)[1], draw(*X)
    with torch.device("meta"):  # of new tensors, not of these
        assert ours(x)[0].is_cpu


def test_checkpoints_have_gradients():
    theirs, ours = nets()
    for reentrant in (True, False):
        found = []
        for net in (theirs, ours):
            x = draw(*X, requires_grad=True)
            loss = checkpoint(net, x, use_reentrant=reentrant)[0].square().sum()
            net.zero_grad()
            loss.backward()
            found.append([x.grad, *(p.grad for p in net.parameters())])
        for expected, actual in zip(*found, strict=True):
            assert_close(actual, expected)


def compiled_backward(y, net):
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="eager")):
        y.sum().backward()


@pytest.mark.parametrize(
    "backward",
    [
        lambda y, net: torch.autograd.grad(
            y, net.lstm.weight_hh_l0, torch.ones(3, *y.shape), is_grads_batched=True
        ),
        lambda y, net: make_fx(lambda dy: torch.autograd.grad(y, net.lstm.weight_hh_l0, dy))(
            torch.ones_like(y)
        ),
        compiled_backward,
    ],
)
def test_a_backward_pass_that_is_recorded_alone_is_refused(backward):
    """Its forward pass was computed outside, so it would become a constant."""
    _, ours = nets()
    with pytest.raises(RuntimeError, match=r"clstm's LSTM cannot go back under .*torch\.nn\.LSTM"):
        backward(ours(draw(*X))[0], ours)


def test_an_lstm_alone_is_no_leaf_of_fx():
    _, ours = pair()
    with pytest.raises(RuntimeError, match="give it a module that contains the LSTM"):
        torch.fx.symbolic_trace(ours)
