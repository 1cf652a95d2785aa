"""Changed copies of images: in the training, and at test time in the exported model."""
