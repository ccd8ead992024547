"""PyTorch: models, and the module in place of `torch.nn.LSTM`."""
