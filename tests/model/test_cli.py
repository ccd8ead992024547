"""python -m clstm convert and inspect; embed/test_shipping.py tests `config`."""

import subprocess
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import clstm
from clstm import cli
from clstm.interop import nam, rtneural
from clstm.layers import Dense, Gain, Skip


@pytest.fixture
def run(monkeypatch, capsys, tmp_path, model):
    """Runs a command in a folder with model.safetensors; returns status, output and errors."""
    monkeypatch.chdir(tmp_path)
    model.save("model.safetensors")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["clstm", *arguments])
        status = cli.main()
        return status, *capsys.readouterr()

    return run


peers = pytest.mark.peers
TARGETS = [
    pytest.param(out, options, marks=marks, id=out)
    for out, options, marks in (
        ("out.safetensors", [], []),
        ("out.nam", [], []),
        ("rtneural.json", ["--format", "rtneural"], []),
        ("guitarml.json", ["--format", "guitarml"], []),
        ("out.onnx", [], peers),
        ("out.keras", [], peers),
        ("out.weights.h5", [], peers),
        ("out.pt", [], peers),
        ("out.pth", [], peers),
    )
]


@pytest.mark.parametrize(("out", "options"), TARGETS)
def test_convert_writes_the_format_of_the_suffix(out, options, run, model):
    status, printed, errors = run("convert", "model.safetensors", out, *options)
    assert (status, printed, errors) == (0, f"{out}: {model!r}\n", "")
    assert run("convert", out, "back.safetensors")[0] == 0
    x = np.random.default_rng(1).standard_normal((7, 1)).astype(np.float32)
    np.testing.assert_allclose(
        clstm.LSTM.load("back.safetensors")(x)[0], model(x)[0], rtol=0, atol=1e-6
    )


def test_names_in_a_safetensors_file_are_ours_or_pytorchs(run, model):
    for options, pair in (([], False), (["--torch-names"], True)):
        run("convert", "model.safetensors", "out.safetensors", *options)
        with safe_open("out.safetensors", framework="numpy") as file:
            assert set(file.keys()) == set(model.state_dict(torch_names=pair))


def test_a_sample_rate_and_metadata_are_kept(run, model):
    nam.save(model, "a.nam", sample_rate=44100, metadata={"loudness": -20.5})
    for options, expected in (([], 44100), (["--sample-rate", "96000"], 96000)):
        assert run("convert", "a.nam", "b.nam", *options)[0] == 0
        assert nam.load("b.nam").notes == {
            "sample_rate": expected,
            "metadata": {"loudness": -20.5},
        }
    assert run("convert", "a.nam", "b.safetensors")[0] == 0
    assert run("convert", "b.safetensors", "c.nam", "--sample-rate", "48000")[0] == 0
    assert nam.load("c.nam").notes["sample_rate"] == 48000


def test_options_choose_a_part_of_a_file(run, model):
    arrays = model.state_dict(torch_names=True)
    linear = {f"fc.{n}": arrays.pop(f"{n}_out") for n in ("weight", "bias")}
    save_file({f"rnn.{n}": a for n, a in arrays.items()} | linear, "whole.safetensors")
    part = ["--prefix", "rnn.", "--head", "fc."]
    assert run("convert", "whole.safetensors", "out.safetensors", *part)[0] == 0
    np.testing.assert_array_equal(
        clstm.LSTM.load("out.safetensors").parameters.flat, model.parameters.flat
    )
    _, printed, _ = run("inspect", "whole.safetensors", *part)
    assert repr(model) in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("convert", "none", "out.nam"), "[Errno 2] No such file or directory: 'none'"),
        (("inspect", "none"), "[Errno 2] No such file or directory: 'none'"),
        (
            ("convert", "text", "out.nam"),
            "text: unknown format, expected one of: safetensors, ONNX",
        ),
        (("inspect", "text"), "text: unknown format, expected one of: safetensors, ONNX"),
        (("convert", "model.safetensors", "out.bin"), "out.bin: the suffix must be one of .safe"),
        (("convert", "model.safetensors", "out.json"), "out.json: a .json file needs --format"),
        (
            ("convert", "model.safetensors", "out.nam", "--format", "rtneural"),
            "out.nam: --format is for .json files",
        ),
        (
            ("convert", "model.safetensors", "out.nam", "--node", "0"),
            "model.safetensors: safetensors has no --node",
        ),
        (
            ("convert", "model.safetensors", "out.nam", "--torch-names"),
            "out.nam: this format has no --torch-names",
        ),
        (
            ("convert", "model.safetensors", "out.pt", "--sample-rate", "48000"),
            "out.pt: this format has no --sample-rate",
        ),
        (("convert", "reverse", "out.nam"), "direction"),
        (("inspect", "bad"), "bad: weight_ih_l0 has 3 rows"),
    ],
)
def test_errors_are_one_line_and_status_1(arguments, words, run, tmp_path):
    (tmp_path / "text").write_text("hello\n")
    clstm.LSTM(1, 2, direction="reverse").save("reverse")
    named = {"weight_ih_l0": (3, 1), "weight_hh_l0": (4, 1)}
    save_file({name: np.zeros(shape, np.float32) for name, shape in named.items()}, "bad")
    status, printed, errors = run(*arguments)
    assert (status, printed) == (1, "")
    assert errors.startswith("clstm: ") and words in errors and errors.count("\n") == 1
    assert not list(tmp_path.glob("out.*"))


