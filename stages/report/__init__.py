"""Stage `report`: what the other stages wrote, checked against each other, judged, and made readable."""
