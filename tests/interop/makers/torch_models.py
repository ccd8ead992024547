"""Modules of PyTorch as programs write them: each with an LSTM, and what stands around it.

They are in a file because `torch.jit.script` reads their source.
"""

from typing import Optional, Tuple  # noqa: UP035  # those that TorchScript reads

import torch
from torch import Tensor, nn
from torch.nn import functional


class Classifier(nn.Module):
    """Words to classes, by the last step or at every step."""

    def __init__(self, last: bool = True, bidirectional: bool = False):
        super().__init__()
        self.embedding = nn.Embedding(7, 3, padding_idx=0)
        self.lstm = nn.LSTM(
            3, 4, 2, batch_first=True, dropout=0.2, bidirectional=bidirectional
        )  # fmt: skip
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(8 if bidirectional else 4, 2)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(self.embedding(x))
        if self.last:
            y = y[:, -1]
        return torch.tanh(self.fc(self.dropout(y)))


class Forecaster(nn.Module):
    """Initial states of zeros, made inside."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 4, batch_first=True)
        self.fc = nn.Linear(4, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h0 = torch.zeros(1, x.size(0), 4)
        c0 = torch.zeros(1, x.size(0), 4).to(x.device)
        y, _ = self.lstm(x, (h0, c0))
        return self.fc(y[:, -1, :])


class Sentiment(nn.Module):
    """The final h of both directions of the last layer, by its rows."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, 2, bidirectional=True)
        self.fc = nn.Sequential(
            nn.Linear(8, 5), nn.ReLU(inplace=True), nn.Dropout(0.1), nn.Linear(5, 2), nn.Softmax(-1)
        )

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x)
        return self.fc(torch.cat([h[-2], h[-1]], dim=1))


class Merged(nn.Module):
    """The final h by permuting and reshaping; views of all steps; ELU and sigmoid."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, bidirectional=True, batch_first=True)
        self.elu = nn.ELU()
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x)
        h = h.permute(1, 0, 2).reshape(x.size(0), -1)
        return torch.sigmoid(self.out(self.elu(h)))


class Halves(nn.Module):
    """Each direction's own end, taken from y."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, bidirectional=True, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x)
        return self.out(torch.cat((y[:, -1, :4], y[:, 0, 4:]), dim=-1))


class Flattened(nn.Module):
    """A linear layer on all steps of all rows, as one matrix."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, batch_first=True)
        self.decoder = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(x)
        b, t, h = y.shape
        flat = self.decoder(y.contiguous().view(-1, h))
        return functional.softmax(flat, dim=1).view(b, t, -1)


class Learned(nn.Module):
    """A learned initial state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, 2)
        self.h0 = nn.Parameter(torch.randn(2, 1, 4))
        self.c0 = nn.Parameter(torch.randn(2, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        b = x.size(1)
        y, _ = self.lstm(x, (self.h0.expand(-1, b, -1).contiguous(), self.c0.repeat(1, b, 1)))
        return y


class Transposed(nn.Module):
    """Batch first outside, time first inside; two LSTMs and a dropout between."""

    def __init__(self):
        super().__init__()
        self.first = nn.LSTM(3, 4)
        self.second = nn.LSTM(4, 2, bidirectional=True)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.first(x.transpose(0, 1))
        y, _ = self.second(self.dropout(functional.relu(y)))
        return y.permute(1, 0, 2)


class Amplifier(nn.Module):
    """A skip of the first feature, and a gain."""

    def __init__(self):
        super().__init__()
        self.rec = nn.LSTM(2, 4, batch_first=True)
        self.lin = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rec(x)
        return (self.lin(y) + x[:, :, 0:1]) * 0.5


class Residual(nn.Module):
    """Layers whose result is added to what they take."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.lstm = nn.LSTM(4, 4, batch_first=True)
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        z = torch.relu(self.embed(x))
        y, _ = self.lstm(z)
        return self.norm(y + z)


class Streamed(nn.Module):
    """The state is given and returned, as y is."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)
        self.out = nn.Linear(4, 2)

    def forward(
        self,
        x: Tensor,
        state: Optional[Tuple[Tensor, Tensor]] = None,  # noqa: UP006, UP045
    ) -> Tuple[Tensor, Tuple[Tensor, Tensor]]:  # noqa: UP006
        y, state = self.lstm(x, state)
        return self.out(y), state


class Regressor(nn.Module):
    """One number for each row, without its axis; h of the only layer."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 4, batch_first=True)
        self.fc = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x)
        return self.fc(h.squeeze(0)).squeeze(-1)


class ByHand(nn.Module):
    """A linear layer that is written out, with its own parameters."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 4)
        self.weight = nn.Parameter(torch.randn(4, 2))
        self.bias = nn.Parameter(torch.randn(2))

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(x)
        return torch.tanh(torch.matmul(y, self.weight) + self.bias)
