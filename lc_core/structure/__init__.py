"""The structure of a model: channels, surgery, layers that run, multiply-accumulates."""