def test_inspect_prints_the_content_of_a_file(run, model):
    status, printed, _ = run("inspect", "model.safetensors")
    assert status == 0
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[:3] == [
        "format safetensors",
        f"model {model!r}",
        f"parameters {model.parameters.flat.size} float32",
    ]
    rows = dict(line.split(" ", 1) for line in lines[3:])
    assert list(rows) == list(model.parameters)
    weight = model.parameters["weight_ih_l0"]
    assert rows["weight_ih_l0"] == f"(16, 1) {weight.min():.4g} to {weight.max():.4g}"


def test_inspect_prints_notes(run):
    cell = clstm.Cell(cell="softsign")
    model = clstm.LSTM(1, 2, direction="reverse", learn_state=True, cell=cell)
    with model.edit() as parameters:
        parameters["weight_ih_l0_reverse"][0] = np.inf
    model.save("some")
    _, printed, _ = run("inspect", "some")
    for words in ("not finite", "cannot be a stream", "h0 and c0", "no gradient here: training"):
        assert words in printed


def test_inspect_lists_the_layers_of_a_sequential(run, model):
    dense = Dense(np.ones((2, 1), np.float32), np.ones(2, np.float32), "tanh")
    whole = clstm.Sequential([Gain(0.5), Skip([model, dense]), Gain(2.0)])
    whole.notes["author"] = "A"
    rtneural.save(whole, "more.json")
    status, printed, _ = run("inspect", "more.json")
    assert status == 0
    for words in (
        "Sequential of 3 layers",
        "Gain(value=0.5)",
        "Skip of 2 layers, count=1",
        "model       LSTM(input_size=1, hidden_size=4",
        "Dense(weight(2, 1), bias(2,), activation='tanh')",
        "note        author: 'A'",
    ):
        assert words in printed
    arrays = sum(array.size for array in whole.parameters.values())
    sizes = [int(line.split()[1]) for line in printed.splitlines() if "parameters" in line]
    assert sum(sizes) == arrays
    named = {f"rnn.{n}": a for n, a in model.state_dict().items()}
    save_file(named | {"norm.weight": np.ones(3, np.float32)}, "prefixed")
    assert "note        not_read: ['norm.weight']" in run("inspect", "prefixed")[1]
    other = {name.replace("rnn.", "other."): array for name, array in named.items()}
    save_file(named | other, "prefixed")
    assert "'rnn.':" in run("inspect", "prefixed")[1]


AMPS = [
    ("more.json", ["--format", "rtneural"]),
    ("more.aidax", []),
    ("more.safetensors", []),
    ("guitarml.json", ["--format", "guitarml"]),
]


@pytest.mark.parametrize(("out", "options"), AMPS)
def test_a_skip_is_converted(out, options, run, model):
    whole = clstm.Sequential([Skip([model])])
    whole.save("whole.safetensors")
    status, printed, errors = run("convert", "whole.safetensors", out, *options)
    assert (status, errors) == (0, "")
    assert printed.startswith(f"{out}: Sequential([ Skip(")
    x = np.random.default_rng(1).standard_normal((7, 1)).astype(np.float32)
    np.testing.assert_allclose(clstm.load(out)(x)[0], whole(x)[0], rtol=1e-6, atol=1e-6)


def test_as_a_program(run, model):
    def program(*arguments):
        command = [sys.executable, "-m", "clstm", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert program("inspect", "model.safetensors").returncode == 0
    failed = program("inspect", "none")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "clstm: [Errno 2] No such file or directory: 'none'\n"
    assert program("convert", "model.safetensors").returncode == 2  # argparse's own
    assert "isa" in program().stdout
