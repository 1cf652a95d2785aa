"""The programs of the pipeline stages. They import neither DVC nor Prefect."""
