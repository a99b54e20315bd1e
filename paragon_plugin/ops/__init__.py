"""Image operators on tensors: enlargement with the fixed and the learnable Magic Kernel Sharp 2021.

Imports torch only.
"""
