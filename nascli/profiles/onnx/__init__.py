"""ONNX models: written from programs, converted to other precisions, read, and counted."""
