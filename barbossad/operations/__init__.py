"""What the outside may ask for: one typed function per operation, a file per noun, each with its role.

May import the engine and what is below it. Transports translate to these and have no rules of their own.
"""
