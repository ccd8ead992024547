"""Messages about files, and what reading one may take."""

import pytest

from clstm.interop.budget import MODEL, RATIO, SPARE, STEP, Budget
from clstm.interop.errors import LONGEST, naming, shortened


@pytest.mark.parametrize("text", ["x", "\u00e4", "\u20ac", "\U0001f600", "\n", "\x1b", "\ud800"])
@pytest.mark.parametrize("count", [1, 200, 500, 1499, 1500, 1501, 3000, 100_000])
def test_messages_are_short_and_printable(text, count):
    message = shortened("begin" + text * count + "end")
    assert message.isprintable()
    assert message.startswith("begin") and message.endswith("end")
    assert len(message.encode()) <= LONGEST
    if text == "x" and count < 1400:
        assert message == "begin" + "x" * count + "end"


def test_a_file_is_named_once():
    for words in ("is wrong", "m.bin: is wrong", "m.bin is wrong"):
        with pytest.raises(ValueError, match=r"^m\.bin:? is wrong$"), naming("m.bin"):
            raise ValueError(words)
    with pytest.raises(KeyError), naming("m.bin"):
        raise KeyError("a")
    with pytest.raises(ValueError, match=r"^m\.bin: a$"), naming("m.bin", KeyError):
        raise KeyError("a")


def test_a_budget_is_in_proportion_to_the_file():
    for size in (0, 1000, 10**8):
        budget = Budget(size)
        budget.take(SPARE + RATIO * size, "this")
        with pytest.raises(ValueError, match=r"^that would take too much for a file of this size"):
            budget.take(1, "that")
    budget = Budget(0)
    budget.extend(1000)
    budget.take(SPARE + RATIO * 1000, "this")
    assert budget.left == 0


def test_steps_and_layers_are_counted():
    budget = Budget(0)
    budget.count(1000, "steps")
    budget.layers(3)
    assert budget.left == SPARE - 1000 * STEP - 3 * MODEL
    with pytest.raises(ValueError, match="the number of its layers"):
        budget.layers(10**9)


def test_the_budget_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(bytes(100))
    assert Budget.of(tmp_path / "a").left == Budget(100).left
