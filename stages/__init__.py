"""The stages of the pipeline: plain programs that learn, and know of no orchestrator."""
