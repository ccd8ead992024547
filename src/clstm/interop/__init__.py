"""Models of other programs, one module per format. `import clstm` imports none of them."""
