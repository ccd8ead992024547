"""TorchScript by hand: what its code says, and what is refused by its line. PyTorch is not needed.

`tests/interop/samples` has files that PyTorch wrote.
"""

import numpy as np
import pytest

import clstm
from clstm.layers import Dense, Gain, Last, Skip
from tests.interop.torch.pickles import state, storage, symbol, tensor
from tests.interop.torch.scripts import FORWARD, HEAD, PLAIN, WEIGHTS, forward, module, script


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


def load(path, code, content=None, **options):
    path.write_bytes(script(code, content))
    return clstm.load(path, **options)


def kinds(model):
    layers = model.layers if isinstance(model, clstm.Sequential) else [model]
    return [type(layer) for layer in layers]


L = clstm.LSTM


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], [L]),
        (["y = torch.slice(y, 0, 0, 9223372036854775807)"], [L]),
        (["y = torch.slice(y)"], [L]),
        (["y = torch.transpose(torch.transpose(y, 0, 1), 1, 0)"], [L]),
        (["y = torch.select(y, 0, -1)"], [L, Last]),
        (["y = torch.squeeze(torch.slice(y, 0, -1), 0)"], [L, Last]),
        (["y = torch.select(h, 0, 0)"], [L, Last]),
        (["y = torch.squeeze(h, 0)"], [L, Last]),
        (["y = torch.flatten(torch.permute(h, [1, 0, 2]), 1)"], [L, Last]),
        (["y = torch.tanh(y)"], [L, Dense]),
        (["y = torch.tanh_(y)"], [L, Dense]),
        (["y = torch.softmax(y, 2)"], [L, Dense]),
        (["y = torch.elu(y, 1., 1, 1)"], [L, Dense]),
        (["y = torch.dropout(y, 0.5, False)"], [L]),
        (["y = torch.dropout(y, 0., True)"], [L]),
        (["y = torch.mul(2, y)"], [L, Gain]),
        (["y = torch.div(y, 4)"], [L, Gain]),
        (["y = torch.add(x, y, alpha=1)"], [Skip]),
        (["y = torch.add(y, torch.slice(x, 2, 0, 1))"], [Skip]),
        (["y = torch.to(torch.contiguous(torch.detach(y)), 6)"], [L]),
        (["y = torch.view(y, [torch.size(x, 0), -1, 1])"], [L]),
        (["a, b, = torch.size(y, 0), torch.size(y, 1)", "y = torch.view(y, [a, b, 1])"], [L]),
        (
            ["if torch.ne(torch.dim(y), 3):", "  ops.prim.RaiseException('')", "else:", "  pass"],
            [L],
        ),
        (["if True:", "  z = torch.relu(y)", "else:", "  z = y", "y = z"], [L, Dense]),
        (["y = unchecked_cast(Tensor, y)", "y = annotate(Tensor, y)"], [L]),
    ],
)
def test_what_is_read(lines, expected, path):
    model = load(path, forward(*lines))
    assert kinds(model) == expected
    assert model.input_size == 1


def lstm(given, states, weights="[self.w, self.r]", batch_first=False):
    """A line of the code that calls one."""
    rest = f"{weights}, False, 1, 0., False, False, {batch_first}"
    return f"y, h, c = torch.lstm({given}, {states}, {rest})"


RESULTS = {
    "y and the state": "    return (y, (h, c))\n",
    "y and both states": "    return (y, h, c)\n",
    "y in a tuple": "    return (y,)\n",
}


