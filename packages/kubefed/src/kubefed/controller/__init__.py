"""The embedded controller: rules (pure) and the shell that carries them out."""
