"""TorchScript archives by hand: a module's pickle, and the text of its code."""

import io
import zipfile

from tests.interop.torch.pickles import START, integer, state, symbol, tensor, text

HEAD = "class M(Module):\n  __parameters__ = []\n"
PLAIN = """\
    _0 = torch.zeros([1, torch.size(x, 1), 1])
    y, h, c = torch.lstm(x, [_0, _0], [self.w, self.r], False, 1, 0., False, False, False)
"""
FORWARD = "  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n"
GOOD_CODE = HEAD + FORWARD + PLAIN + "    return y\n"
WEIGHTS = {"w": tensor((4, 1)), "r": tensor((4, 1))}


def module(entries, name="M"):
    """An instance of a class of the code, with these attributes."""
    return symbol("__torch__", name) + b")\x81" + state(entries) + b"b"


def forward(*lines, after="    return y\n"):
    """Code whose `forward` has these lines after an LSTM."""
    return HEAD + FORWARD + PLAIN + "".join(f"    {line}\n" for line in lines) + after


def script(code, content=None, constants=b")", entries=None):
    """A file of `torch.jit.save` with this code; `code` is a text, or bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        pickled = module({**WEIGHTS, "training": b"\x88"}) if content is None else content
        file.writestr("a/data.pkl", START + pickled + b".")
        file.writestr("a/constants.pkl", START + constants + b".")
        file.writestr("a/code/__torch__.py", code, zipfile.ZIP_DEFLATED)
        file.writestr("a/data/0", bytes(16))
        for name, data in (entries or {}).items():
            file.writestr(name, data)
    return buffer.getvalue()


__all__ = ["FORWARD", "GOOD_CODE", "HEAD", "PLAIN", "WEIGHTS", "forward", "integer", "module"]
__all__ += ["script", "text"]