@pytest.mark.parametrize("result", RESULTS)
def test_results_with_states(result, path):
    assert kinds(load(path, forward(after=RESULTS[result]))) == [L]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["y = torch.gelu(y)"], r"line 7 of its code: torch\.gelu is none of the layers"),
        (["y = torch.select(y, 0, -2)"], "expected the last step of an LSTM's y"),
        (["y = torch.select(y, 1, -1)"], "expected the last step of an LSTM's y"),
        (["y = torch.slice(y, 0, 1)"], "expected the last step of an LSTM's y"),
        (["y = torch.slice(y, 0, None, None, 2)"], "every other element"),
        (["y = torch.select(c, 0, 0)", "y = torch.tanh(y)"], "the final c"),
        (["y = torch.transpose(y, 0, 1)"], "other axes than those of x"),
        (["y = torch.permute(y, [0, 0, 1])"], "no permutation"),
        (["y = torch.softmax(y, 1)"], "over another axis than the features"),
        (["y = torch.softmax(y, 5)"], "axis 5 is none of 3"),
        (["y = torch.elu(y, 2.)"], "alpha or scale"),
        (["y = torch.dropout(y, 0.5, True)"], r"traced in training mode: .* model\.eval\(\)"),
        (["z = torch.relu_(y)"], "torch.relu_ has overwritten"),
        (["z = torch.relu_(torch.select(y, 0, 0))"], "expected all steps, the last"),
        (["y = torch.add(y, 1)"], "does not come from the model's argument"),
        (["y = torch.add(y, x, alpha=2)"], "alpha is not 1"),
        (["y = torch.add(torch.relu(y), torch.tanh(y))"], "not the features that its layers take"),
        (["y = torch.mul(y, y)"], "by what is no number"),
        (["y = torch.linear(y, y)"], "weight is no tensor of the file"),
        (["y = torch.linear(y, self.w, self.q)"], r"M has no attribute q"),
        (["y = torch.linear(y, torch.t(self.w))"], "takes 4 features, and is given 1"),
        (["y = torch.view(y, [-1, 5])"], "the axes of the view"),
        (["y = torch.to(y, 5)"], "rounds to another type"),
        (["y = torch.embedding(self.w, y)"], "it embeds what is computed"),
        (["if torch.gt(torch.size(x, 0), 3):", "  y = x", "else:", "  pass"], "x decides"),
        (["for k in [1]:", "  y = torch.relu(y)"], "a for statement"),
        (["y = z"], "it has no value z"),
        (["y = 1 + 1"], "the expression BinOp"),
        (["a, b = y"], "takes apart what is no tuple"),
        (["a, b = [y, y, y, y]"], "takes 2 of 4 values"),
        (["y = [y][3]"], "number 3 of 1 values"),
        (["ops.prim.RaiseException('no')"], "raises an error for every x 'no'"),
        (["y = y.data"], "attribute data of what is no module"),
        (["y = (self).other(y, )"], r"its code has no __torch__\.M\.other"),
        (["y = __torch__.f(y, )"], r"its code has no function __torch__\.f"),
        (["y = __torch__.a.f(y, )"], r"the archive has no 'code/__torch__/a\.py'"),
        (["y = (y, [y])"], "does not come from the model's argument|more than y"),
        (["y = (y, torch.relu(y))"], "returns more than y and the final states"),
        (["y = 3"], "does not come from the model's argument"),
        (["y = x"], "computes no LSTM"),
        (
            [lstm("x", "[y, y]")],
            "the initial h of its LSTM is computed",
        ),
        (
            [lstm("x", "[_0, _0]", "[self.w]")],
            "its LSTM has 1 weights",
        ),
        (
            [lstm("y", "[_0, _0]", batch_first=True)],
            "its LSTMs have their steps in different axes",
        ),
        (
            ["y, h, c = torch.lstm(x, x, [_0, _0], [self.w, self.r], True, 1, 0., False, False)"],
            "pack_padded_sequence",
        ),
        (
            ["a = torch.zeros([1, 1, 7])", lstm("x", "[_0, a]")],
            r"the initial c of its LSTM has another shape than \(1, B, 1\)",
        ),
    ],
)  # fmt: skip
def test_what_is_refused_by_its_line(lines, words, path):
    with pytest.raises(ValueError, match=words) as caught:
        load(path, forward(*lines))
    assert str(path) in str(caught.value)


def test_weights_of_a_file_that_is_not_understood(path):
    """prefix= and head= mean what they do everywhere: the weights of this name alone."""
    names = ("weight_ih_l0", "weight_hh_l0")
    inner = module(dict.fromkeys(names, tensor((4, 1))), "N")
    head = module({"weight": tensor((2, 1))}, "N")
    content = module({"rnn": inner, "fc": head})
    weights = "[self.rnn.weight_ih_l0, self.rnn.weight_hh_l0]"
    code = forward("y = torch.gelu(y)").replace("[self.w, self.r]", weights)
    with pytest.raises(ValueError, match=r"torch\.gelu is none"):
        load(path, code, content)
    lstm = load(path, code, content, prefix="rnn.", head="fc.", batch_first=True)
    assert (lstm.output_size, lstm.batch_first) == (2, True)
    assert load(path, code, content, head="fc.").output_size == 2
    assert "not_read" not in lstm.notes
    with pytest.raises(ValueError, match="which has no key 'x'"):
        load(path, code, content, key="x")


