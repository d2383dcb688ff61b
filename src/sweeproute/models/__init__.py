"""Models of this project's own, beside those that a library brings whole."""
