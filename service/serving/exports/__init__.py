"""Exports of a trained network that run without the service: ONNX, torch.export, a bundle with a model card."""
