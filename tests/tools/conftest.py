import sys
from pathlib import Path

# The tiny data and configs are those of the engine's tests.
sys.path.insert(0, str(Path(__file__).parents[1] / 'engine'))
