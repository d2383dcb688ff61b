"""What is sent to a far machine: Python 3.9 or later, its standard library, Linux."""
