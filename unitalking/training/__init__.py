"""Training: the paper's recipe, for one CPU, one GPU or many machines. Needs requirements-train.txt."""
