"""The verbs of the command line: printing and no logic. Torch, mlflow, pandas and figures are imported inside them."""
