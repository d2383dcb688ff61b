"""What is raised when a model's configuration or file cannot be used."""


class ModelError(ValueError):
    """A model's parameters, device or file are not what the model can take."""
