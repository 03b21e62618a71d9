"""JSON-RPC 2.0 over the Unix socket: translates lines to operations and back, with no rules of its own."""
