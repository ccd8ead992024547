"""Models from and to PyTorch: modules, state dicts, files, refusals."""

import doctest
import importlib
import pickle
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

import clstm
import clstm.interop.torch as interop
from tests.interop.state_dicts import SPELLINGS
from tests.interop.torch.pairs import DTYPES, OPTIONS, draw, pair, torch

pytestmark = pytest.mark.peers


def run(lstm, x, batch_first=False):
    """y by clstm for x (T, B, .), as a tensor (T, B, .)."""
    x = x.numpy().swapaxes(0, 1) if batch_first else x.numpy()
    y = lstm(x)[0]
    return torch.tensor(y.swapaxes(0, 1).copy() if batch_first else y)


def assert_computes(lstm, module, head=None):
    """The model computes the same as the module."""
    x = draw(6, 4, module.input_size, dtype=next(module.parameters()).dtype)
    with torch.inference_mode():
        y = module(x.transpose(0, 1) if module.batch_first else x)[0]
        y = y.transpose(0, 1) if module.batch_first else y
        y = y if head is None else head(y)
    actual = run(lstm, x, lstm.batch_first)
    torch.testing.assert_close(actual, y, atol=4e-6, rtol=1e-5)


# ---- From PyTorch ----


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_from_a_module(options, dtype):
    theirs, ours = pair(dtype, **options)
    for module in (theirs, ours):
        lstm = interop.from_torch(module)
        assert lstm.batch_first == theirs.batch_first and lstm.dtype == str(dtype)[6:]
        assert_computes(lstm, theirs)


def test_weights_are_copied():
    theirs, _ = pair()
    lstm = interop.from_torch(theirs)
    before = lstm.parameters.flat.copy()
    with torch.no_grad():
        theirs.weight_hh_l0.zero_()
    np.testing.assert_array_equal(lstm.parameters.flat, before)


@pytest.mark.parametrize("bias", [True, False])
def test_from_a_cell(bias):
    torch.manual_seed(0)
    cell = torch.nn.LSTMCell(5, 7, bias=bias)
    x, state = draw(6, 4, 5), None
    lstm = interop.from_torch(cell)
    with torch.no_grad():
        for t, y in enumerate(run(lstm, x)):
            state = cell(x[t], state)
            torch.testing.assert_close(y, state[0], atol=4e-6, rtol=1e-5)


@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
def test_from_a_module_with_a_head(biases):
    theirs, _ = pair(bidirectional=True, bias=biases[0])
    head = torch.nn.Linear(14, 3, bias=biases[1])
    lstm = interop.from_torch(theirs, head)
    assert lstm.output_size == 3
    assert_computes(lstm, theirs, head)


def test_from_a_state_dict_of_a_larger_model():
    theirs, _ = pair(num_layers=2)
    model = torch.nn.ModuleDict(
        {"encoder": torch.nn.ModuleDict({"lstm": theirs}), "fc": torch.nn.Linear(7, 2)}
    )
    model["other"] = torch.nn.GRU(3, 4)
    state = model.state_dict()
    assert_computes(interop.from_torch(state, prefix="encoder.lstm."), theirs)
    lstm = interop.from_torch(state, "fc.", prefix="encoder.lstm.", batch_first=True)
    assert lstm.batch_first
    assert_computes(lstm, theirs, model["fc"])
    lstm = interop.from_torch(state, model["fc"], prefix="encoder.lstm.", dtype=np.float64)
    assert lstm.dtype == np.float64


