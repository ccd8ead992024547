"""A pass over a sequence as a function of PyTorch's autograd. Sequences are (T, B, .) here."""

from typing import Any

import torch
from torch import Tensor

from ...layout import Array
from .recording import recorder
from .weights import Weights, array_of, inputs_of


class LSTMFunction(torch.autograd.Function):
    """A pass that PyTorch's autograd goes back through."""

    @staticmethod
    def forward(
        ctx: Any,
        weights: Weights,
        lengths: Array | None,
        masks: Array | None,
        x: Tensor,
        h0: Tensor | None,
        c0: Tensor | None,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        # backward then raises if one of them has been changed in place meanwhile.
        ctx.save_for_backward(x, h0, c0, *parameters)
        ctx.weights, ctx.lengths, ctx.masks = weights, lengths, masks
        ctx.done, results = weights.record(parameters, inputs_of(x, h0, c0, lengths, masks))
        return results

    @staticmethod
    def backward(ctx: Any, *outer: Tensor | None) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # else the gradients would silently count as constants
            raise RuntimeError(
                "clstm's LSTM has no second derivatives: create_graph=True is not supported"
            )
        saved = ctx.saved_tensors  # once: under a checkpoint each access computes them
        x, h0, c0, *parameters = saved
        given = [part for part in (*outer, *saved) if part is not None]
        if found := recorder(given):
            raise RuntimeError(
                f"clstm's LSTM cannot go back under {found}: its forward pass was computed outside "
                "of it, and batched gradients are not supported. Run both passes inside, or use "
                "torch.nn.LSTM"
            )
        weights, done = ctx.weights, ctx.done
        if done.recording is None:  # a second backward, after retain_graph=True
            done, _ = weights.record(parameters, inputs_of(x, h0, c0, ctx.lengths, ctx.masks))
        dy, dh, dc = (None if part is None else array_of(part) for part in outer)
        wanted = ctx.needs_input_grad[3:]
        found = weights.backward(done, (dy, dh, dc), wanted[0])
        gradients = (*found[:3], *found[3])
        pairs = zip(gradients, wanted, strict=True)
        return None, None, None, *(g if want else None for g, want in pairs)
