"""Models from arrays with PyTorch's names: options told by names and shapes, and their files."""

import json
import re

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import clstm
from clstm.interop import safetensors, torch_names
from tests.support import reference
from tests.support.bounds import assert_close, forward_bound, largest
from tests.support.case import Case
from tests.support.options import random_pass


def same_model(actual, expected):
    assert repr(actual) == repr(expected)
    np.testing.assert_array_equal(actual.parameters.flat, expected.parameters.flat)


def arrays(prefix="", gates=4, hidden=3, inputs=2, seed=0):
    """A layer with PyTorch's names."""
    rng = np.random.default_rng(seed)
    shapes = {
        "weight_ih_l0": (gates * hidden, inputs),
        "weight_hh_l0": (gates * hidden, hidden),
        "bias_ih_l0": (gates * hidden,),
        "bias_hh_l0": (gates * hidden,),
    }
    return {prefix + n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# ---- What names and shapes tell ----


def test_only_a_bias_tells_of_biases(monkeypatch):
    """Not another parameter whose name begins with bias."""
    pattern = torch_names._LAYER.pattern.replace("|bias)", "|bias|bias_other)")
    monkeypatch.setattr(torch_names, "_LAYER", re.compile(pattern))
    shapes = {name: a.shape for name, a in arrays().items() if "bias" not in name}
    with pytest.raises(ValueError, match="bias_other_l0 does not fit the other parameters"):
        torch_names.config_of(shapes | {"bias_other_l0": (3,)})
    for names in (["bias_l0"], ["bias_ih_l0", "bias_hh_l0"]):
        assert torch_names.config_of(shapes | dict.fromkeys(names, (12,)))["bias"]
    assert not torch_names.config_of(shapes)["bias"]


@pytest.mark.parametrize("pair", [False, True])
@pytest.mark.parametrize("seed", range(30))
def test_every_option_is_told(seed, pair):
    case = random_pass(seed, num_layers=1 + seed % 11).case  # l10 stands before l2 in a sorted list
    model = case.model()
    named = {f"a.{n}": v for n, v in model.state_dict(torch_names=pair).items()}
    named["b.weight_ih_l0"] = np.zeros((4, 1))
    same_model(torch_names.read(named, "a."), model)


def test_peepholes_are_told():
    model = Case(cell=clstm.Cell(peephole=True), direction="both").model()
    same_model(torch_names.read(model.state_dict()), model)


def test_the_gates_are_in_pytorchs_order(path):
    """Blocks i, f, g, o, and both biases count, against equations that know no stacked matrices."""
    named = arrays()
    save_file(named, path)
    x = np.random.default_rng(1).standard_normal((5, 2))
    w, r, b, d = (np.split(a.astype(float), 4) for a in named.values())
    h = c = np.zeros(3)
    for x_t in x:
        i, f, g, o = (w[k] @ x_t + r[k] @ h + b[k] + d[k] for k in range(4))
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    y, _ = safetensors.load(path)(x)
    assert_close(y[-1], h, forward_bound(5, np.float32), largest(c))


def test_an_lstm_cell_is_a_model_of_one_layer():
    named = arrays()
    cell = {f"cell.{name.removesuffix('_l0')}": array for name, array in named.items()}
    same_model(torch_names.read(cell, "cell."), torch_names.read(named))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("head_bias", [False, True])
def test_a_head_is_the_readout(bias, head_bias):
    """Where one of both has no bias, the other's counts nevertheless."""
    case = Case(input_size=2, hidden_size=3, direction="both", bias=bias)
    model = case.model()
    linear = {"fc.weight": case.draw(4, 6), "fc.bias": case.draw(4)}
    if not head_bias:
        del linear["fc.bias"]
    named = {f"lstm.{name}": array for name, array in model.state_dict().items()} | linear
    read = torch_names.read(named, "lstm.", "fc.", batch_first=True)
    assert read.output_size == 4 and read.batch_first and read.bias == (bias or head_bias)
    x = case.draw(7, 2)
    expected = model(x)[0] @ linear["fc.weight"].T + linear.get("fc.bias", 0)
    assert_close(read(x)[0], expected, 1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight_ih_l0": None}, "there is no weight_ih_l0"),
        ({"weight_hh_l0": None}, "there is no weight_hh_l0"),
        ({"bias_ih_l0": None}, "there is no bias_ih_l0"),
        ({"bias_hh_l0": None}, "there is no bias_hh_l0"),
        ({"weight_ih_l0": (12,)}, r"weight_ih_l0 has shape \(12,\), expected two axes"),
        ({"weight_ih_l0": (12, 0)}, r"weight_ih_l0 has shape \(12, 0\)"),
        ({"weight_ih_l0": (13, 2)}, "weight_ih_l0 has 13 rows, expected four blocks"),
        ({"weight_ih_l0": (16, 2)}, r"weight_hh_l0 has shape \(12, 3\), expected \(16, 4\)"),
        ({"weight_hh_l0": (12, 2)}, r"weight_hh_l0 has shape \(12, 2\), expected \(12, 3\)"),
        ({"weight_hh_l0": (8, 3)}, r"weight_hh_l0 has shape \(8, 3\), expected \(12, 3\)"),
        ({"bias_hh_l0": (3,)}, r"bias_hh_l0 has shape \(3,\), expected \(12,\)"),
        (
            {"weight_hr_l0": (4, 3)},
            r"weight_hh_l0 has shape \(12, 3\), expected \(12, fewer than 3\)",
        ),
        ({"bias_l0": (12,)}, "bias_.*_l0 does not fit the other"),
        ({"weight_ih_l1": (12, 3)}, "there is no weight_hh_l1"),
        ({"weight_ih_l2": (12, 3)}, "there is no weight_ih_l1"),
        ({"weight_ih_l01": (12, 3)}, "weight_ih_l01 is not a parameter of an LSTM"),
        ({"weight_ih_l99999999999": (12, 3)}, "weight_ih_l9+ is not a parameter"),
        ({"weight_ih_l0_reverse": (12, 2)}, "there is no weight_hh_l0_reverse"),
        ({"weight_peephole_l0": (12,)}, r"weight_peephole_l0 has shape \(12,\), expected \(9,\)"),
        ({"weight_xh_l0": (12, 3)}, "weight_xh_l0 is not a parameter of an LSTM"),
        ({"weight_out": (2, 3)}, "there is no bias_out"),
        ({"bias_out": (2,)}, "bias_out does not fit the other"),
        ({"h0": (1, 3)}, "there is no c0"),
        ({"c0": (1, 3)}, "c0 does not fit the other"),
    ],
)
def test_tensors_that_do_not_fit_are_named(changes, words, path):
    named = arrays()
    for name, shape in changes.items():
        named.pop(name, None)
        if shape is not None:
            named[name] = np.zeros(shape, np.float32)
    save_file(named, path)
    with pytest.raises(ValueError, match=rf"model.safetensors: (.*{words})"):
        safetensors.load(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fc.weight": None}, "there is no fc.weight"),
        ({"fc.weight": (2, 4)}, r"fc.weight has shape \(2, 4\), expected \(O, 3\)"),
        ({"fc.weight": (0, 3)}, r"fc.weight has shape \(0, 3\)"),
        ({"fc.weight": (3,)}, r"fc.weight has shape \(3,\)"),
        ({"fc.bias": (3,)}, r"fc.bias has shape \(3,\), expected \(2,\)"),
        ({"fc.scale": (3,)}, "fc.scale is not a parameter of a linear layer"),
        ({"weight_out": (3, 3), "bias_out": (3,)}, "fc.weight would be a second readout"),
    ],
)
def test_a_head_that_does_not_fit_is_named(changes, words, path):
    named = arrays() | {"fc.weight": np.zeros((2, 3)), "fc.bias": np.zeros(2)}
    for name, shape in changes.items():
        named.pop(name, None)
        if shape is not None:
            named[name] = np.zeros(shape, np.float32)
    save_file(named, path)
    with pytest.raises(ValueError, match=rf"model.safetensors: {words}"):
        safetensors.load(path, head="fc.")


