"""The page reports/index.html: templates, plots and pictures, one file that needs no network."""
