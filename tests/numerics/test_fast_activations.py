"""activations="fast": errors within the promise, the same bits everywhere, and no gradient."""

import os
import subprocess
import sys

import numpy as np
import pytest

import clstm
from clstm.interop import rtneural
from clstm.layers import Gain, Skip
from tests.support.bounds import assert_identical

PROMISE = 1e-5
ROUNDING = 3e-7  # of float32 in sums, products and quotients of one step
# Below, inside and above the limits of the fits; more points where the functions bend.
POINTS = np.concatenate([np.linspace(-14, 14, 28001), np.linspace(-0.01, 0.01, 101)])


@pytest.fixture(autouse=True)
def packed_engine():
    clstm.set_engine("packed")
    yield
    clstm.set_engine(None)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def one_step(gates, c: float, activations: str) -> tuple[np.ndarray, np.ndarray]:
    """(h, c) of a step of B rows of one unit, whose pre-activations are `gates` (4, B)."""
    lstm = clstm.LSTM(4, 1, activations=activations, rng=0)
    with lstm.edit() as p:
        p.flat[...] = 0
        p["weight_ih_l0"][...] = np.eye(4)
    rows = gates.shape[1]
    _, (h, c_next) = lstm(gates.T[None], (np.zeros((1, rows, 1)), np.full((1, rows, 1), c)))
    return h[0, :, 0].astype(np.float64), c_next[0, :, 0].astype(np.float64)


@pytest.mark.parametrize("gate", ["i", "f", "g", "o"])
def test_every_gate_is_as_exact_as_promised(gate):
    """One gate passes through all points; the others are open, as far as float32 tells."""
    x = POINTS.astype(np.float32)
    gates = np.full((4, x.size), 30.0, np.float32)
    gates["ifgo".index(gate)] = x
    c = 0.5 if gate == "f" else 0.0
    if gate == "f":
        gates[0] = -30.0  # c_t = f_t c
    h, c_next = one_step(gates, c, "fast")
    i, f, o = (sigmoid(gates[k]) for k in (0, 1, 3))
    exact = f * c + i * np.tanh(gates[2].astype(np.float64))
    assert np.abs(c_next - exact).max() < 3 * PROMISE + ROUNDING
    assert np.abs(h - o * np.tanh(exact)).max() < 5 * PROMISE + ROUNDING
    if gate == "f":
        assert np.abs(c_next / c - f).max() < 2 * PROMISE + ROUNDING  # i is not exactly 0
    if gate == "g":
        assert np.abs(c_next - np.tanh(x.astype(np.float64))).max() < 2 * PROMISE + ROUNDING


def test_tanh_alone():
    """g passes through all points beside a gate that is exactly one half."""
    x = POINTS.astype(np.float32)
    gates = np.zeros((4, x.size), np.float32)
    gates[2] = x
    _, c = one_step(gates, 0.0, "fast")
    assert np.abs(2 * c - np.tanh(x.astype(np.float64))).max() < PROMISE + ROUNDING
    _, mirrored = one_step(-gates, 0.0, "fast")
    np.testing.assert_array_equal(mirrored, -c)


def test_sigmoid_alone():
    """f passes through all points; g is 0, and c is 1."""
    x = POINTS.astype(np.float32)
    gates = np.zeros((4, x.size), np.float32)
    gates[1] = x
    _, c = one_step(gates, 1.0, "fast")
    assert np.abs(c - sigmoid(x)).max() < PROMISE + ROUNDING
    assert c.min() >= 0 and c.max() <= 1


def test_small_signals_keep_their_amplitude():
    x = np.logspace(-30, -3, 200).astype(np.float32)
    gates = np.zeros((4, x.size), np.float32)
    gates[2] = x
    _, c = one_step(gates, 0.0, "fast")
    np.testing.assert_allclose(2 * c, np.tanh(x.astype(np.float64)), rtol=1e-6)


def with_biases(value: float, activations: str) -> tuple[np.ndarray, np.ndarray]:
    """(h, c) of a step of nine units, from c = 1, whose pre-activations are all `value`."""
    lstm = clstm.LSTM(1, 9, activations=activations, rng=0)
    with lstm.edit() as p:
        p.flat[...] = 0
        p["bias_l0"][...] = value
    _, (h, c) = lstm(np.zeros((1, 1, 1)), (np.zeros((1, 1, 9)), np.ones((1, 1, 9))))
    return h, c


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e30, -1e30, 20.0, 0.0, -0.0])
def test_limits(value):
    (h, c), (exact_h, exact_c) = (with_biases(value, name) for name in ("fast", "accurate"))
    assert np.isfinite(h).all() and np.isfinite(c).all()
    np.testing.assert_allclose(c, exact_c, atol=4 * PROMISE)
    np.testing.assert_allclose(h, exact_h, atol=4 * PROMISE)


def test_nan_stays():
    h, c = with_biases(np.nan, "fast")
    assert np.isnan(h).all() and np.isnan(c).all()


def pair(*sizes, **options) -> tuple[clstm.LSTM, clstm.LSTM]:
    accurate = clstm.LSTM(*sizes, **options, rng=3)
    return accurate, accurate.with_activations("fast")