@pytest.mark.parametrize("gates", [1, 3])
def test_other_recurrent_layers_have_the_same_names_and_are_refused(gates):
    """PyTorch's RNN and GRU."""
    with pytest.raises(ValueError, match=r"weight_hh_l0 has shape|rows, expected four"):
        torch_names.read(arrays(gates=gates, hidden=4))


def test_a_prefix_that_is_missing_is_proposed(path):
    save_file(arrays("encoder.lstm.") | {"b.weight_ih": np.zeros((4, 1), np.float32)}, path)
    with pytest.raises(ValueError, match=r"prefix must be one of 'b.', 'encoder.lstm.'"):
        safetensors.load(path)
    same_model(safetensors.load(path, prefix="encoder.lstm."), torch_names.read(arrays()))
    with pytest.raises(ValueError, match=r"there is no decoder\.weight_ih_l0"):
        safetensors.load(path, prefix="decoder.")


# ---- Files ----


@pytest.mark.parametrize("pair", [False, True])
def test_saved_models_are_loaded(path, pair):
    cell = clstm.Cell(coupled=True, clip=3, gate="hard_sigmoid")
    case = Case(num_layers=2, direction="both", output_size=2, learn_state=True, cell=cell)
    model = case.model(batch_first=True)
    safetensors.save(model, path, torch_names=pair)
    for read in (safetensors.load, clstm.LSTM.load, clstm.load):
        same_model(read(path), model)
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == set(model.state_dict(torch_names=pair))
    changed = safetensors.load(path, batch_first=False, dtype=np.float64)
    assert not changed.batch_first and changed.dtype == np.float64 and changed.cell == cell
    np.testing.assert_array_equal(changed.parameters.flat, model.parameters.flat)
    assert list(safetensors.read(path)) == [""]


