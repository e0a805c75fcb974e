"""A trained network as files that need no service: ONNX, torch.export, a bundle with its card."""
