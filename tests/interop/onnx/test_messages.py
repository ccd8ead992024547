"""The count of an ONNX file's messages, taken before protobuf reads them: beside protobuf's own."""

import pytest

from clstm.interop.onnx.messages import count_messages
from tests.interop.onnx.models import graph_of, lstm_node, model_of, weights

pytestmark = pytest.mark.peers

UNKNOWN = 700  # the number of a field that ONNX does not have


def varint(value):
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def tag(kind):
    return varint(UNKNOWN << 3 | kind)


# What may stand between two messages; protobuf skips it. The content looks like messages.
BETWEEN = {
    "nothing": b"",
    "a number": tag(0) + varint(2**63 + 5),
    "64 bits": tag(1) + b"\x3a\0" * 4,
    "bytes": tag(2) + varint(300) + b"\x3a\0" * 150,
    "a group": tag(3) + tag(4),
    "32 bits": tag(5) + b"\x3a\0" * 2,
}


class Counted:
    """A budget that keeps what it is told."""

    def __init__(self, left):
        self.left = left
        self.messages = 0

    def count(self, number, what, each):
        assert what == "the number of its messages" and each > 0
        self.messages += number


def messages_of(message):
    """Return how many messages protobuf has made below one."""
    total = 0
    for kind, value in message.ListFields():
        if kind.message_type is not None:
            inner = value if kind.is_repeated else [value]
            total += sum(1 + messages_of(one) for one in inner)
    return total


@pytest.fixture
def model():
    pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")
    given = weights()
    node = lstm_node("n", given=tuple(given), outputs=("Y",))
    return model_of(graph_of([node], given))


@pytest.mark.parametrize("between", BETWEEN.values(), ids=BETWEEN)
def test_messages_are_counted_behind_every_kind_of_field(model, between):
    data = between + model.SerializeToString() + between + b"\x42\0"  # one more opset
    budget = Counted(left=-1)
    count_messages(data, model.DESCRIPTOR, budget)
    read = type(model).FromString(data)
    assert budget.messages == messages_of(read) > 5


def test_few_zeros_cannot_be_too_many_messages(model):
    data = model.SerializeToString()
    budget = Counted(left=200 * data.count(0))
    count_messages(data, model.DESCRIPTOR, budget)
    assert budget.messages == 0


@pytest.mark.parametrize("end", [b"\x3a", b"\x3a\x80", b"\x42\x05ab", tag(1) + b"1234567", tag(6)])
def test_a_file_that_ends_amid_a_field_is_left_to_protobuf(model, end):
    budget = Counted(left=-1)
    count_messages(model.SerializeToString() + end, model.DESCRIPTOR, budget)
    assert budget.messages <= messages_of(model)