def test_the_dtype_is_the_files_or_another(path):
    for dtype, expected in ((np.float16, np.float32), (np.float64, np.float64)):
        save_file({name: array.astype(dtype) for name, array in arrays().items()}, path)
        assert safetensors.load(path).dtype == expected
        assert safetensors.load(path, dtype=np.float64).dtype == np.float64
    save_file(arrays() | {"bias_ih_l0": np.zeros(12)}, path)
    assert safetensors.load(path).dtype == np.float32  # mixed
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got int32"):
        safetensors.load(path, dtype=np.int32)


def test_numbers_that_are_no_weights_are_refused(path):
    """Integers would be quantised weights without their scale."""
    save_file(arrays() | {"weight_hh_l0": np.zeros((12, 3), np.int8)}, path)
    with pytest.raises(ValueError, match=r"model\.safetensors: weight_hh_l0 has dtype I8"):
        safetensors.load(path)
    with pytest.raises(ValueError, match="weight_hh_l0 has dtype int8"):
        torch_names.read(arrays() | {"weight_hh_l0": np.zeros((12, 3), np.int8)})


def save_bfloat16(named, path, metadata=None):
    """Write numbers without their last 16 bits, and the name of this type."""
    cut = {n: np.ascontiguousarray(a, "<f4").view("<u2")[..., 1::2] for n, a in named.items()}
    save_file({n: np.ascontiguousarray(a).view(np.float16) for n, a in cut.items()}, path, metadata)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header, rest = path.read_bytes()[8 : 8 + size], path.read_bytes()[8 + size :]
    header = header.strip().replace(b'"F16"', b'"BF16"')
    path.write_bytes(len(header).to_bytes(8, "little") + header + rest)
    return {n: (a.astype(np.uint32) << 16).view(np.float32) for n, a in cut.items()}


def test_bfloat16_becomes_float32(path):
    exact = save_bfloat16(arrays("a.") | {"scale": np.ones(3, np.float32)}, path)
    exact = {name.removeprefix("a."): array for name, array in exact.items()}
    for model in (safetensors.load(path), clstm.load(path), safetensors.read(path)["a."]):
        assert model.dtype == np.float32
        assert model.notes["stored_as"] == "bfloat16"
        expected = torch_names.read({n: a for n, a in exact.items() if n != "scale"})
        np.testing.assert_array_equal(model.parameters.flat, expected.parameters.flat)
    assert safetensors.load(path, dtype=np.float64).dtype == np.float64
    mixed = arrays() | {"bias_ih_l0": np.zeros(12, np.float16)}
    save_file(mixed, path)
    assert safetensors.load(path).notes == {"stored_as": "float16"}


def test_files_of_clstm_whose_numbers_were_rounded(path):
    """Another program may store our tensors in bfloat16, with our metadata."""
    model = clstm.LSTM(2, 3, num_layers=2, rng=0)
    metadata = {"clstm.format": "1"}
    metadata |= {f"clstm.{n}": v for n, v in model._config.to_metadata().items()}
    exact = save_bfloat16(model.state_dict(), path, metadata)
    for read in (clstm.LSTM.load(path), clstm.load(path)):
        for name, array in exact.items():
            np.testing.assert_array_equal(read.parameters[name], array)


def test_many_tensors_of_bfloat16_are_read_in_proportion(path, monkeypatch):
    """The header is parsed once, not for each of them."""
    parsed = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: parsed.append(text) or loads(text))
    save_bfloat16({f"{k}.{n}": a for k in range(3) for n, a in arrays().items()}, path)
    assert len(safetensors.read(path)) == 3 and len(parsed) == 1


def test_numbers_that_numpy_lacks(path):
    save_file(arrays() | {"weight_hh_l0": np.zeros((12, 3), np.int8)}, path)
    data = path.read_bytes().replace(b'"dtype":"I8"', b'"dtype":"F8_E4M3"')
    size = int.from_bytes(data[:8], "little") + len(b"F8_E4M3") - len(b"I8")
    path.write_bytes(size.to_bytes(8, "little") + data[8:])
    with pytest.raises(ValueError, match="weight_hh_l0 has dtype F8_E4M3, expected one of F16"):
        safetensors.load(path)


