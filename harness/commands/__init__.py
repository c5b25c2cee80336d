"""The verbs of the command line, a module per group of them; printing and no logic. `harness.__main__` joins them.

What is slow to import (torch, mlflow, pandas, figures) is imported inside the verbs that need it.
"""
