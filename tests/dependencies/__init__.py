"""The packages of requirements.lock: their licences, and a software bill of materials."""
