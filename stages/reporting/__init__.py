"""The report: what the other stages wrote, checked, judged and made readable."""
