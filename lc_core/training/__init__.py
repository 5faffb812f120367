"""Training: the one loop, optimizers with the pull, augmentation, distillation."""