def test_a_state_that_the_caller_gives(path):
    code = HEAD + FORWARD.replace("x: Tensor", "x: Tensor, s: Tuple[Tensor, Tensor]")
    code += PLAIN.replace("[_0, _0]", "[a, b]").replace("    y,", "    a, b = s\n    y,")
    model = load(path, code + "    return (y, (h, c))\n")
    assert kinds(model) == [L] and not model.learn_state


@pytest.mark.parametrize(
    ("kind", "dtype", "number"), [("LongStorage", "<i8", 3), ("DoubleStorage", "<f8", 0.25)]
)
def test_a_number_of_the_code_that_tracing_made_a_tensor(kind, dtype, number, path):
    constants = b"(" + tensor((), source=storage("0", 1, kind)) + b"t"
    entries = {"a/constants/0": np.array(number, dtype).tobytes()}
    code = forward("y = torch.mul(y, CONSTANTS.c0)")
    path.write_bytes(script(code, constants=constants, entries=entries))
    model = clstm.load(path)
    assert kinds(model) == [L, Gain] and model.layers[1].value == number


@pytest.mark.parametrize(
    ("kind", "name"),
    [("rnn.GRU", "GRU"), ("rnn.___torch_mangle_3.RNN", "RNN"), ("conv.Conv1d", "")],
)
def test_other_layers_are_refused_by_name(kind, name, path):
    """Before an operation in their code is."""
    maker = f"__torch__.torch.nn.modules.{kind}"
    inner = symbol(maker.rpartition(".")[0], kind.rpartition(".")[2]) + b")\x81" + state({}) + b"b"
    code = forward("y = (self.inner).forward(y, )")
    words = rf"line \d+ of its code: inner is a {name or 'Conv1d'}, which clstm does not compute"
    with pytest.raises(ValueError, match=words):
        load(path, code, module(WEIGHTS | {"inner": inner}))


def test_numbers_types_and_names_without_values(path):
    lines = ["z = uninitialized(Tensor)", "a : int = 1", "if bool(a):", "  z = y", "else:"]
    lines += ["  z = torch.relu(y)", "y = torch.mul(z, float(a))", "y = torch.mul(y, int(2.5))"]
    model = load(path, forward(*lines))
    assert kinds(model) == [L, Gain, Gain] and model.layers[2].value == 2


def test_steps_of_the_first_axis_or_the_second(path):
    assert not load(path, forward()).batch_first
    code = forward().replace("False, False, False)", "False, False, True)")
    assert load(path, code).batch_first
    assert not load(path, code, batch_first=False).batch_first
    assert load(path, code, dtype=np.float64).dtype == np.float64
    turned = forward("y = torch.transpose(y, 0, 1)")
    turned = turned.replace("torch.lstm(x", "torch.lstm(torch.transpose(x, 0, 1)")
    assert load(path, turned).batch_first


def test_learned_states_of_a_parameter(path):
    """Parameters that are zero are no learned state; rows of a batch must be equal."""
    code = forward().replace("[_0, _0]", "[torch.expand(self.s, [-1, 5, -1]), _0]")
    for rows, numbers, learned in ((1, [0], False), (1, [1.5], True), (2, [1.5, 1.5], True)):
        content = module(WEIGHTS | {"s": tensor((1, rows, 1), source=storage("1", rows))})
        entries = {"a/data/1": np.array(numbers, "<f4").tobytes()}
        path.write_bytes(
            script(code.replace("[-1, 5, -1]", f"[-1, {rows}, -1]"), content, b")", entries)
        )
        model = clstm.load(path)
        assert model.learn_state == learned
        if learned:
            assert model.parameters["h0"] == 1.5 and model.parameters["c0"] == 0
    entries = {"a/data/1": np.array([1, 2], "<f4").tobytes()}
    path.write_bytes(script(code, content, b")", entries))
    with pytest.raises(ValueError, match="s is an initial state that differs among the rows"):
        clstm.load(path)