@pytest.mark.parametrize("sizes", [(1, 8), (1, 12, 2), (3, 40), (5, 33, 3), (9, 100, 2)])
def test_rows_threads_streams_and_engines_agree(sizes):
    accurate, fast = pair(*sizes, output_size=2)
    x = np.random.default_rng(0).standard_normal((40, 5, sizes[0]), dtype=np.float32)
    y, _ = fast(x, num_threads=1)
    exact, _ = accurate(x, num_threads=1)
    assert 0 < np.abs(y - exact).max() < 1e-3
    for engine in ("packed", "blas"):
        clstm.set_engine(engine)
        try:
            for threads in (1, 2, 3):
                again, _ = fast(x, num_threads=threads)
                if engine == "packed":
                    assert_identical(again, y)
                else:
                    np.testing.assert_allclose(again, y, atol=2e-5)
        finally:
            clstm.set_engine("packed")
    assert_identical(fast.stream(5).process(x), y)
    for row in range(5):
        assert_identical(fast(x[:, row], num_threads=1)[0], y[:, row])


@pytest.mark.parametrize("options", [{"proj_size": 5}, {"bidirectional": True}, {"learn_state": 1}])
def test_other_options(options):
    accurate, fast = pair(3, 12, 2, **options)
    x = np.random.default_rng(0).standard_normal((20, 3, 3), dtype=np.float32)
    lengths = [20, 7, 0]
    y, _ = fast(x, lengths=lengths)
    exact, _ = accurate(x, lengths=lengths)
    assert 0 < np.abs(y - exact).max() < 1e-3
    assert not y[7:, 1].any()


PROGRAM = """
import sys, numpy as np, clstm
lstm = clstm.LSTM(1, 20, 2, output_size=1, activations="fast", rng=0)
x = np.random.default_rng(0).standard_normal((64, 3, 1), dtype=np.float32)
sys.stdout.buffer.write(lstm(x)[0].tobytes())
"""


def output_of(isa: str) -> bytes:
    environment = os.environ | {"CLSTM_ISA": isa, "CLSTM_ENGINE": "packed"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, timeout=60
    )
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


def test_every_instruction_set_with_fused_products_has_the_same_bits():
    available = clstm.config()["isas"]
    fused = [isa for isa in available if isa != "generic"]
    if len(fused) < 2:
        pytest.skip(f"this CPU has one of them: {fused}")
    assert len({output_of(isa) for isa in fused}) == 1


def test_no_gradient():
    _, fast = pair(2, 4)
    x = np.zeros((3, 1, 2))
    refusal = "activations is 'fast', which has no gradient: {} needs model.with_activations"
    with pytest.raises(ValueError, match=refusal.format("record")):
        fast.record(x)
    with pytest.raises(ValueError, match=refusal.format("windows")):
        fast.windows(np.zeros((9, 1, 2)), 3)
    with pytest.raises(ValueError, match=refusal.format("record")):
        clstm.Sequential([fast]).record(x)
    fast.with_activations("accurate").record(x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": np.float64}, "plain cell in float32, got dtype=float64"),
        ({"cell": clstm.Cell(peephole=True)}, r"plain cell in float32, got cell=Cell\(peephole"),
    ],
)
def test_float32_and_the_plain_cell_only(options, words):
    with pytest.raises(ValueError, match=words):
        clstm.LSTM(1, 4, activations="fast", **options)
    with pytest.raises(ValueError, match=words):
        clstm.LSTM(1, 4, **options).with_activations("fast")


def test_an_unknown_word():
    with pytest.raises(ValueError, match="activations must be 'accurate' or 'fast', not 'quick'"):
        clstm.LSTM(1, 4, activations="quick")


def test_files_keep_it(tmp_path):
    accurate, fast = pair(1, 8, output_size=1)
    x = np.random.default_rng(0).standard_normal((30, 1), dtype=np.float32)
    fast.save(tmp_path / "fast.safetensors")
    accurate.save(tmp_path / "accurate.safetensors")
    again = clstm.load(tmp_path / "fast.safetensors")
    assert again.activations == "fast"
    assert_identical(again(x)[0], fast(x)[0])
    assert clstm.load(tmp_path / "accurate.safetensors").activations == "accurate"
    assert b"activations" not in (tmp_path / "accurate.safetensors").read_bytes()


def test_a_whole_model(tmp_path):
    """Every LSTM of a Sequential, also inside a Skip; notes stay."""
    accurate, _ = pair(1, 8, output_size=1)
    model = clstm.Sequential([Skip([accurate]), Gain(0.5)], notes={"sample_rate": 48000})
    fast = model.with_activations("fast")
    assert "activations='fast'" in repr(fast) and "fast" not in repr(model)
    assert fast.notes == model.notes
    x = np.random.default_rng(0).standard_normal((30, 1, 1), dtype=np.float32)
    y, _ = fast(x)
    assert 0 < np.abs(y - model(x)[0]).max() < 1e-3
    fast.save(tmp_path / "model.safetensors")
    assert_identical(clstm.load(tmp_path / "model.safetensors")(x)[0], y)


def test_other_formats_refuse_it(tmp_path):
    _, fast = pair(1, 8, output_size=1)
    with pytest.raises(ValueError, match="has no activations='fast'"):
        rtneural.save(fast, tmp_path / "model.json")