@pytest.mark.parametrize("kind", ["tensors", "parameters", "arrays"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_from_state_dicts_in_every_spelling(spelling, kind, tmp_path):
    """`load_state_dict` takes PyTorch's tensors too, also those that track gradients."""
    state, given, model = SPELLINGS[spelling]
    if kind != "arrays":
        state = {name: torch.tensor(array) for name, array in state.items()}
    if kind == "parameters":
        state = {name: torch.nn.Parameter(tensor) for name, tensor in state.items()}
    other = clstm.LSTM.from_state(model._config, model.state_dict())
    other.load_state_dict(state, **given)
    models = [other, interop.from_torch(state, **given)]
    if kind == "tensors":
        torch.save(state, tmp_path / "model.pt")
        models.append(interop.load(tmp_path / "model.pt", **given))
    for read in models:
        assert repr(read) == repr(model)
        np.testing.assert_array_equal(read.parameters.flat, model.parameters.flat)


def mixed():
    state = dict(pair()[0].state_dict())
    return state | {"weight_hh_l0": state["weight_hh_l0"].double()}


def quantised():
    """The LSTM of PyTorch's dynamic quantisation, which is no torch.nn.LSTM."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch recommend others
        model = torch.nn.Sequential(torch.nn.LSTM(3, 4))
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.LSTM})[0]


def quantised_head():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.nn.Sequential(torch.nn.Linear(4, 1))
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})[0]


def scripted_module():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(torch.nn.Sequential(torch.nn.LSTM(3, 4)))


def before_an_lstm(module):
    return torch.nn.Sequential(module, torch.nn.LSTM(3, 4))


def hooked():
    module = torch.nn.Tanh()
    module.register_forward_hook(print)
    return module


def replaced(change):
    state = dict(pair()[0].state_dict())
    return state | {"weight_hh_l0": change(state["weight_hh_l0"])}


@pytest.mark.parametrize(
    ("source", "head", "message"),
    [
        (lambda: torch.nn.GRU(3, 4), None, r"got torch\.nn\.modules\.rnn\.GRU"),
        (quantised, None, r"got torch\..*quantized\..*LSTM; quantised weights are not supported"),
        (lambda: torch.nn.ModuleDict({"a": torch.nn.LSTM(3, 4)}), None, "a prefix"),
        (
            lambda: torch.nn.Sequential(torch.nn.LSTM(3, 4), torch.nn.LSTM(4, 4)),
            None,
            r"0 is an LSTM before the last layer: it gives a tuple, .* torch\.jit\.script",
        ),
        (lambda: torch.nn.Sequential(torch.nn.Linear(3, 4)), None, "no LSTM, it is 0 .*Linear"),
        (lambda: before_an_lstm(torch.nn.GELU()), None, r"0 is .*GELU, .* save its state_dict\(\)"),
        (lambda: before_an_lstm(torch.nn.ELU(2.0)), None, "0 has alpha=2.0, expected 1"),
        (lambda: before_an_lstm(torch.nn.Softmax(1)), None, "0 has dim=1, expected -1 or 2"),
        (
            lambda: before_an_lstm(torch.nn.Embedding(4, 3, max_norm=1.0)),
            None,
            "0 has max_norm, by which a call changes its weight",
        ),
        (lambda: before_an_lstm(hooked()), None, "0 has the forward hook print"),
        (lambda: before_an_lstm(torch.nn.Linear(3, 3).double()), None, "1.weight_ih_l0 has dtype"),
        (lambda: [1], None, "got list"),
        (lambda: quantised().state_dict(), None, "ScriptObject, .* quantised weights are not supp"),
        (
            lambda: torch.nn.LSTM(4, 4),
            quantised_head,
            r"head .* got .*quantized.*Linear; quantised",
        ),
        (scripted_module, lambda: torch.nn.Linear(4, 1), "head is for an LSTM and for state dicts"),
        (
            lambda: replaced(torch.Tensor.to_sparse),
            None,
            r"is torch\.sparse_coo, .* \.to_dense\(\)",
        ),
        (
            lambda: replaced(lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8)),
            None,
            r"weight_hh_l0 is quantised, .*\.dequantize\(\)",
        ),
        (lambda: torch.nn.LSTM(3, 4, device="meta"), None, "weight_ih_l0 is on meta"),
        (
            lambda: {n: t.int() for n, t in torch.nn.LSTM(3, 4).state_dict().items()},
            None,
            r"weight_ih_l0 has dtype torch\.int32",
        ),
        (lambda: torch.nn.LSTM(3, 4), lambda: torch.nn.ReLU(), "head must be .* got .*ReLU"),
        (lambda: torch.nn.LSTM(3, 4), lambda: torch.nn.Linear(5, 1), r"head: weight has shape"),
        (lambda: torch.nn.LSTM(3, 4), lambda: torch.nn.Linear(4, 1).double(), "dtype"),
        (lambda: torch.nn.LSTM(3, 4).state_dict(), lambda: "fc.", "there is no fc.weight"),
        (mixed, None, "weight_hh_l0 has dtype float64, weight_ih_l0 float32"),
        (lambda: {"weight_ih_l0": [1.0]}, None, "weight_ih_l0 is list, expected a tensor or array"),
        (lambda: torch.nn.LSTM(3, 4).state_dict() | {"a": torch.ones(1)}, None, "a is not a param"),
    ],
)
def test_refusals_name_the_tensor(source, head, message):
    with pytest.raises(ValueError, match=message):
        interop.from_torch(source(), None if head is None else head())


# ---- Modules that hold others ----


def sequential():
    torch.manual_seed(0)
    inner = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    parts = (torch.nn.Embedding(7, 3), torch.nn.Dropout(0.5), inner, torch.nn.Softmax(-1))
    lstm = torch.nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True)
    return torch.nn.Sequential(*parts, lstm).eval()


@pytest.mark.parametrize("kind", ["as it is", "accelerated", "parallel", "scripted", "normed"])
def test_a_sequential(kind, tmp_path):
    """A live module and its file."""
    module, x = sequential(), torch.arange(10).reshape(2, 5) % 7
    if kind == "accelerated":
        module = interop.accelerate(module)
    elif kind == "parallel":
        module = torch.nn.DataParallel(module)
    elif kind == "normed":
        torch.nn.utils.parametrizations.weight_norm(module[2][0])
    with torch.no_grad():
        expected = module(x)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = torch.jit.script(module) if kind == "scripted" else module
    models = [interop.from_torch(source)]
    if kind not in ("normed", "scripted"):  # PyTorch pickles neither
        torch.save(module, tmp_path / "model.pt")
        models.append(clstm.load(tmp_path / "model.pt"))
        named = clstm.load(
            tmp_path / "model.pt", prefix="module.4." if kind == "parallel" else "4."
        )
        assert named.num_layers == 2 and named.input_size == 3
    for model in models:
        assert isinstance(model, clstm.Sequential) and model.batch_first
        torch.testing.assert_close(torch.tensor(model(x.numpy())[0]), expected, atol=4e-6, rtol=0)


def test_a_sequential_with_a_head_another_dtype_and_order():
    module, head = sequential(), torch.nn.Linear(8, 2)
    x = torch.arange(10).reshape(2, 5) % 7
    model = interop.from_torch(module, head, batch_first=False, dtype=np.float64)
    with torch.no_grad():
        expected = head(module(x)[0]).double()
    y = torch.tensor(model(x.T.numpy())[0]).transpose(0, 1)
    torch.testing.assert_close(y, expected, atol=4e-6, rtol=0)
    with pytest.raises(ValueError, match="prefix is for state dicts"):
        interop.from_torch(module, prefix="4.")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """Weights are widened without rounding, and noted: a module, a state dict, a Sequential."""
    lstm = torch.nn.LSTM(3, 4).to(dtype)
    sources = (lstm, lstm.state_dict(), torch.nn.Sequential(lstm))
    wide = torch.nn.LSTM(3, 4)
    wide.load_state_dict(lstm.state_dict())
    for source in sources:
        model = interop.from_torch(source)
        assert model.notes == {"stored_as": str(dtype).removeprefix("torch.")}
        assert_computes(model, wide)


class Wrapper(torch.nn.Module):
    """A class that no reader can know."""

    def __init__(self):
        super().__init__()
        self.rnn, self.out = torch.nn.LSTM(3, 4), torch.nn.Linear(4, 2)


def test_a_class_that_is_not_known_is_read_by_names(tmp_path):
    model = Wrapper()
    torch.save(model, tmp_path / "model.pt")
    words = (
        r"it holds .*Wrapper, which .* save its state_dict\(\), .* torch\.jit\.script .* prefix="
    )
    with pytest.raises(ValueError, match=words):
        clstm.load(tmp_path / "model.pt")
    for options in ({"prefix": "rnn.", "head": "out."}, {"head": "out."}):
        lstm = clstm.load(tmp_path / "model.pt", **options)
        expected = interop.from_torch(model.rnn, model.out)
        np.testing.assert_array_equal(lstm.parameters.flat, expected.parameters.flat)


def test_a_module_whose_sizes_are_not_its_weights(tmp_path):
    module = torch.nn.LSTM(3, 4)
    module.hidden_size = 7
    torch.save(module, tmp_path / "model.pt")
    with pytest.raises(ValueError, match="the module has hidden_size=7, its weights 4"):
        clstm.load(tmp_path / "model.pt")


# ---- To PyTorch ----


@pytest.mark.parametrize("output_size", [None, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_to_pytorch_and_back(options, dtype, output_size):
    state = torch.get_rng_state()
    lstm = clstm.LSTM(5, 7, output_size=output_size, dtype=dtype, rng=0, **options)
    module, head = interop.to_torch(lstm)
    assert torch.equal(state, torch.get_rng_state())
    assert (head is None) == (output_size is None)
    assert_computes(lstm, module, head)
    again = interop.from_torch(module, head)
    assert repr(again) == repr(lstm)
    np.testing.assert_array_equal(again.parameters.flat, lstm.parameters.flat)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "reverse"}, "direction='reverse'"),
        ({"learn_state": True}, "learn_state=True"),
        ({"cell": clstm.Cell(peephole=True)}, "cell=Cell"),
        ({"cell": clstm.Cell(hidden="relu")}, "cell=Cell"),
    ],
)
def test_options_that_pytorch_lacks_are_refused(options, message, tmp_path):
    lstm = clstm.LSTM(3, 4, **options, rng=0)
    with pytest.raises(ValueError, match=message):
        interop.to_torch(lstm)
    with pytest.raises(ValueError, match=message):
        interop.save(lstm, tmp_path / "model.pt")
    assert not list(tmp_path.iterdir())


# ---- Files ----


@pytest.mark.parametrize("output_size", [None, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_files_go_both_ways(options, output_size, tmp_path):
    lstm = clstm.LSTM(5, 7, output_size=output_size, rng=0, **options)
    path = tmp_path / "model.pt"
    interop.save(lstm, path)
    again = interop.load(path, batch_first=lstm.batch_first)
    assert repr(again) == repr(lstm)
    np.testing.assert_array_equal(again.parameters.flat, lstm.parameters.flat)
    state = torch.load(path, weights_only=True)
    module, head = interop.to_torch(lstm)
    model = module if head is None else torch.nn.ModuleDict({"lstm": module, "head": head})
    model.load_state_dict(state)


def test_a_whole_module_from_a_file(tmp_path):
    theirs, _ = pair(num_layers=2, batch_first=True)
    torch.save(theirs, tmp_path / "module.pt")
    lstm = interop.load(tmp_path / "module.pt")
    assert lstm.batch_first
    assert_computes(lstm, theirs)


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def save(content):
    return lambda path: torch.save(content(), path)


def test_tensors_of_other_parts_may_share_memory(tmp_path):
    """An embedding tied to a decoder is twice in a state dict and once in its file."""
    theirs, _ = pair()
    model = torch.nn.ModuleDict({"lstm": theirs, "embed": torch.nn.Embedding(10_000, 7)})
    model["out"], model["fc"] = torch.nn.Linear(7, 10_000), torch.nn.Linear(7, 2)
    model["out"].weight = model["embed"].weight
    torch.save(model.state_dict(), tmp_path / "model.pt")
    lstm = interop.load(tmp_path / "model.pt", "fc.", prefix="lstm.")
    assert_computes(lstm, theirs, model["fc"])


def compressed(path):
    torch.save(pair()[0].state_dict(), path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def old_format(path):
    torch.save(pair()[0].state_dict(), path, _use_new_zipfile_serialization=False)


def scripted(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of PyTorch recommend others
        torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 4))).save(path)


def two_lstms():
    model = torch.nn.ModuleDict({"a": torch.nn.LSTM(3, 4), "b": torch.nn.LSTM(3, 4)})
    return model.state_dict()


def expanded():
    """A hundred million numbers by strides of zero."""
    large = torch.zeros(1, 1).expand(40_000, 10_000)
    return {"weight_ih_l0": torch.zeros(40_000, 1), "weight_hh_l0": large}


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "not a file of torch.save"),
        (lambda path: path.write_bytes(b"PK\3\4 and more"), "not a file of torch.save"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "a is int, expected a tensor"),
        (old_format, r"not a file of torch\.save in the format of PyTorch 1\.6"),
        (compressed, "is compressed"),
        (scripted, "its forward computes no LSTM"),
        (save(lambda: [torch.ones(2)]), r"it holds list, expected model\.state_dict\(\) alone"),
        (save(lambda: {1: torch.ones(2)}), "some keys are not strings"),
        (
            save(lambda: {"state_dict": {"a": torch.ones(2)}, "epoch": 3}),
            "state_dict is dict, expected a tensor",
        ),
        (
            save(lambda: torch.nn.GRU(3, 4)),
            r"it holds torch\.nn\.modules\.rnn\.GRU, which clstm does not know: save its state",
        ),
        (save(two_lstms), "prefix must be one of 'a.', 'b.'"),
        (save(expanded), "weight_hh_l0: its tensors would take too much for a file of this size"),
        (save(lambda: {"weight_ih_l0": torch.ones(4, 1)}), "there is no weight_hh_l0"),
    ],
)
def test_files_that_are_refused(write, message, tmp_path):
    path = tmp_path / "model.pt"
    write(path)
    with pytest.raises(ValueError, match=message) as error:
        interop.load(path)
    assert str(path) in str(error.value)
    assert str(error.value).isprintable()  # no escapes for a terminal
    assert len(str(error.value)) < 600


def test_torchscript_that_was_traced_in_training_mode(tmp_path):
    module = torch.nn.LSTM(5, 7, 2, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(module, torch.ones(2, 1, 5), check_trace=False).save(tmp_path / "a.pt")
        torch.jit.script(module).save(tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"a\.pt: .*training mode with dropout: .*model\.eval\(\)"):
        interop.load(tmp_path / "a.pt")
    assert_computes(interop.load(tmp_path / "a.pt", prefix=""), module.eval())
    assert_computes(interop.load(tmp_path / "b.pt"), module.eval())  # its code asks for the mode


def test_nothing_in_a_file_is_run(tmp_path):
    path, touched = tmp_path / "model.pt", tmp_path / "touched"
    torch.save(Touch(touched), path)
    with pytest.raises(ValueError, match=r"it holds \w+\.getattr, expected"):
        interop.load(path)
    assert not touched.exists()
    with pytest.raises(FileNotFoundError):
        interop.load(tmp_path / "none.pt")


def test_mutated_files_are_valid_or_refused(tmp_path):
    rng = np.random.default_rng(0)
    path, loaded = tmp_path / "model.pt", 0
    interop.save(clstm.LSTM(1, 2, output_size=1, rng=0), path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    # Half of the changes meet what is not padding: the pickle, which comes first, and the ends.
    pickled = whole.tobytes().index(b"data.pkl")
    for k in range(1000):
        data = whole.copy()
        first, size = (pickled, 700) if k % 2 else (0, len(data))
        places = first + rng.integers(size, size=rng.integers(1, 4))
        data[places] = rng.integers(256, size=len(places))
        cut = rng.integers(len(data)) if k % 10 == 0 else len(data)
        path.write_bytes(data[:cut].tobytes())
        try:
            lstm = interop.load(path)
        except ValueError:
            continue
        loaded += 1
        assert lstm.parameters.flat.size < 1000
    assert 0 < loaded < 1000


def test_pytorch_is_imported_when_it_is_needed():
    code = "import sys, clstm.interop.torch as t; print('torch' in sys.modules, hasattr(t, 'no'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    code = """
import sys
sys.modules["torch"] = None
import clstm.interop.torch as t
for ask in (lambda: t.LSTM, lambda: t.from_torch({})):
    try:
        ask()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("pip install torch") == 2


@pytest.mark.parametrize("name", ["convert", "module"])
def test_docstring_examples(name):
    failed, run = doctest.testmod(importlib.import_module(f"clstm.interop.torch.{name}"))
    assert failed == 0
    assert run > 0
