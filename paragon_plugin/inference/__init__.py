"""Use of a trained network: loading, reading and writing images, tiles, ONNX. Imports without BasicSR."""
