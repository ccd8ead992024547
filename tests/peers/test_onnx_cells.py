"""Cells as ONNX has them: the operator's own test cases, and ONNX Runtime side by side.

The specification is compared too: every other test relies on it.

ONNX Runtime 1.32 agrees in peepholes, coupled gates (`input_forget`), which leave the forget gate's
peepholes unused, clip, which it too applies to the sums with bias and peepholes and not to the cell
state, every function with its alpha and beta, and their order. It differs, and is avoided here, in

- Relu, HardSigmoid and ThresholdedRelu of NaN, which it makes 0;
- ThresholdedRelu of alpha itself: 0, where the operator's text has x; and without alpha, where it
  takes 0, not 1;
- Softplus above 88, where its exp is infinite; Softsign of infinity: NaN;
- rows of length 0, whose final state it makes zeros, not the initial one;
- layout = 1 and float64, which it does not have.
"""

import warnings
from functools import cache

import numpy as np
import pytest

from tests.interop.onnx.nodes import (
    NAMES,
    as_outputs,
    make_node,
    of_functions,
    random_node,
    read_node,
    run_onnx_runtime,
)
from tests.support import reference
from tests.support.bounds import assert_close, largest

pytestmark = pytest.mark.peers

CASES = [
    "test_lstm_defaults",
    "test_lstm_with_initial_bias",
    "test_lstm_with_peepholes",
    "test_lstm_batchwise",
    "test_lstm_reverse",
    "test_lstm_bidirectional",
]


@pytest.fixture(autouse=True)
def peers():
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="install bench/requirements.txt for this tier")


@cache
def operator_cases():
    """Those of LSTM by name; to make them all warns of many things."""
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_node_model_tests() if "lstm" in case.name}


def specified(model, call, dtype=np.float64):
    """The node's outputs, and the largest value on the way to them."""
    x = call["x"].swapaxes(0, 1) if model.batch_first else call["x"]
    tape = reference.forward(
        model.parameters, x, call["state"], dtype, call["lengths"], cell=model.cell
    )
    y = tape.y.swapaxes(0, 1) if model.batch_first else tape.y
    return as_outputs(model, y, tape.state), max(largest(tape.cells), largest(tape.y))


def test_every_case_of_the_operator_is_known():
    assert set(operator_cases()) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_case_of_the_operator(name):
    """By its own tolerances."""
    case = operator_cases()[name]
    (node,) = case.model.graph.node
    compared = 0
    for inputs, outputs in case.data_sets:
        given = dict(zip(roles_of(node), inputs, strict=True))
        model, call = read_node(node, given)
        wanted = iter(outputs)
        for role, actual, exact in zip(
            node.output, as_outputs(model, *model(**call)), specified(model, call)[0], strict=False
        ):
            if role:
                expected = next(wanted)
                assert actual.shape == expected.shape
                np.testing.assert_allclose(actual, expected, rtol=case.rtol, atol=case.atol)
                np.testing.assert_allclose(exact, expected, rtol=case.rtol, atol=case.atol)
                compared += 1
    assert compared == sum(bool(role) for role in node.output)


def roles_of(node):
    """The roles of the inputs that a node has; one with peepholes has all."""
    return [role for role in node.input if role]


def assert_alike(node, given):
    """A call, the specification and ONNX Runtime, at the rounding of their largest value."""
    model, call = read_node(node, given)
    exact, scale = specified(model, call)
    rounded, _ = specified(model, call, np.float32)
    ours, theirs = as_outputs(model, *model(**call)), run_onnx_runtime(node, given)
    for wanted, own, actual, other in zip(exact, rounded, ours, theirs, strict=True):
        assert np.isfinite(wanted).all()
        bound = max(1e-5 * max(1, scale), 8 * largest(own - wanted))
        assert_close(actual, wanted, bound)
        assert_close(other, wanted, bound)


@pytest.mark.parametrize("block", range(10))
def test_random_nodes_against_onnx_runtime(block):
    for seed in range(20 * block, 20 * block + 20):
        assert_alike(*random_node(seed))


def test_the_random_nodes_have_every_option():
    read = [read_node(*random_node(seed)) for seed in range(200)]
    for slot in ("gate", "cell", "hidden"):
        assert {getattr(model.cell, slot).name for model, _ in read} == set(NAMES.values())
    for choose in (
        lambda cell, call: cell.peephole and cell.coupled and cell.clip,
        lambda cell, call: cell.peephole and not cell.coupled,
        lambda cell, call: cell.clip and not cell.peephole,
        lambda cell, call: cell.peephole and call["lengths"] is not None,
        lambda cell, call: cell.peephole and call["state"] is None,
    ):
        assert 10 <= sum(bool(choose(model.cell, call)) for model, call in read) <= 190


@pytest.mark.parametrize("slot", range(3))
@pytest.mark.parametrize("name", [name for name in NAMES if name != "ThresholdedRelu"])
def test_a_function_with_its_defaults_against_onnx_runtime(name, slot):
    """Neither alpha nor beta is said, but where a function has no default."""
    functions = ["Sigmoid", "Tanh", "Tanh"]
    functions[slot] = name
    _, given = random_node(3)
    attributes = of_functions(functions * given["W"].shape[0])
    if name not in ("Affine", "ScaledTanh"):
        attributes = {"activations": attributes["activations"]}
    direction = "bidirectional" if len(given["W"]) == 2 else "forward"
    units = given["R"].shape[2]
    assert_alike(make_node(given, hidden_size=units, direction=direction, **attributes), given)
