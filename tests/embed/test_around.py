"""Gains and a skip around an LSTM: streams in C play a file of `Sequential.save`."""

import subprocess

import numpy as np
import pytest

import clstm
from clstm.layers import Dense, Gain, Last, Masking, Skip
from tests.embed import native


@pytest.fixture(scope="module")
def around(tmp_path_factory):
    return native.Build(tmp_path_factory.mktemp("around"), link_flags=native.OPENMP).unpack()


def lstm(inputs=1, outputs=1, **options):
    return clstm.LSTM(inputs, 12, output_size=outputs, rng=0, **options)


CHAINS = {
    "nothing": ([lstm()], "1 0 1"),
    "skip": ([Skip([lstm()])], "1 1 1"),
    "gain before": ([Gain(2.0), lstm()], "2 0 1"),
    "gain after": ([lstm(), Gain(-0.5)], "1 0 -0.5"),
    "all": ([Gain(3.0), Skip([lstm()]), Gain(0.125)], "3 1 0.125"),
    "wide": ([Gain(3.0), Skip([lstm(3, 2)]), Gain(0.0)], "3 1 0"),
    "no readout": ([Skip([lstm(2, None, num_layers=2)])], "1 1 1"),
    "projection": ([Skip([lstm(2, 1, proj_size=5)])], "1 1 1"),
}


def play(program, path, x):
    steps, rows, _ = x.shape
    return subprocess.run(
        [program, path, str(steps), str(rows)],
        input=x.astype("f4").tobytes(),
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", CHAINS)
def test_a_stream_plays_the_file(around, name, rows, tmp_path):
    layers, numbers = CHAINS[name]
    model = clstm.Sequential(layers)
    model.save(tmp_path / "model")
    x = np.random.default_rng(0).standard_normal((150, rows, model.input_size)).astype("f4")
    result = play(around.program("around"), tmp_path / "model", x)
    assert (result.returncode, result.stderr.decode()) == (0, numbers)
    expected = model.stream(rows).process(x)
    y = np.frombuffer(result.stdout, "f4").reshape(expected.shape)
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "layers",
    [
        [lstm(), Dense(np.ones((1, 1)), None, "tanh")],
        [Dense(np.ones((1, 1))), lstm()],
        [lstm(), Last()],
        [Masking(), lstm()],
        [lstm(), lstm()],
        [Gain(1.0), Gain(2.0), lstm()],
        [lstm(), Gain(1.0), Gain(2.0)],
        [Skip([lstm(2, 2)], count=2)],
        [Skip([lstm(), Dense(activation="tanh")])],
        [Skip([Skip([lstm()])])],
        [Skip([lstm()]), Skip([lstm()])],
    ],
    ids=lambda layers: "-".join(type(layer).__name__ for layer in layers),
)
def test_other_layers_are_refused(around, layers, tmp_path):
    clstm.Sequential(layers).save(tmp_path / "model")
    result = play(around.program("around"), tmp_path / "model", np.zeros((1, 1, 1)))
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"the file is malformed" in result.stderr


def test_any_changed_entry_is_refused_or_read(around, tmp_path):
    """The header's text, byte by byte: never a crash, and never another model in silence."""
    model = clstm.Sequential([Gain(2.0), Skip([lstm()]), Gain(0.5)])
    model.save(tmp_path / "model")
    data = (tmp_path / "model").read_bytes()
    size = int.from_bytes(data[:8], "little")
    start = data.index(b"__metadata__")
    program, x = around.program("around"), np.zeros((2, 1, 1))
    rng = np.random.default_rng(0)
    for place in rng.integers(start, min(8 + size, data.index(b"}", start)), 60):
        changed = bytearray(data)
        changed[place] ^= 1 << int(rng.integers(7))
        (tmp_path / "model").write_bytes(changed)
        assert play(program, tmp_path / "model", x).returncode in (0, 1), changed[: 8 + size]
