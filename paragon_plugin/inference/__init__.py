"""Using a trained network: reading it back, images in and out, tiles, ONNX. Imports without BasicSR."""
