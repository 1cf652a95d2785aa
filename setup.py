"""Says where the packages of a wheel come from: all of them are below `inkflow`; pyproject.toml has the rest."""

from setuptools import find_packages, setup

OWN = find_packages(include=["flows*", "stages*"])

setup(
    script_name="setup.py",  # which is no module of `inkflow.project`, whatever program runs it
    packages=["inkflow", "inkflow.project", *(f"inkflow.{name}" for name in OWN)],
    package_dir={
        "inkflow": "inkflow",
        "inkflow.flows": "flows",
        "inkflow.stages": "stages",
        "inkflow.project": ".",  # files of this project that `inkflow init` copies
    },
)
