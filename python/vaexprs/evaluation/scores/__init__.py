"""Running the metrics, augmentation of rare classes, the genes that classifiers use."""
