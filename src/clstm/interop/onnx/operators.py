"""All operators of ONNX that are read, and what is said of the others."""

from typing import Any

from .arithmetic import ARITHMETIC, computed
from .evaluator import Call, Evaluator, Unknown
from .graph import DOMAINS, Scope, attributes, title
from .indices import KINDS, computed_indices
from .layer_operators import LAYERS, PRODUCT, gemm, matmul
from .layout_operators import LAYOUT
from .lstm_node import ATTRIBUTES
from .quantised import OF_ONNX_RUNTIME, QUANTISED
from .recurrent import lstm

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

_ACTIVATION = {"activation": "STRING", "activation_alpha": "FLOAT", "activation_beta": "FLOAT"}
_BATCHES = {"transBatchA": "INT", "transBatchB": "INT"}
_OWN: dict[str, tuple[Any, dict[str, str]]] = {
    **{kind: (computed, allowed) for kind, allowed in ARITHMETIC.items()},
    **LAYOUT,
    **LAYERS,
    **QUANTISED,
    "LSTM": (lstm, ATTRIBUTES),
}
_OF_ONNX_RUNTIME: dict[str, tuple[Any, dict[str, str]]] = {
    **OF_ONNX_RUNTIME,
    "FusedGemm": (gemm, PRODUCT | _ACTIVATION),
    "FusedMatMul": (matmul, PRODUCT | _BATCHES),
    "DynamicQuantizeLSTM": (lstm, ATTRIBUTES),
}
_LSTMS = ("LSTM", "DynamicQuantizeLSTM")


def operators(evaluator: Evaluator, scope: Scope, node: Any, inputs: list[Any]) -> list[Any]:
    """Return the outputs of a node, from its inputs."""
    known: dict[str, tuple[Any, dict[str, str]]] = {}
    if node.domain in DOMAINS:
        known = _OWN
    elif node.domain == MICROSOFT:
        known = _OF_ONNX_RUNTIME
    unknown = next((value for value in inputs if isinstance(value, Unknown)), None)
    if unknown is not None and node.op_type not in _LSTMS:
        return [unknown] * len(node.output)
    if node.op_type not in known:
        return [Unknown(title(node))] * len(node.output)
    operator, allowed = known[node.op_type]
    given = attributes(scope, node, allowed)
    kind = node.op_type if node.domain in DOMAINS else ""
    if kind in KINDS and (indices := computed_indices(evaluator, kind, inputs)) is not None:
        return [indices]
    if given.get("transBatchA") or given.get("transBatchB"):
        return [Unknown(title(node))] * len(node.output)
    results: list[Any] = operator(Call(evaluator, scope, node, inputs, given))
    return results


def is_lstm(node: Any) -> bool:
    """Return whether a node is an LSTM, plain or quantised."""
    plain = node.op_type == "LSTM" and node.domain in DOMAINS
    return plain or (node.op_type == "DynamicQuantizeLSTM" and node.domain == MICROSOFT)