def test_all_lstms_of_a_file_are_read(path):
    named = arrays("a.b.") | arrays("c.", hidden=2, seed=1) | {"d.weight": np.zeros((2, 2))}
    named |= {"c.scale": np.zeros(3), "e.h0": np.zeros((1, 2))}  # tensors that belong to no LSTM
    save_file(named, path)
    models = safetensors.read(path)
    assert list(models) == ["a.b.", "c."]
    assert [model.hidden_size for model in models.values()] == [3, 2]
    same_model(models["a.b."], safetensors.load(path, prefix="a.b."))
    save_file(named | {"c.bias_hh_l0": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"model\.safetensors: c\.bias_hh_l0 has shape"):
        safetensors.read(path)


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("RNN", 1)])
def test_other_recurrent_layers_beside_an_lstm_are_ignored(kind, gates, path):
    """Also where the LSTM has a projection or is an LSTMCell."""
    other = arrays("gru.", gates=gates, hidden=4)
    back = {f"{name}_reverse": array for name, array in other.items()}
    cell = {name.removesuffix("_l0"): array for name, array in arrays("cell.").items()}
    projected = {n: a for n, a in arrays("p.").items() if n != "p.weight_hh_l0"}
    projected |= {"p.weight_hh_l0": np.ones((12, 1)), "p.weight_hr_l0": np.ones((1, 3))}
    save_file(arrays("lstm.") | other | back | cell | projected, path)
    assert list(safetensors.read(path)) == ["cell.", "lstm.", "p."]
    assert safetensors.load(path, prefix="lstm.").hidden_size == 3
    with pytest.raises(ValueError, match=f"gru.weight_hh_l0 .* is a {kind}'s"):
        safetensors.load(path, prefix="gru.")
    with pytest.raises(ValueError, match=r"prefix must be one of 'cell.', 'lstm.', 'p.'$"):
        safetensors.load(path)
    save_file({f"{name}_reverse": a for name, a in other.items()} | arrays("lstm."), path)
    assert list(safetensors.read(path)) == ["lstm."]


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        safetensors.load(tmp_path / "none")


def check_mutations(path, count):
    """A mutated file gives a model that reference.py can run, or a ValueError with its name."""
    save_file(arrays("a.") | {"f.weight": np.ones((1, 3), np.float32)}, path, {"made": "here"})
    data, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(header if rng.random() < 0.9 else len(data)))
            changed[place] = rng.choice([rng.integers(256), changed[place] ^ 1, ord("9")])
        path.write_bytes(changed[: rng.integers(len(data))] if rng.random() < 0.1 else changed)
        try:
            with np.errstate(all="ignore"):
                model = safetensors.load(path, prefix="a.", head="f.")
            reference.forward(model.parameters, np.zeros((1, 1, model.input_size)))
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert count // 4 < refused < count


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the numbers may be anything
def test_mutated_files(path):
    check_mutations(path, 1000)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_many_mutated_files(path):
    check_mutations(path, 100_000)


# ---- Beside PyTorch ----


@pytest.mark.peers
@pytest.mark.parametrize("seed", range(10))
def test_pytorch_computes_the_same(seed, path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file
    from safetensors.torch import save_file as torch_save_file

    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    layers, both, projected, bias = (rng.integers(1, [4, 3, 3, 3])).tolist()
    options = {"proj_size": 2 * (projected - 1), "bias": bias > 1, "bidirectional": both > 1}
    theirs = torch.nn.LSTM(3, 4, layers, **options)
    head = torch.nn.Linear((theirs.proj_size or 4) * both, 2)
    whole = torch.nn.ModuleDict({"rnn": theirs, "head": head})
    torch_save_file(whole.state_dict(), path)
    ours = safetensors.load(path, prefix="rnn.", head="head.")
    x = torch.from_numpy(rng.standard_normal((7, 2, 3)).astype(np.float32))
    with torch.no_grad():
        assert_close(ours(x.numpy())[0], head(theirs(x)[0]).numpy(), 2e-6)
    ours = safetensors.load(path, prefix="rnn.")
    safetensors.save(ours, path)
    again = torch.nn.LSTM(3, 4, layers, **options)
    again.load_state_dict(load_file(path))  # strict
    with torch.no_grad():
        assert_close(again(x)[0].numpy(), ours(x.numpy())[0], 2e-6)
