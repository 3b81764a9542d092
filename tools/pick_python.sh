# Sourced by the other scripts: sets PYTHON to the interpreter that has the package.
# In this order: the PYTHON that is set, an active environment's python, the one that `make` installed, python.
if [ -z "${PYTHON:-}" ]; then
    PYTHON=python
    made=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)/.venv/bin/python
    if [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$made" ]; then
        PYTHON=$made
    fi
fi
