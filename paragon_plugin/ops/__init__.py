"""Image operators on tensors: fixed and learnable Magic Kernel Sharp 2021 enlargement. Imports torch only."""
