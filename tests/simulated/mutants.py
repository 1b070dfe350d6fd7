"""All the faults that mutate.py plants."""

from mutants_host import HOST
from mutants_kernels import KERNELS

MUTANTS = [*HOST, *KERNELS]
